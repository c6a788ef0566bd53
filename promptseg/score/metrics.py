"""How well one mask agrees with another: overlap, surface distances, volume.

Every function takes two bool arrays of one shape, 2D (row, column) or 3D (z, y, x); those that measure millimetres
also take ``spacing_mm`` in the *array's* axis order (``Geometry.spacing_zyx``).

Surface metrics follow DeepMind's ``surface-distance`` (Nikolov et al., "Deep learning to achieve clinically
applicable segmentation of head and neck anatomy", arXiv:1809.04430): surface elements lie between the voxels, at the
corners of the grid, and each is weighted by its length or area in mm or mm². The published package is not called: its
last release (0.1) uses names that NumPy 2 has removed. ``tests/score/test_metrics.py`` holds the two equal.

Empty masks: where both are empty there is nothing to disagree about (overlap 1, distance 0); where one is empty the
overlap is 0 and every distance is infinite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import GeometryMismatchError

__all__ = ["SurfaceDistances", "assd", "dice", "hd95", "iou", "nsd", "surface_distances", "volume_error"]

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

TIE = 1e-5  # relative; a distance equal to the tolerance counts as within it, float32 rounding or not

# Marching cubes in short. A corner of the grid has 2x2x2 voxels around it; which of them are inside gives a code of
# 8 bits (and inside <-> outside gives the same surface, so 128 codes suffice). Its surface is a handful of triangles
# whose area vectors, up to sign, are multiples of nine vectors. Source: surface_distance/lookup_tables.py (Apache-2.0).
_AREA_VECTORS = (
    np.array([(0, 0, 4), (0, 2, 2), (0, 4, 0), (1, 1, 1), (2, 0, 2), (2, 2, 0), (2, 2, 2), (3, 3, 3), (4, 0, 0)]) / 8.0
)
_COUNTS = (  # how often each of the nine occurs: nine digits for each class of codes a, b, c, ...
    "000000000000000002000002000000004000000020000000040000000100000000100101000102000"
    "000111010000120000000200000000200101000200200000300000000400000001100100001200100"
    "002000000010101010010110010020000000020100000040000000100100100100200100200000000"
)
_CLASS_OF_CODE = (
    "aggcgelhglehchhbgvlqlyonlwkuitmhglvqlkwuloynimthcqqsijrqirjqdiic"
    "gllivywtlokmqnuheykjyAzykzfkjykelowrwzxwopzorowlhnuqtywvmoklillg"
)
_CLASS_NAMES = "abcdefghijklmnopqrstuvwxyzA"


def _check(truth: BoolArray, prediction: BoolArray) -> None:
    if truth.shape != prediction.shape or truth.dtype != np.bool_ or prediction.dtype != np.bool_:
        raise GeometryMismatchError(
            f"expected two bool masks of one shape, got {truth.dtype} {truth.shape} and "
            f"{prediction.dtype} {prediction.shape}"
        )


def dice(truth: BoolArray, prediction: BoolArray) -> float:
    """Return 2 |A and B| / (|A| + |B|), in [0, 1]; 1 when both are empty.

    Raises:
        GeometryMismatchError: not two bool masks of one shape.
    """
    _check(truth, prediction)
    total = int(np.count_nonzero(truth)) + int(np.count_nonzero(prediction))
    return 2.0 * int(np.count_nonzero(truth & prediction)) / total if total else 1.0


def iou(truth: BoolArray, prediction: BoolArray) -> float:
    """Return |A and B| / |A or B| (Jaccard), in [0, 1]; 1 when both are empty.

    Raises:
        GeometryMismatchError: not two bool masks of one shape.
    """
    _check(truth, prediction)
    union = int(np.count_nonzero(truth | prediction))
    return int(np.count_nonzero(truth & prediction)) / union if union else 1.0


def volume_error(truth: BoolArray, prediction: BoolArray) -> float:
    """Return (|prediction| - |truth|) / |truth|, signed; 0 when both are empty, inf when the truth alone is.

    Raises:
        GeometryMismatchError: not two bool masks of one shape.
    """
    _check(truth, prediction)
    wanted, got = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    if wanted == 0:
        return 0.0 if got == 0 else float("inf")
    return (got - wanted) / wanted


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Both surfaces as elements with a size and a distance to the other surface, in no particular order.

    Attributes:
        truth_mm: (n,) distance of each element of the true surface to the predicted one; inf where that is empty.
        truth_size: (n,) its length in mm (2D) or area in mm² (3D).
        prediction_mm: (m,) the same for the predicted surface.
        prediction_size: (m,).
    """

    truth_mm: FloatArray
    truth_size: FloatArray
    prediction_mm: FloatArray
    prediction_size: FloatArray

    def nsd(self, tolerance_mm: float) -> float:
        """Return the share of both surfaces that lies within ``tolerance_mm`` of the other, in [0, 1]."""
        total = float(self.truth_size.sum() + self.prediction_size.sum())
        if total == 0:
            return 1.0
        limit = tolerance_mm * (1 + TIE)
        near = self.truth_size[self.truth_mm <= limit].sum() + self.prediction_size[self.prediction_mm <= limit].sum()
        return float(near) / total

    def percentile(self, percent: float) -> float:
        """Return the larger of both surfaces' distance percentiles (100: the Hausdorff distance), in mm."""
        if self.truth_mm.size == 0 and self.prediction_mm.size == 0:
            return 0.0
        if self.truth_mm.size == 0 or self.prediction_mm.size == 0:
            return float("inf")
        return max(
            _weighted_percentile(self.truth_mm, self.truth_size, percent),
            _weighted_percentile(self.prediction_mm, self.prediction_size, percent),
        )

    def mean(self) -> float:
        """Return the mean distance over both surfaces' elements, weighted by their size, in mm."""
        if self.truth_mm.size == 0 and self.prediction_mm.size == 0:
            return 0.0
        if self.truth_mm.size == 0 or self.prediction_mm.size == 0:
            return float("inf")
        total = (self.truth_mm * self.truth_size).sum() + (self.prediction_mm * self.prediction_size).sum()
        return float(total / (self.truth_size.sum() + self.prediction_size.sum()))


def _weighted_percentile(distances: FloatArray, sizes: FloatArray, percent: float) -> float:
    order = np.lexsort((sizes, distances))
    share = np.cumsum(sizes[order]) / np.sum(sizes)
    index = int(np.searchsorted(share, percent / 100.0))
    return float(distances[order][min(index, len(order) - 1)])


def _sizes_of_codes(spacing_mm: Sequence[float]) -> FloatArray:
    """Return (16,) lengths in mm, or (256,) areas in mm², of the surface inside each neighbourhood."""
    if len(spacing_mm) == 2:
        rows, columns = spacing_mm
        diagonal = 0.5 * float(np.hypot(rows, columns))
        half = np.array([0, diagonal, diagonal, columns, diagonal, rows, 2 * diagonal, diagonal])
        return np.concatenate([half, half[::-1]])
    a, b, c = spacing_mm
    areas = np.linalg.norm(_AREA_VECTORS * (b * c, a * c, a * b), axis=1)
    counts = np.array([int(digit) for digit in _COUNTS], float).reshape(len(_CLASS_NAMES), len(areas))
    half = (counts @ areas)[[_CLASS_NAMES.index(name) for name in _CLASS_OF_CODE]]
    return np.concatenate([half, half[::-1]])


def _codes(mask: BoolArray) -> NDArray[np.uint8]:
    """Return the neighbourhood code at every corner of the grid: each axis is one longer than the mask's."""
    padded = np.pad(mask, 1).astype(np.uint8)
    codes = np.zeros([n + 1 for n in mask.shape], np.uint8)
    bit = 1 << mask.ndim
    for corner in np.ndindex(*(2,) * mask.ndim):
        bit_value = np.uint8(1 << (bit - 1 - int(np.ravel_multi_index(corner, (2,) * mask.ndim))))
        codes += bit_value * padded[tuple(slice(o, o + n + 1) for o, n in zip(corner, mask.shape, strict=True))]
    return codes


def _distance_to(border: BoolArray, spacing_mm: Sequence[float]) -> FloatArray:
    if not border.any():
        return np.full(border.shape, np.inf)
    import edt

    return np.asarray(edt.edt(~border, anisotropy=tuple(spacing_mm), black_border=False), dtype=np.float64)


def _bounds(mask: BoolArray) -> tuple[slice, ...] | None:
    bounds = []
    for axis in range(mask.ndim):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if hit.size == 0:
            return None
        bounds.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(bounds)


def surface_distances(truth: BoolArray, prediction: BoolArray, spacing_mm: Sequence[float]) -> SurfaceDistances:
    """Measure both surfaces against each other once; ``nsd``, ``percentile`` and ``mean`` are then cheap.

    Args:
        truth: bool, 2D (row, column) or 3D (z, y, x).
        prediction: bool, the same shape.
        spacing_mm: distance between voxel centres in mm, in the array's axis order.

    Raises:
        GeometryMismatchError: shapes, types or the number of spacings disagree.
    """
    _check(truth, prediction)
    if len(spacing_mm) != truth.ndim or truth.ndim not in (2, 3):
        raise GeometryMismatchError(
            f"expected 2D or 3D masks with one spacing per axis, got shape {truth.shape} and "
            f"spacing {tuple(spacing_mm)}"
        )
    bounds = _bounds(truth | prediction)
    if bounds is None:
        nothing = np.zeros(0)
        return SurfaceDistances(nothing, nothing, nothing, nothing)
    sizes = _sizes_of_codes(spacing_mm)
    codes = [_codes(mask[bounds]) for mask in (truth, prediction)]
    borders = [(code != 0) & (code != len(sizes) - 1) for code in codes]
    to_truth, to_prediction = (_distance_to(border, spacing_mm) for border in borders)
    return SurfaceDistances(
        to_prediction[borders[0]], sizes[codes[0][borders[0]]], to_truth[borders[1]], sizes[codes[1][borders[1]]]
    )


def nsd(truth: BoolArray, prediction: BoolArray, spacing_mm: Sequence[float], tolerance_mm: float) -> float:
    """Return the normalised surface Dice at ``tolerance_mm``, in [0, 1]; see ``surface_distances``."""
    return surface_distances(truth, prediction, spacing_mm).nsd(tolerance_mm)


def hd95(truth: BoolArray, prediction: BoolArray, spacing_mm: Sequence[float]) -> float:
    """Return the 95th percentile Hausdorff distance in mm; see ``surface_distances``."""
    return surface_distances(truth, prediction, spacing_mm).percentile(95.0)


def assd(truth: BoolArray, prediction: BoolArray, spacing_mm: Sequence[float]) -> float:
    """Return the average symmetric surface distance in mm; see ``surface_distances``."""
    return surface_distances(truth, prediction, spacing_mm).mean()
