"""Images that other libraries hold in memory, as this program's: known by what they have, so that none is imported.

Each convention is converted here and nowhere else. nibabel's and MONAI's affines map voxel (x, y, z) to RAS mm, arrays
are (x, y, z); xarray's dimensions have names and ITK's frame (LPS), as ``itk.xarray_from_image`` makes them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promptseg.check.finding import Finding, Severity
from promptseg.errors import GeometryError, ReadError
from promptseg.io.frames import check_frame, frame_finding
from promptseg.io.itk import RawImage
from promptseg.volume.geometry import Geometry
from promptseg.volume.volume import Volume

__all__ = [
    "TAKEN",
    "Affine",
    "NibabelImage",
    "PydicomDataset",
    "SitkImage",
    "VolumeLike",
    "is_datasets",
    "read_memory",
    "written_datasets",
]

TAKEN = (
    "a path, a list of paths, a SimpleITK or nibabel image, a MONAI MetaTensor, pydicom datasets, an xarray DataArray "
    "(z, y, x), or (array, geometry) with a Geometry, a spacing (x, y, z) in mm, nibabel's affine, or None"
)
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
UNITS_MM = {"mm": 1.0, "meter": 1000.0, "micron": 0.001, "unknown": 1.0}  # nibabel's names of NIfTI's xyzt_units


class SitkImage(Protocol):
    """A SimpleITK image."""

    def GetPixelIDTypeAsString(self) -> str: ...  # noqa: N802, D102


class NibabelImage(Protocol):
    """A nibabel image of any format."""

    @property
    def affine(self) -> Any: ...  # noqa: D102

    @property
    def dataobj(self) -> Any: ...  # noqa: D102


class Affine(Protocol):
    """A tensor that knows where it lies: MONAI's MetaTensor."""

    @property
    def affine(self) -> Any: ...  # noqa: D102

    @property
    def meta(self) -> Any: ...  # noqa: D102


class Named(Protocol):
    """An array whose dimensions have names: xarray's DataArray."""

    @property
    def dims(self) -> tuple[Any, ...]: ...

    @property
    def coords(self) -> Any: ...


class PydicomDataset(Protocol):
    """A pydicom dataset with pixels."""

    SOPInstanceUID: Any
    PixelData: Any


class HasArray(Protocol):
    """Anything numpy takes: arrays of torch, zarr, dask, ..."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...


Place: TypeAlias = "Geometry | Sequence[float] | NDArray[Any] | None"
VolumeLike: TypeAlias = (
    "Volume | str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | SitkImage | NibabelImage | Affine | Named "
    "| PydicomDataset | Sequence[PydicomDataset] | tuple[HasArray, Place] | tuple[ArrayLike, Place]"
)


def read_memory(source: object, frame: int | None) -> RawImage | None:
    """Return the image that another library's object holds; None where it is none of those that are known.

    Raises:
        ReadError: it is one, and cannot be an image: several channels, dimensions of other names, a wrong place.
    """
    if _has(source, "dataobj", "affine"):
        return _nibabel(source, frame)
    if _has(source, "affine", "meta", "detach"):
        return _meta_tensor(source)
    if _has(source, "dims", "coords", "values"):
        return _xarray(source)
    if isinstance(source, tuple) and len(source) == 2 and _has(source[0], "shape", "dtype"):
        return _placed(plain_array(source[0]), source[1])
    if _has(source, "shape", "dtype"):
        raise ReadError(
            f"expected an image that says where it lies, got {type(source).__name__} alone; pass (array, None) for "
            "voxels of 1 mm, or (array, spacing) with (x, y, z) in mm"
        )
    return None


def is_datasets(source: object) -> bool:
    """Return True for a pydicom dataset with pixels, or a list of them."""
    items = source if isinstance(source, list | tuple) else [source]
    return bool(items) and all(hasattr(item, "save_as") and hasattr(item, "file_meta") for item in items)


@contextmanager
def written_datasets(source: Any) -> Iterator[list[Path]]:
    """Give datasets as files, for the one reader of DICOM; they go when the block ends.

    Raises:
        ReadError: one cannot be written as a DICOM file.
    """
    with tempfile.TemporaryDirectory(prefix="promptseg-") as folder:
        paths = []
        for number, dataset in enumerate(source if isinstance(source, list | tuple) else [source], start=1):
            paths.append(Path(folder) / f"{number:06}.dcm")
            try:
                dataset.save_as(paths[-1])
            except (AttributeError, KeyError, TypeError, ValueError) as exc:
                raise ReadError(f"cannot read dataset {number}: it is no whole DICOM image ({exc})") from exc
        yield paths


def plain_array(array: Any) -> NDArray[Any]:
    """Return a numpy array of what numpy takes, torch's tensors on any device among them."""
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    return np.asarray(array)


def _has(source: object, *names: str) -> bool:
    return all(hasattr(source, name) for name in names)


def _nibabel(image: Any, frame: int | None) -> RawImage:
    data = image.dataobj
    findings: list[Finding] = []
    shape = tuple(data.shape)
    if len(shape) == 4:
        findings = [frame_finding(shape[3])] if shape[3] > 1 and frame is None else []
        data = data[..., check_frame(frame, shape[3], "the nibabel image")]
    units = image.header.get_xyzt_units()[0] if hasattr(image.header, "get_xyzt_units") else "mm"
    raw = _from_affine(np.asanyarray(data), np.asarray(image.affine, np.float64), "nibabel")
    scale = UNITS_MM.get(units, 1.0)
    if scale != 1.0:
        place = raw.geometry
        spacing, origin = ((v[0] * scale, v[1] * scale, v[2] * scale) for v in (place.spacing, place.origin))
        raw.geometry = Geometry(place.shape, spacing, origin, place.direction)
    return RawImage(raw.array, raw.geometry, findings)


def _meta_tensor(tensor: Any) -> RawImage:
    array = plain_array(getattr(tensor, "array", tensor))
    while array.ndim > 3 and array.shape[0] == 1:  # batch and channel, as MONAI puts them first
        array = array[0]
    affine = np.asarray(plain_array(tensor.affine), np.float64)
    affine = affine[-4:, -4:] if affine.ndim == 2 else affine[0]
    if str(dict(tensor.meta).get("space", "RAS")).upper().endswith("LPS"):
        affine = RAS_TO_LPS @ affine
    return _from_affine(array, affine, "MONAI")


def _from_affine(array: NDArray[Any], affine: NDArray[np.float64], who: str) -> RawImage:
    """Turn (x, y, z) with an affine to RAS mm into (z, y, x) in LPS mm."""
    if array.ndim not in (2, 3):
        raise ReadError(f"expected one 3D image (x, y, z) from {who}, got shape {array.shape}; take one channel of it")
    if affine.shape != (4, 4):
        raise ReadError(f"expected an affine of shape (4, 4) from {who}, got {affine.shape}")
    array = np.ascontiguousarray((array[..., None] if array.ndim == 2 else array).transpose(2, 1, 0))
    lps = RAS_TO_LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    if not (np.isfinite(lps).all() and (spacing > 0).all()):
        raise ReadError(f"expected an affine with three axes from {who}, got {affine.tolist()}")
    axes = lps[:3, :3] / spacing
    return RawImage(array, _geometry(array, spacing.tolist(), lps[:3, 3].tolist(), axes.ravel().tolist()))


def _xarray(data: Any) -> RawImage:
    names = tuple(str(name) for name in data.dims)
    if set(names) != {"z", "y", "x"}:
        raise ReadError(f"expected an xarray with the dimensions z, y and x, got {', '.join(names) or 'none'}")
    data = data.transpose("z", "y", "x")
    spacing, origin = [], []
    for name in ("x", "y", "z"):
        given = np.asarray(data.coords[name].values, np.float64) if name in data.coords else np.arange(data.sizes[name])
        steps = np.diff(given)
        if len(steps) and (not (steps > 0).all() or np.ptp(steps) > 1e-3 * abs(steps[0])):
            raise ReadError(f"expected evenly spaced, rising coordinates of {name!r}, got steps {steps[:4].tolist()}")
        spacing.append(float(steps[0]) if len(steps) else 1.0)
        origin.append(float(given[0]))
    direction = np.asarray(data.attrs.get("direction", np.eye(3)), np.float64).ravel().tolist()
    array = np.asarray(data.values)
    return RawImage(array, _geometry(array, spacing, origin, direction))


def _placed(array: NDArray[Any], place: Any) -> RawImage:
    """Read (array, place): a Geometry, a spacing (x, y, z) in mm, nibabel's affine, or nothing known."""
    if place is None or isinstance(place, Geometry):
        plain = Volume.from_array(array, place)
        return RawImage(plain.array, plain.geometry)
    try:
        numbers = np.asarray(plain_array(place), np.float64)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape == (4, 4):
        raw = _from_affine(array, numbers, "(array, affine)")
        sentence = "the array was taken as (x, y, z) and its affine to RAS mm, as nibabel has them"
        raw.findings.append(Finding(sentence, "affine-convention", Severity.INFO, "assumed"))
        return raw
    if numbers.shape != (3,):
        raise ReadError(
            "expected (array, geometry) with a Geometry, a spacing (x, y, z) in mm, an affine (4, 4) or None, got "
            f"(array, {type(place).__name__})"
        )
    plain = Volume.from_array(array)
    return RawImage(plain.array, _geometry(plain.array, numbers.tolist(), [0.0] * 3, np.eye(3).ravel().tolist()))


def _geometry(array: NDArray[Any], spacing: list[float], origin: list[float], direction: list[float]) -> Geometry:
    shape = (array.shape[0], array.shape[1], array.shape[2])
    try:
        return Geometry(shape, tuple(spacing), tuple(origin), tuple(direction))  # type: ignore[arg-type]
    except GeometryError as exc:
        raise ReadError(f"cannot place the array: {exc}") from exc
