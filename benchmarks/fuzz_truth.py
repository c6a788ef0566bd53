"""What an independent reader makes of a mutated file, for ``fuzz_readers.py`` to compare voxels and place with.

NIfTI and MGH: nibabel; NRRD: pynrrd; TIFF, PNG, JPEG: Pillow; DICOM: pydicom's own pixels and rescaling, slices put in
order here; MetaImage and GIPL: readers of a few lines, by the formats' descriptions.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Truth", "difference", "read_truth"]

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS to LPS
LOSSY = 3.0  # grey values by which two decoders of one JPEG may differ
OVERFLOWN = 0.1  # share of a JPEG's pixels
PLAIN = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.5",
)  # what pydicom decodes


@dataclass(frozen=True)
class Truth:
    """Voxels (z, y, x) or (z, y, x, colours), and matrices (4x4, voxel x, y, z to LPS mm) of which each is a right one.

    ``places`` is () where the file states no place, or its reader does not tell. ``tolerance`` is of grey values.
    """

    array: np.ndarray
    places: tuple[np.ndarray, ...] = ()
    tolerance: float = 0.0


def read_truth(path: Path) -> Truth | None:
    """Return what the other reader sees; None where it refuses the file, or there is none for it."""
    reader = _reader(path)
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it tells of every field that it mends
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return reader(path) if reader else None
    except Exception:  # noqa: BLE001 - whatever it raises: it does not read the file
        return None


def difference(volume: Any, truth: Truth) -> str:
    """Return how a volume differs from the truth, "" where it does not."""
    array, expected = _alike(np.asarray(volume.array), truth.array)
    if array.shape != expected.shape:
        return f"shape {array.shape}, the other reader has {expected.shape}"
    finite = np.isfinite(expected)
    right = np.isclose(array[finite], expected[finite], rtol=1e-4, atol=truth.tolerance)
    if not right.all():
        return f"{np.count_nonzero(~right)} of {right.size} voxels differ from the other reader's"
    geometry = volume.geometry
    reach = float(np.abs(geometry.affine).max())
    if truth.places and not any(
        np.allclose(geometry.affine, one, rtol=1e-3, atol=1e-4 * reach) for one in truth.places
    ):
        return f"another place: {geometry.affine.round(4).tolist()}, the other reader has {truth.places[0].tolist()}"
    return ""


def _alike(array: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64, the truth as volumes are settled: no opacity, grey where colours are equal, 8 bits."""
    if expected.ndim == 4:
        if expected.shape[3] in (2, 4):
            expected = expected[..., :-1]
        equal = all(np.array_equal(expected[..., 0], expected[..., i]) for i in range(expected.shape[3]))
        if equal and array.ndim == 3:
            expected = expected[..., 0]
        elif expected.dtype == np.uint16:
            expected = expected >> 8
    if expected.dtype == np.bool_:
        array = array > 0  # of one bit, which some write as 1 and some as the brightest
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return array.astype(np.float64), expected.astype(np.float64)


def _reader(path: Path) -> Callable[[Path], Truth | None] | None:
    if path.is_dir():
        return _dicom
    name = path.name.lower()
    readers = {
        _nifti: (".nii", ".nii.gz", ".hdr", ".img"), _mgh: (".mgh", ".mgz"), _nrrd: (".nrrd", ".nhdr"),
        _meta: (".mha", ".mhd"), _gipl: (".gipl", ".gipl.gz"), _picture: (".png", ".jpg"), _tiff: (".tif", ".tiff"),
        _dicom: (".dcm",),
    }  # fmt: skip
    return next((reader for reader, ends in readers.items() if name.endswith(ends)), None)


# --- NIfTI, MGH -----------------------------------------------------------------------------------------------------


def _nifti(path: Path) -> Truth | None:
    import nibabel

    image = nibabel.load(path)
    header = image.header
    if not isinstance(header, nibabel.Nifti1Header):  # Analyze: no place, and SPM's scale is no part of the format
        return Truth(_frame(np.asarray(image.dataobj.get_unscaled())))
    values = np.asarray(image.dataobj)
    if values.dtype.fields is not None:
        values = np.stack([values[name] for name in values.dtype.names], axis=-1)
        return Truth(np.moveaxis(values, -1, 0).T if values.ndim == 4 else values.swapaxes(0, 1)[None], _forms(header))
    return Truth(_frame(values), _forms(header))


def _frame(values: np.ndarray) -> np.ndarray:
    """Return the first frame of (x, y, z, t) as (z, y, x); of (x, y, z, 1, v) as (z, y, x, v)."""
    if values.ndim == 5 and values.shape[3] == 1:
        vectors = values[:, :, :, 0].transpose(2, 1, 0, 3)
        return vectors if vectors.shape[3] > 1 else vectors[..., 0]
    values = values.reshape(*values.shape, *(1,) * (3 - values.ndim))
    return values.reshape(*values.shape[:3], -1)[..., 0].T


def _forms(header: Any) -> tuple[np.ndarray, ...]:
    unit = {1: 1e3, 3: 1e-3}.get(int(header["xyzt_units"]) & 7, 1.0)
    forms = [form for form in (header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]) if form is not None]
    return tuple(FLIP @ np.vstack([form[:3] * unit, [0, 0, 0, 1]]) for form in forms)


def _mgh(path: Path) -> Truth | None:
    import nibabel

    data = path.read_bytes()
    data = gzip.decompress(data) if path.name.endswith("z") else data
    good = struct.unpack_from(">h", data, 28)[0] > 0  # nibabel's default place is not FreeSurfer's
    image = nibabel.MGHImage.from_bytes(data)
    return Truth(_frame(np.asarray(image.dataobj)), (FLIP @ image.affine,) if good else ())


# --- NRRD, MetaImage, GIPL ------------------------------------------------------------------------------------------


def _nrrd(path: Path) -> Truth | None:
    import nrrd

    data, header = nrrd.read(str(path))  # the fastest axis first
    kinds = [str(kind).lower() for kind in header.get("kinds", ["domain"] * data.ndim)]
    grid = [axis for axis, kind in enumerate(kinds) if kind in ("domain", "space", "none", "???")]
    others = [axis for axis in range(data.ndim) if axis not in grid]
    if len(grid) != 3 or len(others) > 1:
        return None
    if not others:
        return Truth(data.T, _nrrd_place(header, grid))
    moved = np.moveaxis(data, others[0], -1)
    return Truth(moved[..., 0].T if kinds[others[0]] in ("list", "time") else np.moveaxis(moved.T, 0, -1))


def _nrrd_place(header: Any, grid: list[int]) -> tuple[np.ndarray, ...]:
    flips = {"left-posterior-superior": (1, 1), "lps": (1, 1), "right-anterior-superior": (-1, -1), "ras": (-1, -1),
             "left-anterior-superior": (1, -1), "las": (1, -1)}  # fmt: skip
    flip = flips.get(str(header.get("space", "")).lower())
    units = {str(unit) for unit in header.get("space units", ["mm"])}
    if flip is None or "space directions" not in header or units != {"mm"}:
        return ()
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(header["space directions"], dtype=np.float64)[grid].T
    matrix[:3, 3] = header.get("space origin", (0, 0, 0))
    return (np.diag([*flip, 1, 1]) @ matrix,)


META_TYPES = {"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
              "MET_UINT": "u4", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"}  # fmt: skip


def _meta(path: Path) -> Truth | None:
    head, last, rest = path.read_bytes().partition(b"ElementDataFile")
    fields = {
        key.strip(): value.strip()
        for key, _, value in (line.partition("=") for line in head.decode("latin-1").split("\n"))
    }
    line, _, body = rest.partition(b"\n")
    name = line.decode("latin-1").lstrip(" =").strip()
    sizes = [int(word) for word in fields["DimSize"].split()]
    if len(sizes) != 3 or int(fields.get("ElementNumberOfChannels", 1)) != 1 or not last:
        return None
    big = fields.get("ElementByteOrderMSB", fields.get("BinaryDataByteOrderMSB", "False")) == "True"
    dtype = np.dtype((">" if big else "<") + META_TYPES[fields["ElementType"]])
    count = int(np.prod(sizes))
    if name == "LOCAL":
        parts = [body]
    elif name == "LIST":
        parts = [(path.parent / one.strip()).read_bytes() for one in body.decode().split("\n") if one.strip()]
    elif "%" in name:
        pattern, first, last_number, step = name.split()
        parts = [(path.parent / (pattern % n)).read_bytes() for n in range(int(first), int(last_number) + 1, int(step))]
    else:
        parts = [(path.parent / name).read_bytes()]
    if fields.get("BinaryData", "True") != "True":
        values = np.array([int(word) for word in b" ".join(parts).split()[:count]], dtype)
    else:
        if fields.get("CompressedData", "False") == "True":
            parts = [zlib.decompress(part) for part in parts]
        skip, share = int(fields.get("HeaderSize", 0)), count * dtype.itemsize // len(parts)
        parts = [part[len(part) - share :] if skip == -1 else part[skip:][:share] for part in parts]
        values = np.frombuffer(b"".join(parts), dtype)
    return Truth(values.reshape(sizes[::-1]), _meta_place(fields))


def _meta_place(fields: dict[str, str]) -> tuple[np.ndarray, ...]:
    def numbers(*names: str) -> list[float]:
        return next(([float(word) for word in fields[name].split()] for name in names if name in fields), [])

    axes, spacing = numbers("TransformMatrix", "Rotation", "Orientation"), numbers("ElementSpacing", "ElementSize")
    origin = numbers("Offset", "Origin", "Position")
    if (len(axes), len(spacing), len(origin)) != (9, 3, 3):
        return ()
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.reshape(axes, (3, 3)).T * spacing, origin
    return (matrix,)


def _gipl(path: Path) -> Truth | None:
    data = path.read_bytes()
    data = gzip.decompress(data) if path.name.endswith(".gz") else data
    order = {b"\x2a\xe3\x89\xb8": ">", b"\xb8\x89\xe3\x2a": "<"}[data[252:256]]
    x, y, z, _, kind = struct.unpack_from(order + "5H", data)
    dtype = np.dtype(
        order + {1: "u1", 7: "i1", 8: "u1", 15: "i2", 16: "u2", 31: "u4", 32: "i4", 64: "f4", 65: "f8"}[kind]
    )
    values = np.frombuffer(data, dtype, x * y * max(z, 1), 256)
    spacing = struct.unpack_from(order + "3f", data, 10)
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = struct.unpack_from(order + "3d", data, 204)
    return Truth(values.reshape(max(z, 1), y, x), (matrix,) if min(spacing) > 0 else ())


# --- pictures -------------------------------------------------------------------------------------------------------


def _picture(path: Path) -> Truth | None:
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        image.load()
        array = _pixels(ImageOps.exif_transpose(image))[None]
    if path.suffix != ".jpg":
        return Truth(array)
    overflown = (
        np.isin(array, (0, 255)).mean() > OVERFLOWN
    )  # damaged tables: each decoder's sums run over in another way
    return None if overflown else Truth(array, tolerance=LOSSY)


def _tiff(path: Path) -> Truth | None:
    from PIL import Image, ImageSequence

    with _without_words(), warnings.catch_warnings(record=True) as told, Image.open(path) as image:
        warnings.simplefilter("always")
        tags = image.tag_v2
        if 262 not in tags or (tags[262] == 0 and tags.get(258, (1,))[0] > 8):
            return None  # it takes white for low where nothing is said, and leaves 16 bits as they are
        if image.n_frames == 1 and _promises_more(str(tags.get(270, "")), image.width * image.height):
            return None  # of such a file the first page may stand for all, which it does not know
        pages = [_pixels(page) for page in ImageSequence.Iterator(image)]
    if any("Truncated" in str(one.message) for one in told):
        return None  # behind a damaged tag it reads no more of them, nor pages
    return Truth(np.stack(pages))


@contextmanager
def _without_words() -> Iterator[None]:
    """Keep libtiff, which Pillow has no say over, from writing to standard error."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def _promises_more(description: str, pixels: int) -> bool:
    """Return True where ImageJ's or tifffile's words in a TIFF are of several pages."""
    if description.startswith('{"shape"'):
        return int(np.prod(json.loads(description)["shape"])) > 4 * pixels
    return description.startswith(("ImageJ=", "<?xml"))


def _pixels(image: Any) -> np.ndarray:
    if image.mode == "P":
        image = image.convert("RGB")
    return np.asarray(image)


# --- DICOM ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Slice:
    """One frame: values (y, x[, colours]), and where its header puts it."""

    values: np.ndarray
    position: Any
    axes: Any
    spacing: Any


def _dicom(path: Path) -> Truth | None:
    import pydicom

    files = sorted(path.iterdir()) if path.is_dir() else [path]
    datasets = [pydicom.dcmread(file, force=True) for file in files]
    if any(one.file_meta.TransferSyntaxUID not in PLAIN for one in datasets):
        return None  # decoders of damaged streams die
    if any("MOSAIC" in one.get("ImageType", []) for one in datasets):
        return None  # no other reader here takes its tiles apart
    if any(
        int(one.get("NumberOfFrames") or 1) > 1 and "PerFrameFunctionalGroupsSequence" not in one for one in datasets
    ):
        return None  # slices or times: no tag says it
    if any(one.PhotometricInterpretation not in ("MONOCHROME2", "RGB") for one in datasets):
        return None
    slices = [_enhanced(one) if "PerFrameFunctionalGroupsSequence" in one else [_classic(one)] for one in datasets]
    ordered = [one for part in slices for one in part]
    if len(ordered) > 1:
        normal = np.cross(ordered[0].axes[:3], ordered[0].axes[3:])
        ordered.sort(key=lambda one: float(normal @ one.position))
    return Truth(np.stack([one.values for one in ordered]), _dicom_place(ordered))


def _classic(dataset: Any) -> _Slice:
    from pydicom.pixels import apply_modality_lut

    pixels = dataset.pixel_array
    if ("RescaleSlope" in dataset) != ("RescaleIntercept" in dataset):
        raise ValueError("pydicom takes neither where one is missing")
    if dataset.SamplesPerPixel != 3:
        pixels = np.asarray(apply_modality_lut(pixels, dataset), dtype=np.float64)
    tags = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    numbers = [np.asarray(dataset[tag].value, dtype=np.float64) if tag in dataset else None for tag in tags]
    return _Slice(np.asarray(pixels), *numbers)


def _enhanced(dataset: Any) -> list[_Slice]:
    shared, found = dataset.SharedFunctionalGroupsSequence[0], []
    for own, pixels in zip(dataset.PerFrameFunctionalGroupsSequence, dataset.pixel_array, strict=True):
        scale = own.PixelValueTransformationSequence[0]
        values = pixels * float(scale.RescaleSlope) + float(scale.RescaleIntercept)
        position, axes, spacing = (
            np.asarray(numbers, dtype=np.float64)
            for numbers in (
                own.PlanePositionSequence[0].ImagePositionPatient,
                shared.PlaneOrientationSequence[0].ImageOrientationPatient,
                shared.PixelMeasuresSequence[0].PixelSpacing,
            )
        )
        found.append(_Slice(values, position, axes, spacing))
    return found


def _dicom_place(slices: list[_Slice]) -> tuple[np.ndarray, ...]:
    first, last = slices[0], slices[-1]
    if len(slices) < 2 or first.axes is None or first.spacing is None:
        return ()
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = first.axes[:3] * first.spacing[1], first.axes[3:] * first.spacing[0]
    matrix[:3, 2], matrix[:3, 3] = (last.position - first.position) / (len(slices) - 1), first.position
    return (matrix,)
