"""From a case to arrays: the image, and the truth on the same grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from promptseg.bench.cases import Case
from promptseg.errors import GeometryMismatchError, PromptError, ReadError
from promptseg.models.predictor import SliceImage
from promptseg.volume import Geometry, Volume, choose_window

__all__ = ["CaseLoader", "SliceTask", "VolumeTask"]

BoolArray = NDArray[np.bool_]

PICTURES = (".png", ".jpg", ".jpeg", ".bmp")  # their headers' spacing is that of a printer: not compared, not used


@dataclass(frozen=True, eq=False)
class SliceTask:
    """A 2D case, ready to run.

    Attributes:
        case: what it is.
        image: the slice, windowed by its volume's one window.
        truth: bool (h, w), not empty.
    """

    case: Case
    image: SliceImage
    truth: BoolArray


@dataclass(frozen=True, eq=False)
class VolumeTask:
    """A 3D case, ready to run.

    Attributes:
        case: what it is.
        volume: the image.
        truth: bool (z, y, x) on its grid, not empty.
    """

    case: Case
    volume: Volume
    truth: BoolArray


class CaseLoader:
    """Reads cases; keeps the last image and the last label file, since cases of one image follow each other."""

    def __init__(self) -> None:
        self._image: tuple[Path, Volume] | None = None
        self._labels: tuple[tuple[Path, Path, bool], NDArray[Any]] | None = None

    def load_volume(self, case: Case) -> VolumeTask:
        """Read image and truth.

        Raises:
            ReadError: a file cannot be read, or the object is not in it.
            GeometryMismatchError: the label lies on another grid and the case does not say ``resample``.
        """
        if self._image is None or self._image[0] != case.image:
            self._image = (case.image, _read_image(case.image, case.modality))
        volume = self._image[1]
        key = (case.image, case.label, case.resample)
        if self._labels is None or self._labels[0] != key:
            self._labels = (key, _read_labels(case, volume))
        labels = self._labels[1]
        truth = np.isin(labels, case.values) if case.values else labels > 0
        if case.fill:
            truth = np.stack([_filled(cut) for cut in truth])
        if not truth.any():
            wanted = ", ".join(map(str, case.values)) or "above 0"
            raise ReadError(f"expected voxels of value {wanted} in {case.label} for case {case.name!r}; there are none")
        return VolumeTask(case, volume, truth)

    def load_slice(self, case: Case) -> SliceTask:
        """Read image and truth and cut the case's slice.

        Raises:
            ReadError, GeometryMismatchError: as ``load_volume``.
            PromptError: the case's slice index lies outside, or the object is not in that slice.
        """
        task = self.load_volume(case)
        index = _slice_index(case, task.truth)
        truth = task.truth[(slice(None),) * case.plane.axis + (index,)]
        if not truth.any():
            raise PromptError(f"expected the object of case {case.name!r} in slice {index}; it is not there")
        pixels = task.volume.window.apply(task.volume.cut(case.plane, index))
        image = SliceImage(np.ascontiguousarray(pixels), task.volume.cut_spacing_mm(case.plane))
        return SliceTask(case, image, np.ascontiguousarray(truth))


def _slice_index(case: Case, truth: BoolArray) -> int:
    """Return the case's slice, or the one with most of the object (the first of equals)."""
    count = truth.shape[case.plane.axis]
    if case.slice_index is None:
        areas = truth.sum(axis=tuple(axis for axis in range(3) if axis != case.plane.axis))
        return int(areas.argmax())
    if case.slice_index >= count:
        raise PromptError(f"expected a slice below {count} for case {case.name!r}, got {case.slice_index}")
    return case.slice_index


def _read(path: Path) -> sitk.Image:
    try:
        if path.is_dir():
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
            return reader.Execute()
        return sitk.ReadImage(str(path))
    except RuntimeError as exc:
        raise ReadError(f"cannot read {path} as an image") from exc


def _geometry(image: sitk.Image, path: Path) -> Geometry:
    size = (*image.GetSize(), 1)[:3]
    if image.GetDimension() == 2 or path.suffix.lower() in PICTURES:
        return Geometry(size[::-1])
    return Geometry(size[::-1], image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def _read_image(path: Path, modality: str) -> Volume:
    image = _read(path)
    array, geometry = sitk.GetArrayFromImage(image), _geometry(image, path)
    array = array.reshape(*geometry.shape, *array.shape[image.GetDimension() :])
    if array.ndim == 4:
        array = array[..., :3] if array.shape[3] >= 3 else array[..., 0]  # without transparency
        if array.ndim == 4 and (array == array[..., :1]).all():
            array = array[..., 0]
    known = modality if modality == "CT" and path.suffix.lower() not in PICTURES else None
    return Volume(array, geometry, choose_window(array, modality=known), modality)


def _read_labels(case: Case, volume: Volume) -> NDArray[Any]:
    """Return the label file's integers (z, y, x) on the image's grid."""
    label = _read(case.label)
    geometry = _geometry(label, case.label)
    picture = case.label.suffix.lower() in PICTURES
    if picture and geometry.shape != volume.shape:
        raise GeometryMismatchError(f"label and image of case {case.name!r} differ: {geometry.shape}, {volume.shape}")
    if not picture and not volume.geometry.same_as(geometry):
        if not case.resample:
            volume.geometry.require_same(geometry, f"label and image of case {case.name!r}")
        label, geometry = _resampled(label, volume.geometry), volume.geometry
    array = sitk.GetArrayFromImage(label)
    array = array.reshape(*geometry.shape, -1)[..., 0]
    return np.asarray(array > 127 if picture and array.max() == 255 else array)


def _resampled(label: sitk.Image, grid: Geometry) -> sitk.Image:
    """Return the label on ``grid``, nearest neighbour; 0 outside its own."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([int(n) for n in grid.shape[::-1]])
    resampler.SetOutputSpacing(grid.spacing)
    resampler.SetOutputOrigin(grid.origin)
    resampler.SetOutputDirection(grid.direction)
    resampler.SetInterpolator(sitk.sitkNearestNeighbor)
    return resampler.Execute(label)


def _filled(outline: BoolArray) -> BoolArray:
    """Fill what a closed outline encloses."""
    padded = np.pad(outline, 1).astype(np.uint8)
    cv2.floodFill(padded, None, (0, 0), 2)
    return np.asarray(padded[1:-1, 1:-1] != 2)
