"""Masks to closed contours and back, one slice at a time, in pixel coordinates (row, column).

The contour of a mask runs half-way between the centres of pixels inside and pixels outside (marching squares at one
half): no pixel's centre lies on it, so whoever asks which centres lie inside gets the mask back, bit for bit. Pixels
that touch at a corner only are separate parts.

Holes: with "keyhole" a hole is joined to its outer contour by a channel of no width, so that the part is one contour
(DICOM PS3.3 C.8.8.6.3); with "xor" it is a contour of its own. The channel runs along a line between two rows of pixel
centres, so it passes none of them. Reading combines all contours of a plane by exclusive or, which is right for both
techniques, for writers that put holes into plain contours of their own, and for parts side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import WriteError, did_you_mean

__all__ = ["HOLES", "contours_of_mask", "mask_of_contours", "outlines"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
HOLES = ("keyhole", "xor")


def contours_of_mask(mask: BoolArray, *, holes: str = "keyhole") -> list[FloatArray]:
    """Return closed contours of a mask.

    Args:
        mask: bool (rows, columns).
        holes: "keyhole" or "xor", see the module's text.

    Returns:
        Arrays (n, 2) of (row, column); pixel centres at whole numbers; the last point is not the first.

    Raises:
        WriteError: another word for ``holes``.
    """
    if holes not in HOLES:
        raise WriteError(f"expected holes as {' or '.join(HOLES)}, got {holes!r}{did_you_mean(holes, HOLES)}")
    outer, inner = _loops(mask)
    if holes == "xor" or not inner:
        return [_without_straight_points(loop) for loop in (*outer, *inner)]
    owned: list[list[FloatArray]] = [[] for _ in outer]
    areas = [abs(_signed_area(loop)) for loop in outer]
    for hole in inner:
        around = [i for i, loop in enumerate(outer) if _holds(loop, hole[0])]
        owned[min(around, key=areas.__getitem__)].append(hole)
    return [_without_straight_points(_keyholed(loop, own)) for loop, own in zip(outer, owned, strict=True)]


def outlines(mask: BoolArray) -> list[FloatArray]:
    """Return the outer contour of each part of a mask (rows, columns), holes left out; see ``contours_of_mask``."""
    return [_without_straight_points(loop) for loop in _loops(mask)[0]]


def mask_of_contours(contours: Sequence[FloatArray], shape: tuple[int, int]) -> BoolArray:
    """Return the pixels whose centre lies inside an odd number of contours.

    Args:
        contours: closed polygons (n, 2) of (row, column).
        shape: (rows, columns) of the mask.

    A centre that lies on an edge counts as inside on the left and lower side only, so that contours which share an
    edge share no pixel.
    """
    mask = np.zeros(shape, np.bool_)
    for contour in contours:
        mask ^= _fill(contour, shape)
    return mask


def _loops(mask: BoolArray) -> tuple[list[FloatArray], list[FloatArray]]:
    """Return outer contours and holes; points lie at half pixels. Each loop's last point is not its first."""
    from skimage.measure import find_contours

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return [], []
    corner = np.array([rows[0], columns[0]])
    padded = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1).astype(np.float64)
    outer: list[FloatArray] = []
    inner: list[FloatArray] = []
    for loop in find_contours(padded, 0.5, fully_connected="low", positive_orientation="high"):
        points = np.asarray(loop[:-1] - 1.0 + corner)
        (outer if _signed_area(points) < 0 else inner).append(points)
    return outer, inner


def _signed_area(loop: FloatArray) -> float:
    rows, columns = loop[:, 0], loop[:, 1]
    return float(np.sum(columns * np.roll(rows, -1) - np.roll(columns, -1) * rows)) / 2.0


def _holds(loop: FloatArray, point: FloatArray) -> bool:
    """Return True when a point lies inside a closed polygon (even-odd rule)."""
    rows, columns = loop[:, 0], loop[:, 1]
    next_rows, next_columns = np.roll(rows, -1), np.roll(columns, -1)
    crosses = (rows <= point[0]) != (next_rows <= point[0])
    at = columns[crosses] + (point[0] - rows[crosses]) / (next_rows - rows)[crosses] * (next_columns - columns)[crosses]
    return bool(np.count_nonzero(at > point[1]) % 2)


def _keyholed(outer: FloatArray, holes: list[FloatArray]) -> FloatArray:
    """Return one closed polygon: the outer contour with each hole hung onto it, the leftmost hole first."""
    merged = outer
    for hole in sorted(holes, key=lambda loop: float(loop[:, 1].min())):
        between_rows = np.flatnonzero(hole[:, 0] % 1 != 0)
        first = int(between_rows[np.argmin(hole[between_rows, 1])])
        row, column = hole[first]
        edge, at = _nearest_on_the_left(merged, float(row), float(column))
        bridge = np.array([[row, at]])
        around = np.concatenate([hole[first:], hole[: first + 1]])
        merged = np.concatenate([merged[: edge + 1], bridge, around, bridge, merged[edge + 1 :]])
    return merged


def _nearest_on_the_left(loop: FloatArray, row: float, column: float) -> tuple[int, float]:
    """Return the edge (index of its first point) and the column where a contour meets ``row`` next, going left."""
    rows, columns = loop[:, 0], loop[:, 1]
    next_rows, next_columns = np.roll(rows, -1), np.roll(columns, -1)
    meets = np.flatnonzero((np.minimum(rows, next_rows) <= row) & (np.maximum(rows, next_rows) >= row))
    rise = next_rows[meets] - rows[meets]
    share = np.where(rise == 0, 0.0, (row - rows[meets]) / np.where(rise == 0, 1.0, rise))
    at = columns[meets] + share * (next_columns[meets] - columns[meets])
    left = np.flatnonzero(at < column)
    best = left[np.argmax(at[left])]
    return int(meets[best]), float(at[best])


def _without_straight_points(loop: FloatArray) -> FloatArray:
    """Drop points that lie on the straight line between their neighbours; where a line turns back they stay."""
    before, after = loop - np.roll(loop, 1, axis=0), np.roll(loop, -1, axis=0) - loop
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    ahead = (before * after).sum(axis=1) > 0
    kept = loop[~((cross == 0) & ahead)]
    return kept if len(kept) >= 3 else loop


def _fill(contour: FloatArray, shape: tuple[int, int]) -> BoolArray:
    """Return the pixels whose centre lies inside one polygon: even-odd rule, row by row."""
    mask = np.zeros(shape, np.bool_)
    rows, columns = contour[:, 0], contour[:, 1]
    swap = rows > np.roll(rows, -1)  # each edge from its upper end, so that a channel's two edges cross alike
    top_row, low_row = np.where(swap, np.roll(rows, -1), rows), np.where(swap, rows, np.roll(rows, -1))
    top_column = np.where(swap, np.roll(columns, -1), columns)
    low_column = np.where(swap, columns, np.roll(columns, -1))
    first = np.maximum(np.ceil(top_row), 0).astype(np.intp)
    last = np.minimum(np.ceil(low_row), shape[0]).astype(np.intp)  # rows top <= r < low
    counts = np.maximum(last - first, 0)
    edge = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    share = (row - top_row[edge]) / (low_row[edge] - top_row[edge])
    at = top_column[edge] + share * (low_column[edge] - top_column[edge])
    start = np.clip(np.ceil(at), 0, shape[1]).astype(np.intp)
    toggles = np.zeros((shape[0], shape[1] + 1), np.int32)
    np.add.at(toggles, (row, start), 1)
    mask[:] = np.cumsum(toggles, axis=1)[:, :-1] % 2 == 1
    return mask
