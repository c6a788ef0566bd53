"""Decode DICOM pixels into one array of modality units (HU for CT), or RGB."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ReadError
from promptseg.io.dicom_header import Frame
from promptseg.io.quiet import quiet_codec, quiet_pydicom

__all__ = ["decode"]

TAGS = (
    "SOPClassUID",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
)
JPEG_2000 = ("1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20")  # and its high-throughput form
JP2_SIGNATURE, JP2_SIGNATURE_BYTES = b"\0\0\0\x0cjP  ", 12  # ISO/IEC 15444-1 I.5.1
JPEG_12_BIT = "1.2.840.10008.1.2.4.51"  # JPEG Extended: pydicom's own door to GDCM takes 8 bits only
RLE = "1.2.840.10008.1.2.5"
IMPLICIT_LITTLE = "1.2.840.10008.1.2"


def decode(frames: Sequence[Frame]) -> NDArray[Any]:
    """Return (z, y, x) or RGB (z, y, x, 3) uint8, in the order of ``frames``.

    Grey values are in modality units: integers where every slope is 1 and every intercept integral, else float32.
    MONOCHROME1 (low is white) is inverted within the stored range, so that high is bright.

    Raises:
        ReadError: damaged, cut short, or a compression that nothing here decodes.
    """
    if frames[0].photometric.startswith(("RGB", "YBR", "PALETTE")):
        return np.stack([_rgb(pixels, frame) for frame, pixels in _pixels(frames)])
    exact = all(f.slope == 1 and f.intercept.is_integer() and not f.lut for f in frames)
    out: NDArray[Any] | None = None
    for z, (frame, pixels) in enumerate(_pixels(frames)):
        values = _modality(pixels, frame, exact)
        if out is None:
            out = np.empty((len(frames), *values.shape), dtype=values.dtype)
        elif values.dtype != out.dtype:
            out = out.astype(np.result_type(out.dtype, values.dtype))
        out[z] = values
    if out is None:
        raise ReadError("expected at least one frame to decode")
    return _smallest(out)


def inversion(frame: Frame) -> float:
    """Return the number that inverted values are taken from: darkest plus brightest value that can be stored."""
    lowest = -(2 ** (frame.bits_stored - 1)) if frame.signed else 0
    highest = lowest + 2**frame.bits_stored - 1
    return float((lowest + highest) * frame.slope + 2 * frame.intercept)


def padding_of(frames: Sequence[Frame]) -> tuple[float, float] | None:
    """Return the values, in the units of ``decode``, that are padding; None where there are none, or not the same."""
    one = frames[0]
    alike = {(f.padding, f.slope, f.intercept, f.lut, f.photometric) for f in frames}
    if one.padding is None or len(alike) > 1 or one.lut:
        return None
    ends = [end * one.slope + one.intercept for end in one.padding]
    if one.photometric == "MONOCHROME1":
        ends = [inversion(one) - end for end in ends]
    return (min(ends), max(ends))


def _pixels(frames: Sequence[Frame]) -> Iterator[tuple[Frame, NDArray[Any]]]:
    """Yield each frame with its stored values; a file with many frames is opened once."""
    for path, group in groupby(frames, key=lambda frame: frame.path):
        wanted = list(group)
        dataset = _load(path)
        picture: NDArray[Any] | None = None  # the one that tiles are parts of
        for frame in wanted:
            if frame.tile is None:
                pixels = _stored(dataset, frame)
            else:
                if picture is None:
                    picture = _stored(dataset, replace(frame, shape=frame.tile.picture, tile=None))
                pixels = picture[frame.tile.rows(frame.shape), frame.tile.columns(frame.shape)]
            if pixels.shape[:2] != frame.shape:
                raise ReadError(f"cannot read {path}: its pixels have shape {pixels.shape}, its header {frame.shape}")
            yield frame, pixels


def _load(path: Path) -> Any:
    import pydicom

    with quiet_pydicom():
        try:
            dataset = pydicom.dcmread(path, specific_tags=list(TAGS), force=True)
            has_pixels = any(k in dataset for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
        except Exception as exc:
            raise ReadError(f"cannot read {path}: the DICOM file is damaged or cut short") from exc
    if not has_pixels:
        raise ReadError(f"cannot read {path}: it holds no pixel data, or was cut short before it")
    if "TransferSyntaxUID" not in dataset.file_meta:  # files without a meta header; the old standard's only form
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(IMPLICIT_LITTLE)
        if not dataset.original_encoding[0]:
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    return dataset


def _stored(dataset: Any, frame: Frame) -> NDArray[Any]:
    """Return (rows, columns[, 3]) of one frame: stored values, or RGB where the file is YBR.

    Raises:
        ReadError: no decoder, or damaged pixels.
    """
    from pydicom.pixels.utils import pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    with quiet_pydicom():
        try:
            if not syntax.is_encapsulated and (shifted := _shifted_bits(dataset)):
                return _lowered(pixel_array(_all_bits(dataset), index=frame.index), *shifted)
            if dataset.BitsAllocated == 12 and not syntax.is_encapsulated:
                return _unpack_12_bits(dataset.PixelData, frame)
            if syntax == JPEG_12_BIT and frame.bits_stored > 8:
                return _stored_by_gdcm(dataset, frame)
            if syntax.startswith(JPEG_2000):
                _require_boxes(dataset, frame)
            if not syntax.is_private and syntax.is_encapsulated:
                with quiet_codec() as damage:
                    pixels = pixel_array(dataset, index=frame.index, decoding_plugin=_plugin(syntax))
                if damage:
                    raise ReadError(f"cannot read {frame.path}: its compressed pixels are damaged")
            else:
                pixels = pixel_array(dataset, index=frame.index, decoding_plugin=_plugin(syntax))
        except ReadError:
            raise
        except Exception as exc:
            raise ReadError(
                f"cannot read {frame.path}: its pixels ({_syntax_name(syntax)}) are damaged, cut short, "
                "or compressed in a way that is not supported"
            ) from exc
    return pixels if pixels.dtype.isnative else pixels.astype(pixels.dtype.newbyteorder("="))


def _shifted_bits(dataset: Any) -> tuple[int, int, bool] | None:
    """Return by how many bits values lie above the lowest one, how many bits they have, and whether they are signed.

    None where they lie at the bottom, as nearly all do: HighBit (0028,0102) is BitsStored - 1.
    """
    stored, high = int(dataset.get("BitsStored", 0) or 0), dataset.get("HighBit")
    shift = int(high) + 1 - stored if high is not None and stored else 0
    if shift <= 0 or int(high) >= dataset.BitsAllocated:
        return None
    return shift, stored, int(dataset.get("PixelRepresentation", 0) or 0) == 1


def _all_bits(dataset: Any) -> Any:
    """Return a copy whose pixels are read with every bit, as unsigned numbers."""
    from copy import copy

    whole = copy(dataset)
    whole.BitsStored, whole.HighBit, whole.PixelRepresentation = dataset.BitsAllocated, dataset.BitsAllocated - 1, 0
    return whole


def _lowered(pixels: NDArray[Any], shift: int, stored: int, signed: bool) -> NDArray[Any]:
    """Return the values that lie ``shift`` bits above the lowest one, in ``stored`` bits."""
    values = (pixels >> shift) & ((1 << stored) - 1)
    if not signed:
        return np.asarray(values, dtype=pixels.dtype.newbyteorder("="))
    wide = values.astype(np.int32)
    return np.asarray(wide - ((wide >> (stored - 1)) << stored), dtype=f"i{pixels.dtype.itemsize}")


def _require_boxes(dataset: Any, frame: Frame) -> None:
    """Raise for a JPEG 2000 file in which a box of no length stands before the code stream: pydicom 3.0 loops on it.

    Raises:
        ReadError: there is one.
    """
    from pydicom.encaps import get_frame

    stream = get_frame(dataset.PixelData, frame.index, number_of_frames=frame.count)
    offset = JP2_SIGNATURE_BYTES if stream.startswith(JP2_SIGNATURE) else len(stream)
    while offset < len(stream) and stream[offset + 4 : offset + 8] != b"jp2c":
        length = int.from_bytes(stream[offset : offset + 4], "big")
        if length == 0:
            raise ReadError(f"cannot read {frame.path}: its compressed pixels (JPEG 2000) are damaged")
        offset += length


def _plugin(syntax: Any) -> str:
    """Return the decoder by name: some of pydicom's others fill what is missing in a cut-off JPEG without a word."""
    if syntax.startswith(JPEG_2000):
        return "pylibjpeg"
    return "gdcm" if syntax.startswith("1.2.840.10008.1.2.4.") else "pydicom" if syntax == RLE else ""


def _syntax_name(syntax: Any) -> str:
    """Return the name of a known transfer syntax; the text of a damaged one is not passed on."""
    from pydicom.uid import UID

    uid = UID(str(syntax))
    return uid.name if uid.name != uid else "an unknown transfer syntax"  # a UID that is not known is its own name


def _unpack_12_bits(data: bytes, frame: Frame) -> NDArray[Any]:
    """Return pixels of the standard's first days (ACR-NEMA): two in three bytes, the first in the low bits."""
    pixels = frame.shape[0] * frame.shape[1]
    start, length = frame.index * pixels * 3 // 2, (pixels * 3 + 1) // 2
    packed = np.frombuffer(data, dtype=np.uint8, count=length, offset=start)
    triples = np.resize(packed, (len(packed) + 2) // 3 * 3).reshape(-1, 3).astype(np.uint16)
    low = triples[:, 0] | (triples[:, 1] & 0x0F) << 8
    high = triples[:, 1] >> 4 | triples[:, 2] << 4
    return np.stack([low, high], axis=1).ravel()[:pixels].reshape(frame.shape)


def _stored_by_gdcm(dataset: Any, frame: Frame) -> NDArray[Any]:
    """Decode 12-bit JPEG with GDCM's own file reader, see ``promptseg.io.jpeg12``.

    It is given a copy with the pixels and their description only: its parser ends the process on some damaged headers.
    """
    from promptseg.io.jpeg12 import decode_jpeg12

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "pixels.dcm"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2"
        dataset.save_as(copy, enforce_file_format=True)
        data, signed = decode_jpeg12(copy, str(frame.path))
    values: NDArray[Any] = np.frombuffer(data, dtype=np.int16 if signed else np.uint16)
    return np.asarray(values.reshape(frame.count, *frame.shape)[frame.index])


def _modality(pixels: NDArray[Any], frame: Frame, exact: bool) -> NDArray[Any]:
    """Return the slice in modality units; ``exact`` keeps integers."""
    from pydicom.pixels.processing import apply_modality_lut

    if frame.lut:
        with quiet_pydicom():
            try:
                values: NDArray[Any] = apply_modality_lut(pixels, _load(frame.path)).astype(np.float32)
            except (AttributeError, KeyError, ValueError, IndexError, TypeError) as exc:
                raise ReadError(f"cannot read {frame.path}: its Modality LUT (0028,3000) is malformed") from exc
    elif exact and frame.intercept == 0:
        values = pixels
    elif exact and pixels.dtype.kind in "iu":
        values = pixels.astype(np.int32) + np.int32(frame.intercept)
        if int(values.min()) >= -(2**15) and int(values.max()) < 2**15:
            values = values.astype(np.int16)
    else:
        values = pixels.astype(np.float32) * np.float32(frame.slope) + np.float32(frame.intercept)
    if frame.photometric != "MONOCHROME1":
        return values
    inverted = np.asarray(inversion(frame) - values.astype(np.float64))
    if exact and frame.intercept == 0 and pixels.dtype.kind == "u":
        kind: Any = pixels.dtype
        inverted = inverted.clip(0, np.iinfo(kind).max)
    else:
        kind = np.int32 if exact else np.float32
    return np.asarray(inverted.astype(kind))


def _smallest(values: NDArray[Any]) -> NDArray[Any]:
    """Return 32-bit integers as int16 where all fit."""
    if values.dtype == np.int32 and int(values.min()) >= -(2**15) and int(values.max()) < 2**15:
        return values.astype(np.int16)
    return values


def _rgb(pixels: NDArray[Any], frame: Frame) -> NDArray[Any]:
    """Return uint8 RGB (rows, columns, 3)."""
    from pydicom.pixels.processing import apply_color_lut

    if frame.photometric.startswith("PALETTE"):
        with quiet_pydicom():
            try:
                source = _load(frame.path)
                pixels = apply_color_lut(pixels, source)[..., :3]
                if pixels.dtype != np.uint8 and _has_bytes_only(source):
                    pixels = pixels.astype(np.uint8)
            except (AttributeError, KeyError, ValueError, IndexError, TypeError) as exc:
                raise ReadError(f"cannot read {frame.path}: its colour palette is missing or malformed") from exc
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ReadError(f"cannot read {frame.path}: expected 3 colour values per pixel, got shape {pixels.shape}")
    return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)


def _has_bytes_only(dataset: Any) -> bool:
    """Return True where a palette that is declared as 16-bit holds no value above 255, as some scanners write it."""
    tables = [dataset.get(f"{colour}PaletteColorLookupTableData") for colour in ("Red", "Green", "Blue")]
    if any(table is None for table in tables):
        return False
    return all(int(np.frombuffer(table[: len(table) // 2 * 2], "<u2").max(initial=0)) < 256 for table in tables)
