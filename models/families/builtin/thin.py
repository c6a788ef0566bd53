"""Thin things looked at closely: vessels, nerves and nets are followed tile by tile at the resolution they need.

A whole tree of vessels in 160 px has branches of less than a pixel. Where an answer is long and thin, the network goes
along it in tiles in which a branch is a few pixels wide, each with the answer so far as its previous mask, and on into
the neighbouring tiles that the answer reaches.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.models.families.builtin.views import Square, paste

__all__ = ["Look", "follow", "is_thin", "stands_out", "tile_side", "usual_width"]

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Cell = tuple[int, int]
Look = Callable[[FloatArray, list[Square]], tuple[list[FloatArray], list[float]]]
"""(probability so far (h, w), squares) -> logits of every square's grid, and scores."""

WIDTH_PX = 5.0
"""What a branch shall measure in a tile, in the network's pixels."""

THIN_PX, LONG = 9.0, 14.0
"""A thin thing is narrower than this in the network's pixels and has the area of so many squares of its width."""

LARGEST_SHARE = 0.45
"""Of a view that thin things fill."""

SMALLEST_TILE_PX = 96.0
"""Edge of a tile in pixels of the slice; below native resolution there is nothing more to see."""

CORE = 0.75
"""Inner part of a tile whose answer counts; the rest is context and shows where to go on."""

MOST_TILES, AT_ONCE = 64, 8
"""Tiles of one answer, and of one batch."""

NOTHING = -12.0


def usual_width(mask: BoolArray) -> float:
    """The usual width in pixels of a mask's branches: about four times the mean distance to the border in a strip."""
    if not mask.any():
        return 0.0
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    return 4.0 * max(0.25, float(depth[mask].mean()) - 0.5)


def is_thin(mask: BoolArray, px: float = 1.0) -> bool:
    """Whether a mask is long and thin; ``px`` is the size of its pixels in those of the network."""
    area, width = int(mask.sum()), usual_width(mask)
    return 0 < width * px < THIN_PX and area > LONG * width**2 and area < LARGEST_SHARE * mask.size


def stands_out(image: FloatArray, mask: BoolArray) -> float:
    """Difference of the mean intensities inside and just outside a mask, in standard deviations."""
    size = 2 * max(1, round(min(6.0, 0.5 * usual_width(mask)))) + 1
    around = cv2.dilate(mask.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
    outside = around & ~mask
    if not mask.any() or not outside.any():
        return 0.0
    a, b = image[mask], image[outside]
    return float(abs(a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / 2 + 1e-8))


def tile_side(width: float, network_px: int) -> float:
    """Edge in pixels of the slice of tiles in which branches of this width are well seen."""
    return max(SMALLEST_TILE_PX, network_px * width / WIDTH_PX)


def follow(look: Look, logits: FloatArray, seeds: BoolArray, side: float) -> tuple[FloatArray, float]:
    """Go over an answer tile by tile, and on to where it leads.

    Args:
        look: asks the network.
        logits: float32 (h, w), the answer so far.
        seeds: bool (h, w), where to begin.
        side: edge of a tile in pixels.

    Returns:
        logits (h, w), and the mean score of the tiles weighted by what they found.
    """
    step = side * CORE
    shape = (logits.shape[0], logits.shape[1])
    out, done = logits.copy(), set[Cell]()
    found, score = 1e-6, 0.0
    waiting = _cells(seeds, step)
    while waiting and len(done) < MOST_TILES:
        cells = sorted(waiting)[:AT_ONCE]
        squares = [Square((y + 0.5) * step - 0.5, (x + 0.5) * step - 0.5, side) for y, x in cells]
        answers, scores = look(_sigmoid(out), squares)
        done.update(cells)
        waiting.difference_update(cells)
        for cell, square, answer, worth in zip(cells, squares, answers, scores, strict=True):
            rows, columns = _seen(square, shape)
            local = Square(square.y - rows.start, square.x - columns.start, side)
            there = paste(answer, local, (rows.stop - rows.start, columns.stop - columns.start), NOTHING)
            area = float((there > 0).sum())
            found, score = found + area, score + worth * area
            waiting |= _cells(there > 0, step, (rows.start, columns.start)) - done
            for other in {*_touched(rows, columns, step)} - done | {cell}:
                part = _part(other, step, rows, columns)
                new = there[part[0].start - rows.start : part[0].stop - rows.start][
                    :, part[1].start - columns.start : part[1].stop - columns.start
                ]
                out[part] = new if other == cell else np.maximum(out[part], new)
    return out, score / found


def _sigmoid(logits: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float32)


def _seen(square: Square, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the picture that a square looks at."""
    low = [max(0, math.floor(at - square.side / 2 + 0.5)) for at in (square.y, square.x)]
    high = [
        min(size, math.ceil(at + square.side / 2 + 0.5)) for at, size in zip((square.y, square.x), shape, strict=True)
    ]
    return slice(low[0], max(low[0], high[0])), slice(low[1], max(low[1], high[1]))


def _part(cell: Cell, step: float, rows: slice, columns: slice) -> tuple[slice, slice]:
    """The pixels of a cell within some rows and columns."""
    first, second = (
        slice(
            min(max(round(index * step), span.start), span.stop),
            max(min(round((index + 1) * step), span.stop), span.start),
        )
        for index, span in zip(cell, (rows, columns), strict=True)
    )
    return first, second


def _cells(mask: BoolArray, step: float, origin: tuple[int, int] = (0, 0)) -> set[Cell]:
    """Cells with more than a few pixels of a mask whose first pixel is at ``origin``."""
    rows, columns = np.nonzero(mask)
    places = np.stack([((rows + origin[0]) / step).astype(int), ((columns + origin[1]) / step).astype(int)], 1)
    cells, counts = np.unique(places, axis=0, return_counts=True)
    return {(int(y), int(x)) for (y, x), count in zip(cells, counts, strict=True) if count >= min(4, len(rows))}


def _touched(rows: slice, columns: slice, step: float) -> list[Cell]:
    """Cells that some rows and columns reach into."""
    ranges = [range(int(span.start / step), int(max(span.start, span.stop - 1) / step) + 1) for span in (rows, columns)]
    return [(y, x) for y in ranges[0] for x in ranges[1]]
