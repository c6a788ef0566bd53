"""A negative click in the very middle of a mask: the whole is something else, not just what lies around the click.

Who corrects a border clicks in the middle of what is too much, which lies beside the middle of the mask. So a click
where the mask is nowhere deeper, in all three directions, says that the mask is of another thing (docs/adr/0032).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cc3d
import cv2
import edt
import numpy as np
from numpy.typing import NDArray

from promptseg.engine.carry import grown
from promptseg.engine.expect import Tissue

__all__ = ["beside", "is_rejected", "other_than"]

Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
Box = tuple[float, float, float, float]
MIDDLE = 0.97  # of the greatest depth of the mask's connected part: there the whole is meant
ALONE = 0.9  # of the slice's mask, that the connected part has: where there are others, the part alone is meant
MIDDLE_OF_SLICE = 0.9  # of the greatest depth within the slice
MIDDLE_SEEN = 0.8  # of the greatest depth within the slice, which is what a person sees
BOX_SLACK_MM = 5.0  # how far the object may leave the box of another slice
LEAST_SPOT_MM = 6.0  # around the click, what the other thing looks like; at most to its border
SPOT_SHARE = 0.7  # of the click's depth
MOST_VOXELS = (
    4_000_000  # larger masks are looked at on a coarser grid: more would take longer than a wish to cancel may
)


def is_rejected(
    mask_of: Callable[[int], Mask], index: int, at: tuple[int, int], within: range, spacing_mm: Sequence[float]
) -> bool:
    """Whether a negative click says that the whole mask there is something else.

    Args:
        mask_of: slice index to mask (h, w).
        index: the click's slice.
        at: its (row, column).
        within: slices that are looked at.
        spacing_mm: (between slices, row, column).
    """
    mask = mask_of(index)
    if not mask[at]:
        return False
    if _own_share_of_depth(mask, at, spacing_mm[1:]) < MIDDLE_SEEN:
        return False
    first = last = index
    slab = [mask]
    while first > within.start and (below := mask_of(first - 1)).any():
        first, slab = first - 1, [below, *slab]
    while last < within.stop - 1 and (above := mask_of(last + 1)).any():
        last = last + 1
        slab.append(above)
    body = np.stack(slab)
    rows, columns = np.flatnonzero(body.any(axis=(0, 2))), np.flatnonzero(body.any(axis=(0, 1)))
    body = body[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    place = (index - first, at[0] - int(rows[0]), at[1] - int(columns[0]))
    step = math.ceil((body.size / MOST_VOXELS) ** (1 / 3))
    body = np.ascontiguousarray(body[tuple(slice(p % step, None, step) for p in place)])  # the click stays on the grid
    place = (place[0] // step, place[1] // step, place[2] // step)
    parts = cc3d.connected_components(body, connectivity=26)
    part = np.ascontiguousarray(parts == parts[place])
    if np.count_nonzero(part[place[0]]) < ALONE * np.count_nonzero(body[place[0]]):
        return False
    return _share_of_depth(part, place, [step * s for s in spacing_mm]) >= MIDDLE


def _share_of_depth(mask: Mask, at: tuple[int, ...], spacing_mm: Sequence[float]) -> float:
    """How deep a place is in a mask, relative to the deepest."""
    depth = edt.edt(mask, anisotropy=tuple(spacing_mm), black_border=True)
    return float(depth[at] / depth.max())


def _own_share_of_depth(mask: Mask, at: tuple[int, int], spacing_mm: Sequence[float]) -> float:
    """The same in the connected part of a slice's mask (h, w)."""
    parts = cc3d.connected_components(mask, connectivity=8)
    return _share_of_depth(np.ascontiguousarray(parts == parts[at]), at, spacing_mm)


def beside(mask: Mask, points: FloatArray, spacing_mm: tuple[float, float]) -> Mask:
    """Return what a slice's mask (h, w) keeps when only the surroundings of negative clicks on it are wrong.

    A click is in the middle of what is too much, so that reaches as far as the mask's border is away. Nothing is kept
    for a click in the middle of the slice's mask.

    Args:
        mask: (h, w).
        points: (n, 2) (row, column) of the clicks.
        spacing_mm: (row, column).
    """
    kept = mask.copy()
    depth = edt.edt(mask, anisotropy=spacing_mm, black_border=True)
    for y, x in np.rint(points).astype(int):
        if not mask[y, x]:
            continue
        if _own_share_of_depth(mask, (int(y), int(x)), spacing_mm) >= MIDDLE_OF_SLICE:
            return np.zeros_like(mask)
        spot = np.zeros_like(mask)
        spot[y, x] = True
        kept &= ~grown(spot, float(depth[y, x]), spacing_mm)
    return kept


def other_than(
    pixels: FloatArray, rejected: Mask, at: tuple[int, int], box: Box, spacing_mm: tuple[float, float]
) -> Mask:
    """Return a first guess (h, w) of the object in a box in which something else was found.

    What in and around the box looks more like the rest of it than like the place clicked.

    Args:
        pixels: the slice (h, w), windowed to 0 ... 1.
        rejected: the mask (h, w) of the other thing.
        at: (row, column) of the negative click.
        box: half-open (y0, x0, y1, x1) in pixels, where a person has put the object, maybe on another slice.
        spacing_mm: (row, column).
    """
    slack = [BOX_SLACK_MM / s for s in spacing_mm]
    y0, x0, y1, x1 = box[0] - slack[0], box[1] - slack[1], box[2] + slack[0], box[3] + slack[1]
    inside = np.zeros_like(rejected)
    inside[max(0, int(y0)) : max(0, int(y1)), max(0, int(x0)) : max(0, int(x1))] = True
    rest = inside & ~rejected
    clicked = np.zeros_like(rejected)
    clicked[at] = True
    depth_mm = float(edt.edt(rejected, anisotropy=spacing_mm, black_border=True)[at])
    spot = grown(clicked, max(LEAST_SPOT_MM, SPOT_SHARE * depth_mm), spacing_mm)
    if not rest.any():
        return rest
    likely = Tissue(pixels[rest], pixels[spot]).logits(pixels) > 0
    return np.asarray(cv2.medianBlur((inside & likely & ~spot).view(np.uint8), 3) > 0)
