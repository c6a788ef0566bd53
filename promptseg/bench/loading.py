"""From a case to arrays: the image, and the truth on the same grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.bench.cases import Case
from promptseg.bench.simulate import largest_component
from promptseg.errors import PromptError, ReadError
from promptseg.io import read_labelmap, read_volume
from promptseg.models.predictor import SliceImage
from promptseg.volume import Geometry, Labelmap, Volume, choose_window

__all__ = ["CaseLoader", "SliceTask", "VolumeTask"]

BoolArray = NDArray[np.bool_]

SMOOTH_MASK_MAX = 255  # a picture with this largest value and no values named is black and white: above half is object
STROKE_VALUES = 2  # of a picture of strokes: 1 on the object, 2 around it


@dataclass(frozen=True, eq=False)
class SliceTask:
    """A 2D case, ready to run.

    Attributes:
        case: what it is.
        image: the slice, windowed by its volume's one window.
        truth: bool (h, w), not empty.
        strokes: int8 (h, w), a person's (+1 on the object, -1 around it); None where the case has none.
    """

    case: Case
    image: SliceImage
    truth: BoolArray
    strokes: NDArray[np.int8] | None = None


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
            self._image = (case.image, _read_image(case))
        volume = self._image[1]
        key = (case.image, case.label, case.resample)
        if self._labels is None or self._labels[0] != key:
            self._labels = (key, _read_labels(case, volume.geometry))
        labels = self._labels[1]
        smooth = labels.dtype == np.uint8 and int(labels.max()) == SMOOTH_MASK_MAX
        truth = np.isin(labels, case.values) if case.values else labels > (SMOOTH_MASK_MAX // 2 if smooth else 0)
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
            PromptError: the case's slice index lies outside, the object is not there, or the strokes do not fit.
        """
        task = self.load_volume(case)
        index = _slice_index(case, task.truth)
        truth = task.truth[(slice(None),) * case.plane.axis + (index,)]
        if not truth.any():
            raise PromptError(f"expected the object of case {case.name!r} in slice {index}; it is not there")
        pixels = task.volume.window.apply(task.volume.cut(case.plane, index))
        image = SliceImage(np.ascontiguousarray(pixels), task.volume.cut_spacing_mm(case.plane))
        truth = largest_component(truth) if case.largest else np.ascontiguousarray(truth)
        return SliceTask(case, image, truth, _read_strokes(case, image.shape))


def _read_strokes(case: Case, shape: tuple[int, int]) -> NDArray[np.int8] | None:
    """A person's strokes as signs, None where the case names none."""
    if case.strokes is None:
        return None
    drawn = cv2.imread(str(case.strokes), cv2.IMREAD_GRAYSCALE)
    if drawn is None:
        raise ReadError(f"expected a picture of strokes at {case.strokes} for case {case.name!r}; it cannot be read")
    if drawn.shape != shape or not (drawn == 1).any() or drawn.max() > STROKE_VALUES:
        raise PromptError(
            f"expected strokes of case {case.name!r} as a picture of {shape[0]} x {shape[1]} px with values 1 (object) "
            f"and 2 (around it), got {drawn.shape} with values up to {drawn.max()}"
        )
    return np.asarray((drawn == 1).astype(np.int8) - (drawn == STROKE_VALUES))


def _slice_index(case: Case, truth: BoolArray) -> int:
    """Return the case's slice, or the one with most of the object (the first of equals)."""
    count = truth.shape[case.plane.axis]
    if case.slice_index is None:
        areas = truth.sum(axis=tuple(axis for axis in range(3) if axis != case.plane.axis))
        return int(areas.argmax())
    if case.slice_index >= count:
        raise PromptError(f"expected a slice below {count} for case {case.name!r}, got {case.slice_index}")
    return case.slice_index


def _read_image(case: Case) -> Volume:
    """Read the image; a CT whose file does not say so gets the CT window all the same."""
    volume = read_volume(case.image)
    if case.modality == "CT" and volume.modality is None and volume.array.dtype != np.uint8:
        volume = replace(volume, window=choose_window(volume.array, modality="CT"))
    return volume


def _read_labels(case: Case, grid: Geometry) -> NDArray[Any]:
    """Return the label file's integers (z, y, x) on the image's grid."""
    labels = read_labelmap(case.label)
    if not grid.same_as(labels.geometry):
        if not case.resample:
            grid.require_same(labels.geometry, f"image and label of case {case.name!r}")
        return _resampled(labels, grid)
    return labels.array


def _resampled(labels: Labelmap, grid: Geometry) -> NDArray[Any]:
    """Return the labels on ``grid`` (nearest neighbour, 0 outside their own)."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(labels.array)
    image.SetSpacing(labels.geometry.spacing)
    image.SetOrigin(labels.geometry.origin)
    image.SetDirection(labels.geometry.direction)
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([int(n) for n in grid.shape[::-1]])
    resampler.SetOutputSpacing(grid.spacing)
    resampler.SetOutputOrigin(grid.origin)
    resampler.SetOutputDirection(grid.direction)
    resampler.SetInterpolator(sitk.sitkNearestNeighbor)
    return np.asarray(sitk.GetArrayFromImage(resampler.Execute(image)))


def _filled(outline: BoolArray) -> BoolArray:
    """Fill what a closed outline encloses."""
    padded = np.pad(outline, 1).astype(np.uint8)
    cv2.floodFill(padded, None, (0, 0), 2)
    return np.asarray(padded[1:-1, 1:-1] != 2)
