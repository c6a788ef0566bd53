"""Scribbles as a person would draw them, computed from the truth of one slice. Deterministic for a given seed.

Positive: in every piece that makes up at least a tenth of the object, one stroke along its centre line. The stroke is
the longest way through the piece, drawn towards its middle, and cut back at both ends to where the piece is half as
deep as it usually is along the way: people don't paint up to the border. It never leaves the object.

Negative: strokes around the object at a distance, on half of the way round in two arcs whose place is drawn from the
seed. They never touch the object.

The brush is 1/200 of the image's longer side, at least 2 px.
"""

from __future__ import annotations

import heapq
import math
import zlib
from dataclasses import dataclass

import cc3d
import cv2
import edt
import numpy as np
from numpy.typing import NDArray

from promptseg.errors import PromptError

__all__ = ["brush_width_px", "scribble", "seed_of"]

BoolArray = NDArray[np.bool_]

BRUSH_SHARE = 1 / 200  # of the longer side
SMALLEST_BRUSH_PX = 2
PIECE_SHARE = 0.1  # smaller pieces get no stroke of their own
GRID = 96  # the way through a piece is sought on at most this many cells a side
CENTRING = 2.0  # exponent of depth: how strongly the way keeps to the middle
END_DEPTH = 0.5  # of the median depth along the way
RING_SHARE = 0.35  # the ring's distance, of the radius of a disc with the object's area
RING_LIMIT = 0.06  # ... and at most this share of the image's longer side
ARC_SHARE = 0.25  # of the way round, for each of two arcs


def seed_of(name: str) -> int:
    """Return a seed that depends on the case's name alone (CRC-32), the same on every machine."""
    return zlib.crc32(name.encode("utf-8"))


def brush_width_px(shape: tuple[int, int]) -> int:
    """Return the width of a stroke in px for an image of this shape (h, w)."""
    return max(SMALLEST_BRUSH_PX, round(max(shape) * BRUSH_SHARE))


def scribble(truth: BoolArray, seed: int = 0) -> NDArray[np.int8]:
    """Return int8 (h, w): +1 painted on the object, -1 painted around it, 0 untouched.

    Args:
        truth: bool (h, w), the object.
        seed: decides where the negative arcs lie.

    Raises:
        PromptError: the object is empty.
    """
    if truth.ndim != 2 or not truth.any():
        raise PromptError(f"expected a 2D mask with at least one pixel, got shape {truth.shape}, {truth.sum()} pixels")
    width = brush_width_px((truth.shape[0], truth.shape[1]))
    strokes = np.zeros(truth.shape, np.int8)
    strokes[_around(truth, width, np.random.default_rng(seed))] = -1
    strokes[_inside(truth, width)] = 1
    return strokes


def _inside(truth: BoolArray, width: int) -> BoolArray:
    pieces = cc3d.connected_components(truth.astype(np.uint8), connectivity=8)
    painted = np.zeros(truth.shape, np.uint8)
    for piece in range(1, int(pieces.max()) + 1):
        mask = pieces == piece
        if np.count_nonzero(mask) >= PIECE_SHARE * np.count_nonzero(truth):
            line = _centre_line(mask)[:, ::-1].reshape(-1, 1, 2).astype(np.int32)  # OpenCV takes (x, y)
            cv2.polylines(painted, [line], False, 1, thickness=width)
    if not (painted.astype(bool) & truth).any():  # every piece is small: the largest stands for all
        return np.asarray(pieces == int(np.bincount(pieces[truth]).argmax()))
    return painted.astype(bool) & truth


@dataclass(frozen=True, eq=False)
class _Cells:
    """A piece on a coarse grid: its deepest pixel and depth in every cell that holds a part of it."""

    place: dict[tuple[int, int], tuple[int, int]]
    depth: dict[tuple[int, int], float]


def _cells(mask: BoolArray) -> _Cells:
    depth = edt.edt(np.ascontiguousarray(mask), black_border=True)
    rows, columns = np.nonzero(mask)
    step = max(1, math.ceil(max(np.ptp(rows), np.ptp(columns)) / GRID))
    order = np.argsort(depth[rows, columns], kind="stable")  # the deepest of a cell comes last and stays
    place, deep = {}, {}
    for y, x in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        place[y // step, x // step] = (y, x)
        deep[y // step, x // step] = float(depth[y, x])
    return _Cells(place, deep)


def _ways(
    cells: _Cells, start: tuple[int, int], centring: float
) -> tuple[dict[tuple[int, int], float], dict[tuple[int, int], tuple[int, int]]]:
    """Dijkstra from ``start``: the cost of reaching each cell, and the cell before it."""
    deepest = max(cells.depth.values())
    cost, before, queue = {start: 0.0}, {start: start}, [(0.0, start)]
    while queue:
        so_far, (row, column) = heapq.heappop(queue)
        if so_far > cost[row, column]:
            continue
        for dr, dc in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
            cell = (row + dr, column + dc)
            if cell in cells.depth:
                total = so_far + math.hypot(dr, dc) * (deepest / cells.depth[cell]) ** centring
                if total < cost.get(cell, math.inf):
                    cost[cell], before[cell] = total, (row, column)
                    heapq.heappush(queue, (total, cell))
    return cost, before


def _centre_line(mask: BoolArray) -> NDArray[np.int64]:
    """Return the pixels (n, 2) as (y, x) that a stroke through one connected piece visits in turn."""
    cells = _cells(mask)
    middle = max(cells.depth, key=lambda cell: (cells.depth[cell], cell))
    away, _ = _ways(cells, middle, centring=0.0)
    one_end = max(away, key=lambda cell: (away[cell], cell))
    across, _ = _ways(cells, one_end, centring=0.0)
    other_end = max(across, key=lambda cell: (across[cell], cell))
    _, before = _ways(cells, one_end, CENTRING)
    way = [other_end]
    while way[-1] != one_end and before.get(way[-1], way[-1]) != way[-1]:
        way.append(before[way[-1]])
    depth = np.array([cells.depth[cell] for cell in way])
    deep = np.flatnonzero(depth >= END_DEPTH * np.median(depth))
    kept = way[int(deep[0]) : int(deep[-1]) + 1]
    return np.array([cells.place[cell] for cell in kept])


def _around(truth: BoolArray, width: int, random: np.random.Generator) -> BoolArray:
    """Paint two arcs of the line that keeps one distance from the object."""
    radius = math.sqrt(np.count_nonzero(truth) / math.pi)
    distance = max(1.5 * width + 1.0, min(RING_SHARE * radius, RING_LIMIT * max(truth.shape)))
    margin = math.ceil(distance) + 2
    padded = np.pad(truth, margin)  # the line may leave the image, what remains inside is drawn
    away = cv2.distanceTransform((~padded).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    contours, _ = cv2.findContours((away <= distance).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    painted = np.zeros(padded.shape, np.uint8)
    for contour in contours:
        count = len(contour)
        start = int(random.integers(count))
        for turn in (start, start + count // 2):
            arc = np.take(contour, np.arange(turn, turn + max(1, round(ARC_SHARE * count))), axis=0, mode="wrap")
            cv2.polylines(painted, [arc], False, 1, thickness=width)
    inside = painted[margin:-margin, margin:-margin].astype(bool)
    return np.asarray(inside & ~truth)
