"""Clicks and boxes as a careful person would give them, computed from the truth. Pure and deterministic.

The first click lies at the point of the object that is deepest inside it. Each later one lies at the deepest point of
the largest error: the largest connected piece (8-connected in 2D, 26-connected in 3D) of voxels that are missed
(positive click) or spilled (negative click). "Deepest" is the largest distance to the piece's border in mm, the
image's own edge being a border too; among equals, the one nearest to their common centre. This is the protocol of the
CVPR 2025 challenge on interactive 3D segmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import edt
import numpy as np
from numpy.typing import NDArray

from promptseg.errors import PromptError

__all__ = ["Click", "deepest_point", "error_click", "first_click", "key_slice", "largest_component", "tight_box"]

BoolArray = NDArray[np.bool_]
SAME_DEPTH = 1e-4  # relative; depths this close are equal

MIDDLE_SHARE = 1 / 3  # of the object's z range, around its middle, in which the key slice is sought


@dataclass(frozen=True)
class Click:
    """One simulated click: array index of a voxel ((y, x) or (z, y, x)) and its sign."""

    index: tuple[int, ...]
    positive: bool


def deepest_point(mask: BoolArray, spacing_mm: Sequence[float]) -> tuple[int, ...]:
    """Return the index of the voxel of ``mask`` that is farthest from the mask's border.

    Args:
        mask: bool, 2D or 3D.
        spacing_mm: distance between voxel centres in the array's axis order.

    Raises:
        PromptError: the mask is empty.
    """
    if not mask.any():
        raise PromptError("expected a mask with at least one voxel to click on; it is empty")
    corner, cropped = _crop(mask)
    depth = edt.edt(np.ascontiguousarray(cropped), anisotropy=tuple(map(float, spacing_mm)), black_border=True)
    deepest = np.argwhere(depth >= depth.max() * (1 - SAME_DEPTH))
    offset = (deepest - deepest.mean(axis=0)) * np.asarray(spacing_mm)
    best = deepest[int(np.argmin((offset**2).sum(axis=1)))]
    return tuple(int(a + b) for a, b in zip(best, corner, strict=True))


def largest_component(mask: BoolArray) -> BoolArray:
    """Return the largest 8-connected (2D) or 26-connected (3D) piece of ``mask``; the first in scan order of equals."""
    labels, count = cc3d.connected_components(
        mask.astype(np.uint8), connectivity=8 if mask.ndim == 2 else 26, return_N=True
    )
    if count == 0:
        return np.zeros_like(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(sizes.argmax()))


def first_click(truth: BoolArray, spacing_mm: Sequence[float]) -> Click:
    """Return the positive click that opens a session: the deepest point of the object.

    Raises:
        PromptError: the object is empty.
    """
    return Click(deepest_point(truth, spacing_mm), positive=True)


def error_click(truth: BoolArray, prediction: BoolArray, spacing_mm: Sequence[float]) -> Click | None:
    """Return the click that corrects the largest error, or None where there is none.

    Missed and spilled voxels are never joined into one piece: a click has one sign.
    """
    missed, spilled = truth & ~prediction, prediction & ~truth
    wrong = missed | spilled
    if not wrong.any():
        return None
    low, high = tight_box(wrong)
    inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    pieces = {True: largest_component(missed[inside]), False: largest_component(spilled[inside])}
    positive = np.count_nonzero(pieces[True]) >= np.count_nonzero(pieces[False])
    index = deepest_point(pieces[bool(positive)], spacing_mm)
    return Click(tuple(a + b for a, b in zip(index, low, strict=True)), bool(positive))


def tight_box(mask: BoolArray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the smallest half-open box ``(low, high)`` around the mask, in array index order.

    Raises:
        PromptError: the mask is empty.
    """
    if not mask.any():
        raise PromptError("expected a mask with at least one voxel to put a box around; it is empty")
    corner, cropped = _crop(mask)
    return corner, tuple(low + n for low, n in zip(corner, cropped.shape, strict=True))


def key_slice(mask: BoolArray) -> int:
    """Return the slice along axis 0 that a person would put the first box on.

    It is the slice with most of the object among those in the middle third of the object's range (the middle slice
    alone where that is one slice); among equals the one nearest to the middle, then the lower.

    Args:
        mask: bool (z, y, x).

    Raises:
        PromptError: the mask is empty.
    """
    low, high = (corner[0] for corner in tight_box(mask))
    middle = (low + high - 1) / 2
    reach = max(0.5, (high - low) * MIDDLE_SHARE / 2)
    near = [z for z in range(low, high) if abs(z - middle) <= reach]
    areas = {z: int(np.count_nonzero(mask[z])) for z in near}
    if max(areas.values()) == 0:  # nothing in the middle: two pieces far apart
        areas = {z: int(np.count_nonzero(mask[z])) for z in range(low, high)}
    return min(areas, key=lambda z: (-areas[z], abs(z - middle), z))


def _crop(mask: BoolArray) -> tuple[tuple[int, ...], BoolArray]:
    """Cut out the part of a non-empty mask that holds something; the corner says where it was."""
    low, shape = [], []
    for axis in range(mask.ndim):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        low.append(int(hit[0]))
        shape.append(int(hit[-1]) + 1 - int(hit[0]))
    return tuple(low), mask[tuple(slice(a, a + n) for a, n in zip(low, shape, strict=True))]
