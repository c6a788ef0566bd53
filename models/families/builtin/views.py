"""What the built-in network sees: a square of the slice, resampled, with the prompts drawn as maps.

Training and inference both build the network's input here, so that they cannot drift apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CHANNELS", "Hints", "Square", "crop", "draw_view", "fit_square", "paste"]

FloatArray = NDArray[np.float32]

CHANNELS = ("image", "neighbour", "positive", "negative", "box", "previous", "carried")
"""The network's input channels, in order."""

DISC_SIGMA_PX = 2.5
"""Width of a click's Gaussian disc in the network's pixels."""

LOW_PERCENTILE, HIGH_PERCENTILE = 1.0, 99.0
"""Intensities of one view are stretched between these percentiles of its pixels."""


@dataclass(frozen=True)
class Square:
    """A square part of a slice.

    Attributes:
        y: row of the centre, in pixels of the slice.
        x: column of the centre, in pixels of the slice.
        side: edge length, in pixels of the slice; may reach over the slice's border.
    """

    y: float
    x: float
    side: float


@dataclass(frozen=True, eq=False)
class Hints:
    """Everything known before one pass, in pixels of the slice.

    Attributes:
        points: float32 (n, 2), (y, x).
        positive: bool (n,).
        box: half-open (y0, x0, y1, x1) or None.
        strokes: int8 (h, w), +1 object, -1 background, 0 untouched; or None.
        previous: float32 (h, w) probability of an earlier answer on this slice, or None.
        carried: float32 (h, w) probability of the neighbouring slice's mask, or None.
        neighbour: float32 (h, w) the neighbouring slice's image, or None.
    """

    points: FloatArray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    positive: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    box: tuple[float, float, float, float] | None = None
    strokes: NDArray[np.int8] | None = None
    previous: FloatArray | None = None
    carried: FloatArray | None = None
    neighbour: FloatArray | None = None


def fit_square(square: Square, shape: tuple[int, int], smallest: float = 40.0) -> Square:
    """Move a square inside the slice; it grows to ``smallest`` pixels and shrinks to the slice's longer side."""
    height, width = shape
    side = min(max(square.side, smallest), float(max(height, width)))
    return Square(_inside(square.y, side, height), _inside(square.x, side, width), side)


def _inside(centre: float, side: float, length: int) -> float:
    if side >= length:
        return (length - 1) / 2
    return min(max(centre, side / 2 - 0.5), length - 0.5 - side / 2)


def crop(array: FloatArray, square: Square, size: int, fill: float = 0.0) -> FloatArray:
    """Resample a square to (size, size): area mean when shrinking, linear when enlarging.

    Args:
        array: float32 (h, w).
        square: the part to take.
        size: edge of the result in pixels.
        fill: value outside the slice.
    """
    step = square.side / size
    factor = 1 << max(0, math.floor(math.log2(step) + 0.25)) if step > 1 else 1
    top, left = square.y - square.side / 2, square.x - square.side / 2
    if factor > 1:
        array, origin_y, origin_x = _shrink(array, square, factor)
        top, left = (top - origin_y + 0.5) / factor - 0.5, (left - origin_x + 0.5) / factor - 0.5
        step /= factor
    matrix = np.array([[step, 0, left + step / 2], [0, step, top + step / 2]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    view = cv2.warpAffine(array, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)
    return np.asarray(view, np.float32)


def _shrink(array: FloatArray, square: Square, factor: int) -> tuple[FloatArray, int, int]:
    """Area-mean of the part under a square; returns it with the slice pixel at which its first cell begins."""
    height, width = array.shape
    half = square.side / 2 + 2 * factor
    y0 = max(0, math.floor((square.y - half) / factor) * factor)
    x0 = max(0, math.floor((square.x - half) / factor) * factor)
    part = array[y0 : min(height, math.ceil(square.y + half)), x0 : min(width, math.ceil(square.x + half))]
    rows, columns = -(-part.shape[0] // factor), -(-part.shape[1] // factor)
    missing = (rows * factor - part.shape[0], columns * factor - part.shape[1])
    if missing != (0, 0):
        part = np.pad(part, ((0, missing[0]), (0, missing[1])), mode="edge")
    small = cv2.resize(np.ascontiguousarray(part), (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32), y0, x0


def paste(view: FloatArray, square: Square, shape: tuple[int, int], fill: float) -> FloatArray:
    """Put a square's answer back on the slice's grid; ``fill`` outside the square.

    Args:
        view: float32 (size, size).
        square: where it was taken.
        shape: (h, w) of the slice.
        fill: value outside the square.

    Returns:
        float32 (h, w).
    """
    height, width = shape
    size = view.shape[0]
    scale = size / square.side
    top, left = square.y - square.side / 2, square.x - square.side / 2
    y0, y1 = max(0, math.ceil(top)), min(height, math.floor(top + square.side) + 1)
    x0, x1 = max(0, math.ceil(left)), min(width, math.floor(left + square.side) + 1)
    out = np.full(shape, fill, np.float32)
    if y1 <= y0 or x1 <= x0:
        return out
    matrix = np.array([[scale, 0, (x0 - left) * scale - 0.5], [0, scale, (y0 - top) * scale - 0.5]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out[y0:y1, x0:x1] = cv2.warpAffine(view, matrix, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return out


def stretch(view: FloatArray, inside: NDArray[np.bool_] | None) -> FloatArray:
    """Map the view's 1st..99th percentile to -1..1, clipped at ±1.5; 0 outside the slice."""
    pixels = view[::2, ::2] if inside is None else view[inside]
    if pixels.size == 0:
        return np.zeros_like(view)
    low, high = np.percentile(pixels, (LOW_PERCENTILE, HIGH_PERCENTILE))
    scaled = np.clip((view - low) * (2.0 / max(float(high - low), 1e-4)) - 1.0, -1.5, 1.5)
    out: FloatArray = scaled.astype(np.float32)
    if inside is not None:
        out[~inside] = 0.0
    return out


def _covered(square: Square, shape: tuple[int, int], size: int) -> NDArray[np.bool_] | None:
    """bool (size, size), False where the view looks outside the slice; None when it looks outside nowhere."""
    step = square.side / size
    rows = square.y - square.side / 2 + (np.arange(size) + 0.5) * step
    columns = square.x - square.side / 2 + (np.arange(size) + 0.5) * step
    good_rows = (rows > -0.75) & (rows < shape[0] - 0.25)
    good_columns = (columns > -0.75) & (columns < shape[1] - 0.25)
    if good_rows.all() and good_columns.all():
        return None
    return good_rows[:, None] & good_columns[None]


def draw_view(image: FloatArray, hints: Hints, square: Square, size: int) -> FloatArray:
    """Build the network's input for one square.

    Args:
        image: float32 (h, w).
        hints: prompts and known masks, in pixels of the slice.
        square: what to look at.
        size: edge of the view in pixels, a multiple of 32.

    Returns:
        float32 (len(CHANNELS), size, size).
    """
    out = np.zeros((len(CHANNELS), size, size), np.float32)
    inside = _covered(square, image.shape, size)
    out[0] = stretch(crop(image, square, size), inside)
    if hints.neighbour is not None:
        out[1] = stretch(crop(hints.neighbour, square, size), inside)
    scale = size / square.side
    origin = np.array([square.y - square.side / 2, square.x - square.side / 2])
    if len(hints.points):
        where = (hints.points - origin) * scale - 0.5
        for (row, column), positive in zip(where, hints.positive, strict=True):
            _stamp(out[2 if positive else 3], float(row), float(column))
    if hints.strokes is not None:
        for channel, sign in ((2, 1), (3, -1)):
            _draw_stroke(out[channel], np.argwhere(hints.strokes == sign), origin, scale)
    if hints.box is not None:
        y0, x0, y1, x1 = ((np.asarray(hints.box) - 0.5 - np.tile(origin, 2)) * scale).round().astype(int)
        out[4, max(0, y0) : max(0, y1, y0 + 1), max(0, x0) : max(0, x1, x0 + 1)] = 1.0
    if hints.previous is not None:
        out[5] = crop(hints.previous, square, size)
    if hints.carried is not None:
        out[6] = crop(hints.carried, square, size)
    return out


def _stamp(plane: FloatArray, row: float, column: float) -> None:
    """Draw one Gaussian disc in place."""
    reach = math.ceil(3 * DISC_SIGMA_PX)
    y0, y1 = max(0, round(row) - reach), min(plane.shape[0], round(row) + reach + 1)
    x0, x1 = max(0, round(column) - reach), min(plane.shape[1], round(column) + reach + 1)
    if y0 >= y1 or x0 >= x1:
        return
    dy = np.exp(-((np.arange(y0, y1) - row) ** 2) / (2 * DISC_SIGMA_PX**2))
    dx = np.exp(-((np.arange(x0, x1) - column) ** 2) / (2 * DISC_SIGMA_PX**2))
    part = plane[y0:y1, x0:x1]
    np.maximum(part, (dy[:, None] * dx[None]).astype(np.float32), out=part)


def _draw_stroke(plane: FloatArray, pixels: NDArray[np.int64], origin: NDArray[np.float64], scale: float) -> None:
    """Draw painted pixels as a soft stroke in place, at least three network pixels wide."""
    if not len(pixels):
        return
    size = plane.shape[0]
    where = np.floor((pixels - origin) * scale).astype(int)
    where = where[((where >= 0) & (where < size)).all(1)]
    if not len(where):
        return
    stroke = np.zeros_like(plane)
    stroke[where[:, 0], where[:, 1]] = 1.0
    reach = max(3, math.ceil(scale) | 1)
    stroke = cv2.GaussianBlur(cv2.dilate(stroke, np.ones((reach, reach), np.uint8)), (5, 5), 1.0)
    np.maximum(plane, stroke, out=plane)
