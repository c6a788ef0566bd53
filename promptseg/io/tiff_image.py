"""TIFF images and stacks through tifffile: every pixel type, tiles, channels and times, and sizes that programs state.

ITK reads tiles of 16 bits as 8, half floats as whole numbers, CMYK as RGB, and channels as slices. It is asked only for
compressions that tifffile needs another package for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.check.finding import Finding, Severity
from promptseg.errors import GeometryError, ReadError
from promptseg.io.frames import check_frame, frame_finding
from promptseg.io.itk import RawImage, read_itk
from promptseg.io.picture_colours import from_cmyk, paint
from promptseg.io.quiet import quiet_tifffile
from promptseg.io.sniff import Family
from promptseg.io.tiff_spacing import stated_spacing
from promptseg.volume.geometry import Geometry

__all__ = ["frame_axes", "read_tiff"]

SLICES = "ZIQ"  # letters of tifffile's axes that run through the slices: Z, or a sequence of pages without a name
NAMES = {"C": "channels", "T": "times"}
WHITE_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 2, 3, 5, 6  # PhotometricInterpretation (TIFF 6.0 section 8, TIFF/EP)
BLACK_IS_ZERO = 1
PHOTOMETRIC, ORIENTATION = 262, 274
GREY = (WHITE_IS_ZERO, BLACK_IS_ZERO)
ITK_READS = (np.uint8, np.uint16, np.float32)  # in strips, right as far as was tried
CODECS = {5: "LZW", 7: "JPEG", 32773: "PackBits", 33003: "JPEG 2000", 34712: "JPEG 2000", 50000: "Zstandard"}


def read_tiff(path: Path, *, frame: int | None = None) -> RawImage:
    """Read one frame of a TIFF whose pages were found whole and alike.

    Raises:
        ReadError: damaged, colours or numbers that are no picture's, or a compression that needs another package.
    """
    import tifffile

    with quiet_tifffile():
        try:
            with tifffile.TiffFile(path, _multifile=False) as file:
                return _read(file, path, frame)
        except (ReadError, GeometryError):
            raise
        except Exception as exc:
            # tifffile and the codecs raise errors of many kinds where a file is damaged.
            raise ReadError(
                f"cannot read {path}: the TIFF file is damaged, cut short, or of an unsupported kind"
            ) from exc


def _read(file: Any, path: Path, frame: int | None) -> RawImage:
    series, page = file.series[0], file.pages[0]
    axes = str(series.axes)
    kind = int(page.photometric) if PHOTOMETRIC in page.tags else BLACK_IS_ZERO
    _require_all_parts(file, path)
    if kind not in (*GREY, RGB, PALETTE, CMYK, YCBCR) or np.dtype(series.dtype).kind not in "uifb":
        what = f"{page.photometric.name} of {series.dtype}"
        raise ReadError(f"cannot read {path}: expected grey values, RGB, CMYK or a palette in the TIFF, got {what}")
    over = frame_axes(axes)
    counts = [series.shape[i] for i in over]
    index = check_frame(frame, prod(counts), path)
    spacing, told = stated_spacing(file, page)
    if not _decodes(page):
        raw = _through_itk(path, page, prod(counts))
        return replace(raw, geometry=Geometry(raw.geometry.shape, spacing), findings=told)
    _require_full_parts(file, path)
    picked: list[Any] = [slice(None)] * len(axes)
    for i, part in zip(over, np.unravel_index(index, counts) if counts else (), strict=True):
        picked[i] = int(part)
    array = np.asarray(series.asarray())[tuple(picked)]
    array = _in_order(array, [axis for i, axis in enumerate(axes) if i not in over])
    findings = [frame_finding(prod(counts), _named(axes, over, counts))] if prod(counts) > 1 and frame is None else []
    if PHOTOMETRIC not in page.tags:
        sentence = (
            "the TIFF does not say whether low values are black or white (PhotometricInterpretation): black taken"
        )
        findings.append(Finding(sentence, "assumed-black", Severity.WARNING, "assumed"))
    raw = RawImage(_plain_values(array, kind, page, findings), Geometry(array.shape[:3], spacing), findings + told)
    if kind == PALETTE:
        raw.indices, raw.palette = raw.array, (np.asarray(page.colormap).T >> 8).astype(np.uint8)
        raw.array = paint(raw.indices, raw.palette)
    raw.turn(int(page.tags.valueof(ORIENTATION, 1) or 1))
    return raw


def frame_axes(axes: str) -> list[int]:
    """Return which of a series' axes (tifffile's letters) hold channels, times and the like."""
    return [i for i, axis in enumerate(axes) if axis not in "YXS" and i != _slice_axis(axes)]


def _slice_axis(axes: str) -> int:
    """Return which axis the slices run along, -1 for a single one: Z, else pages that nothing names."""
    return next((axes.index(letter) for letter in SLICES if letter in axes), -1)


def _named(axes: str, over: Sequence[int], counts: Sequence[int]) -> str:
    parts = [f"{count} {NAMES.get(axes[i], 'pages')}" for i, count in zip(over, counts, strict=True)]
    return " x ".join(parts)


def _in_order(array: NDArray[Any], axes: list[str]) -> NDArray[Any]:
    """Return (z, y, x) or (z, y, x, components)."""
    order = sorted(range(len(axes)), key=lambda i: ("YXS".find(axes[i]), i))  # slices are not found: -1, first
    array = array.transpose(order)
    return array if array.ndim - axes.count("S") == 3 else array[None]


def _plain_values(array: NDArray[Any], kind: int, page: Any, findings: list[Finding]) -> NDArray[Any]:
    """Return values whose high ones are bright: floats of 32 bits at least, RGB in place of CMYK, white not zero."""
    if kind == CMYK:
        sentence = "CMYK colours were converted to RGB without a colour profile"
        findings.append(Finding(sentence, "colours-converted", Severity.INFO, "converted"))
        return from_cmyk(array)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if kind == WHITE_IS_ZERO and array.dtype.kind == "u":
        sentence = "low values are white in the file (WhiteIsZero): inverted, so that high values are bright"
        findings.append(Finding(sentence, "inverted", Severity.INFO, "converted"))
        return np.asarray((1 << int(page.bitspersample)) - 1 - array, dtype=array.dtype)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _decodes(page: Any) -> bool:
    """Return True where tifffile has what it takes to unpack the pixels."""
    import tifffile

    try:
        _ = tifffile.TIFF.DECOMPRESSORS[page.compression]
        return page.predictor == 1 or bool(tifffile.TIFF.UNPREDICTORS[page.predictor])
    except (KeyError, ImportError):
        return False


def _through_itk(path: Path, page: Any, frames: int) -> RawImage:
    """Return what ITK reads of a compression that tifffile cannot unpack here.

    Raises:
        ReadError: ITK would read it wrong.
    """
    simple = not page.is_tiled and int(page.photometric) in (1, RGB) and np.dtype(page.dtype) in ITK_READS
    if simple and frames == 1 and int(page.tags.valueof(ORIENTATION, 1) or 1) == 1:
        return read_itk(path, Family.TIFF)
    name = CODECS.get(int(page.compression), f"code {int(page.compression)}")
    raise ReadError(
        f"cannot read {path}: its pixels are compressed with {name}, which needs one more package: "
        "pip install imagecodecs"
    )


def _require_all_parts(file: Any, path: Path) -> None:
    """Raise where a page lists fewer or more strips or tiles than its size asks for: what is missing would be zeros.

    Raises:
        ReadError: one does.
    """
    for page in file.pages:
        page = page.aspage()
        wanted, listed = prod(page.chunked), len(page.dataoffsets)
        if listed != wanted or len(page.databytecounts) != listed:
            raise ReadError(
                f"cannot read {path}: the TIFF file is damaged; its header promises {wanted} parts (strips or tiles) "
                f"of pixels and lists {listed}"
            )


def _require_full_parts(file: Any, path: Path) -> None:
    """Raise where a strip or tile unpacks to fewer bytes than it should: tifffile fills the rest with zeros.

    Raises:
        ReadError: one does.
    """
    import tifffile

    for page in file.pages:
        page = page.aspage()
        unpack: Any = tifffile.TIFF.DECOMPRESSORS[page.compression]
        lossless = page.compression in (1, 5, 8, 32773, 32946, 34925, 50000)
        for number, (data, _) in enumerate(file.filehandle.read_segments(page.dataoffsets, page.databytecounts)):
            expected = _part_bytes(page, number)
            if data is None or (lossless and len(unpack(data) if unpack else data) < expected):
                raise ReadError(f"cannot read {path}: the TIFF file is damaged; a part of its pixels is cut short")


def _part_bytes(page: Any, number: int) -> int:
    """Return how many bytes a strip or tile holds when unpacked; the last strip of a plane may be shorter."""
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    if page.is_tiled:
        rows, columns = page.tilelength, page.tilewidth
    else:
        per_plane = -(-page.imagelength // page.rowsperstrip)
        rows = min(page.rowsperstrip, page.imagelength - (number % per_plane) * page.rowsperstrip)
        columns = page.imagewidth
    return int(rows * -(-columns * samples * page.bitspersample // 8))
