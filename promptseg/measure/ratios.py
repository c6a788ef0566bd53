"""Measures that compare two masks or two volumes: burden, cup to disc, ejection fraction, change."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import GeometryMismatchError, PromptError
from promptseg.measure.quantity import Quantity
from promptseg.volume.geometry import Geometry

__all__ = ["change", "cup_to_disc", "ejection_fraction", "lesion_fraction"]

BoolArray = NDArray[np.bool_]


def lesion_fraction(lesion: BoolArray, organ: BoolArray) -> Quantity:
    """Return the share of an organ that a lesion takes, in percent of the organ's voxels.

    The organ counts with the lesion in it, whether or not its mask leaves the lesion out: voxels of both, divided by
    voxels of either inside the organ's own region. A lesion of which nothing touches the organ's mask is refused.

    Args:
        lesion, organ: bool (z, y, x) on one grid. Where the masks are disjoint by construction (labels of one
            labelmap) the organ's region is the union of both.

    Raises:
        GeometryMismatchError: two shapes.
        PromptError: an empty organ, or a lesion that lies elsewhere.
    """
    _require_pair(lesion, organ)
    if not organ.any():
        raise PromptError("expected an organ with at least one voxel, got an empty mask")
    disjoint = not (lesion & organ).any()
    if disjoint and lesion.any() and not _touch(lesion, organ):
        raise PromptError("the lesion neither overlaps nor touches the organ, so no share of it can be given")
    inside = lesion if disjoint else lesion & organ
    whole = organ | lesion if disjoint else organ
    percent = 100.0 * int(np.count_nonzero(inside)) / int(np.count_nonzero(whole))
    return Quantity("lesion_fraction", percent, "%", "lesion voxels inside the organ / organ voxels, lesion included")


def cup_to_disc(cup: BoolArray, disc: BoolArray, geometry: Geometry) -> tuple[Quantity, ...]:
    """Return the cup-to-disc ratios of a fundus photograph.

    The vertical ratio compares heights (along the picture's rows), the one that glaucoma grading uses (Foster et al.,
    Br J Ophthalmol 2002;86:238-242). The disc's region includes the cup, whether or not its mask does.

    Args:
        cup, disc: bool (z, y, x) with one slice.
        geometry: their frame.

    Raises:
        GeometryMismatchError: two shapes, or several slices.
        PromptError: an empty cup or disc.
    """
    _require_pair(cup, disc)
    if cup.shape != geometry.shape or cup.shape[0] != 1:
        raise GeometryMismatchError(f"expected masks of one slice and shape {geometry.shape}, got {cup.shape}")
    if not cup.any() or not disc.any():
        raise PromptError("expected a cup and a disc with at least one pixel each, got an empty mask")
    whole = disc | cup
    ratios = []
    for name, axis in (("vertical", 1), ("horizontal", 2)):
        inner, outer = _extent(cup, axis), _extent(whole, axis)
        text = f"{name} extent of the cup / of the disc"
        source = " (Foster et al., Br J Ophthalmol 2002;86:238-242)" if name == "vertical" else ""
        ratios.append(Quantity(f"cup_to_disc_{name}", inner / outer, "", text + source))
    area = int(np.count_nonzero(cup)) / int(np.count_nonzero(whole))
    return (*ratios, Quantity("cup_to_disc_area", area, "", "area of the cup / of the disc, cup included"))


def ejection_fraction(end_diastolic_ml: float, end_systolic_ml: float) -> Quantity:
    """Return (EDV - ESV) / EDV in percent (Lang et al., J Am Soc Echocardiogr 2015;28:1-39).

    Raises:
        PromptError: volumes that are not finite, not positive, or an end-systolic one that is the larger.
    """
    if not (math.isfinite(end_diastolic_ml) and math.isfinite(end_systolic_ml)):
        raise PromptError(f"expected finite volumes, got {end_diastolic_ml} and {end_systolic_ml} ml")
    if not 0 <= end_systolic_ml <= end_diastolic_ml or end_diastolic_ml == 0:
        raise PromptError(
            f"expected an end-diastolic volume above 0 that is the larger one, got {end_diastolic_ml:g} ml "
            f"(end-diastolic) and {end_systolic_ml:g} ml (end-systolic); are the phases swapped?"
        )
    percent = 100.0 * (end_diastolic_ml - end_systolic_ml) / end_diastolic_ml
    return Quantity("ejection_fraction", percent, "%", "(EDV - ESV) / EDV (J Am Soc Echocardiogr 2015;28:1-39)")


def change(before: float, after: float, unit: str) -> tuple[Quantity, Quantity]:
    """Return the absolute change and the change in percent of the earlier value.

    Args:
        before, after: the same measure at two time points, e.g. a volume.
        unit: of both.

    Raises:
        PromptError: not finite, or nothing to compare with (``before`` not above 0).
    """
    if not (math.isfinite(before) and math.isfinite(after)) or before <= 0:
        raise PromptError(f"expected an earlier value above 0 and a finite later one, got {before} and {after} {unit}")
    return (
        Quantity("change", after - before, unit, "later - earlier"),
        Quantity("change_percent", 100.0 * (after - before) / before, "%", "(later - earlier) / earlier"),
    )


def _require_pair(first: BoolArray, second: BoolArray) -> None:
    if first.shape != second.shape or first.dtype != np.bool_ or second.dtype != np.bool_:
        raise GeometryMismatchError(
            f"expected two bool masks of one shape, got {first.dtype} {first.shape} and {second.dtype} {second.shape}"
        )


def _touch(first: BoolArray, second: BoolArray) -> bool:
    """Return True when a voxel of one mask has a face neighbour in the other."""
    for axis in range(first.ndim):
        low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(first.ndim))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(first.ndim))
        if (first[low] & second[high]).any() or (first[high] & second[low]).any():
            return True
    return False


def _extent(mask: BoolArray, axis: int) -> int:
    hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
    return int(hit[-1] - hit[0] + 1)
