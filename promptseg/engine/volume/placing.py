"""Where to look: a view that holds what was said and what was found, with room around it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.volume.grid import Corner, ViewGrid
from promptseg.engine.volume.told import Click, PlacedBox, Told
from promptseg.volume.label_voxels import Changed, bounds

__all__ = ["MASK_ROOM", "Frame", "around", "around_box", "as_deep_as_wide", "closer", "grown", "with_clicks"]

Mask = NDArray[np.bool_]

BOX_ROOM, SPAN_ROOM, MASK_ROOM = 1.55, 1.2, 1.3
"""A view's size over that of a box in its plane (the object may be wider on other slices), of a range, of a mask. The
first two are those of the views that the network was first measured with."""

MOST_ANISOTROPY = 4.0  # longest side of a view over its shortest, in mm
LEAST_VOXELS = 8.0  # a side of a view
CLICK_MARGIN = 0.07  # of a side: so far from the border every click lies
GROWTH = 0.35  # of a side: what a view grows by where it cuts the object
CUT_CELLS = 6  # more of the mask than this in a view's outermost layer: it is cut there
CLOSER = 0.45  # of every side: where the object fills less of its view, another look is worth it


@dataclass(frozen=True)
class Frame:
    """The volume that views are placed in, and the views' cells.

    Attributes:
        shape: (z, y, x) voxels.
        spacing_mm: (z, y, x).
        cells: of a view.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    cells: tuple[int, int, int]


def around(low: Corner, high: Corner, room: Corner, frame: Frame) -> ViewGrid:
    """Return a view around the half-open voxel box, ``room`` times its size, no side much shorter than the longest."""
    spacing = np.asarray(frame.spacing_mm)
    a, b = np.asarray(low, float), np.asarray(high, float)
    sides_mm = (b - a) * spacing * np.asarray(room)
    sides_mm = np.maximum(sides_mm, sides_mm.max() / MOST_ANISOTROPY)
    half = np.maximum(sides_mm / spacing, LEAST_VOXELS) / 2
    return ViewGrid.between((a + b) / 2 - half, (a + b) / 2 + half, frame.cells)


def around_box(box: PlacedBox, span: tuple[int, int, int] | None, frame: Frame) -> ViewGrid:
    """Return the view for a box. Without a range the object is taken to be as deep as the box is wide."""
    axis = box.plane.axis
    across = [a for a in range(3) if a != axis]
    low, high, room = np.zeros(3), np.zeros(3), np.full(3, BOX_ROOM)
    low[across], high[across] = box.box[:2], box.box[2:]
    if span is not None and span[0] == axis:
        low[axis], high[axis], room[axis] = span[1], span[2], SPAN_ROOM
    else:
        spacing = np.asarray(frame.spacing_mm)
        half = float(((high - low) * spacing)[across].max()) / spacing[axis] / 2
        low[axis], high[axis] = box.index + 0.5 - half, box.index + 0.5 + half
    return around(low, high, room, frame)


def as_deep_as_wide(box: Changed, frame: Frame) -> Changed:
    """Return a half-open voxel box, deepened in both directions where it is flat: no side shorter than the second
    longest, in mm.
    """
    low, high = (np.asarray(corner, float) for corner in box)
    spacing = np.asarray(frame.spacing_mm)
    least = np.sort((high - low) * spacing)[1] / spacing
    more = np.ceil(np.maximum(least - (high - low), 0) / 2).astype(int)
    (z0, y0, x0), (z1, y1, x1) = (low - more).astype(int).tolist(), (high + more).astype(int).tolist()
    return ((z0, y0, x0), (z1, y1, x1))


def with_clicks(grid: ViewGrid, clicks: Sequence[Click]) -> ViewGrid:
    """Return the view, widened until every click lies well inside it."""
    low, high = np.asarray(grid.low), np.asarray(grid.high)
    for click in clicks:
        at, margin = np.asarray(click.voxel) + 0.5, (high - low) * CLICK_MARGIN
        low, high = np.minimum(low, at - margin), np.maximum(high, at + margin)
    return grid if (low == grid.low).all() and (high == grid.high).all() else ViewGrid.between(low, high, grid.shape)


def grown(grid: ViewGrid, mask: Mask, told: Told, frame: Frame) -> ViewGrid | None:
    """Return the view, larger on the sides where it cuts the object; None where it cuts it nowhere.

    It grows beyond neither the volume nor the range that a person gave.
    """
    low, high = np.array(grid.low), np.array(grid.high)
    sides, cut = high - low, False
    for axis in range(3):
        bound = told.span[1:] if told.span is not None and told.span[0] == axis else (0, frame.shape[axis])
        layers = np.moveaxis(mask, axis, 0)
        if low[axis] > bound[0] and np.count_nonzero(layers[0]) > CUT_CELLS:
            low[axis], cut = max(low[axis] - GROWTH * sides[axis], bound[0] - grid.step[axis]), True
        if high[axis] < bound[1] and np.count_nonzero(layers[-1]) > CUT_CELLS:
            high[axis], cut = min(high[axis] + GROWTH * sides[axis], bound[1] + grid.step[axis]), True
    return ViewGrid.between(low, high, grid.shape) if cut else None


def closer(grid: ViewGrid, mask: Mask, told: Told, frame: Frame) -> ViewGrid | None:
    """Return a closer view of the object (cells), where it fills little of this one; else None."""
    found = bounds(mask)
    if found is None:
        return None
    low, high = (np.asarray(corner) * grid.step + grid.low for corner in found)
    if ((high - low) > CLOSER * (np.asarray(grid.high) - np.asarray(grid.low))).any():
        return None
    return with_clicks(around(low, high, (BOX_ROOM,) * 3, frame), told.clicks)
