"""Level sets of synthetic shapes: positive inside, in pixels from the border or nearly so."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.models.builtin.training.canvas import Canvas

__all__ = ["band", "blob", "folded", "rib", "tree", "tube"]

FloatArray = NDArray[np.float32]
Pair = tuple[float, float]


def blob(
    canvas: Canvas,
    centre: Pair,
    radii: Pair,
    *,
    angle: float | None = None,
    rough: float = 0.15,
    power: float | None = None,
    ends: float = 0.5,
) -> FloatArray:
    """A rough superellipse.

    Args:
        canvas: gives coordinates and randomness.
        centre: (y, x) in -1..1.
        radii: (along y, along x before rotation), in the same unit.
        angle: rotation in radians; random when None.
        rough: how much noise bends the border, relative to the radius.
        power: exponent of the superellipse (2 ellipse, 4 box-like); random when None.
        ends: probability that the thing is nearly or fully gone in one of two cuts.

    Returns:
        (depth, size, size).
    """
    angle = canvas.uniform(0, math.pi) if angle is None else angle
    power = float(canvas.rng.choice([2.0, 2.0, 2.0, 1.6, 3.0, 4.5])) if power is None else power
    cos, sin = math.cos(angle), math.sin(angle)
    mean = math.sqrt(radii[0] * radii[1])
    shift = np.cumsum(canvas.drift * mean * 0.35 * canvas.rng.standard_normal((canvas.depth, 2)), axis=0)
    grow = _sizes(canvas, ends)
    reach = max(radii) * 1.45 * max(1.0, float(grow.max())) + 0.15 + float(np.abs(shift).max())
    part = tuple(_span(centre[axis], reach, canvas.size) for axis in (0, 1))
    shape = (part[0].stop - part[0].start, part[1].stop - part[1].start)
    level = np.full((canvas.depth, canvas.size, canvas.size), -1e3, np.float32)
    if min(shape) < 2:
        return level
    for plane in range(canvas.depth):
        dy = canvas.y[plane][part] - centre[0] - shift[plane, 0]
        dx = canvas.x[plane][part] - centre[1] - shift[plane, 1]
        u = np.abs(cos * dy + sin * dx) / (radii[0] * grow[plane])
        v = np.abs(cos * dx - sin * dy) / (radii[1] * grow[plane])
        radius = np.sqrt(u * u + v * v) if power == 2.0 else (u**power + v**power) ** (1 / power)
        level[plane][part] = (1 - radius) * (min(radii) * grow[plane] * canvas.size / 2)
    if rough > 0:
        bumps = canvas.uniform(1.2, 3.0) * max(shape) / (mean * canvas.size / 2)
        cells = int(np.clip(bumps, 2, max(2, max(shape) // 4)))
        bend = min(radii) * rough * canvas.size / 2 * np.minimum(grow, 1.0)[:, None, None]
        level[:, part[0], part[1]] += bend * canvas.fractal(cells, 2, shape=shape)
    return level


def _sizes(canvas: Canvas, ends: float) -> FloatArray:
    """Relative size of one thing in every cut: wavering, often tapering to nothing, cut off, or beginning late."""
    cuts = np.arange(canvas.depth)
    grow = np.exp(np.cumsum(canvas.drift * 0.3 * canvas.rng.standard_normal(canvas.depth)) * (cuts > 0))
    if canvas.depth > 1 and canvas.chance(ends):
        last = canvas.uniform(0.25, canvas.depth + 0.5)
        if canvas.chance(0.5):
            grow *= np.sqrt(np.clip(1 - (cuts / last) ** 2, 0, 1))
        else:
            grow *= cuts < max(1.0, last)
        if canvas.chance(0.25):
            grow = grow[::-1]
    return np.maximum(grow, 0.004)


def _span(centre: float, reach: float, size: int) -> slice:
    """Pixels that ``centre`` ± ``reach`` (in -1..1) covers."""
    low, high = (centre - reach + 1) / 2 * size, (centre + reach + 1) / 2 * size
    start = min(max(0, math.floor(low)), size)
    return slice(start, max(start, min(size, math.ceil(high))))


def folded(canvas: Canvas, level: FloatArray, cells: int, depth_px: float) -> FloatArray:
    """Fold a border like a cortex: ridged noise pulls it inwards by up to ``depth_px``."""
    ridges = np.maximum(0, 1 - 2.2 * np.abs(canvas.noise(cells)))
    return (level - depth_px * ridges).astype(np.float32)


def band(canvas: Canvas, cells: int, width: float) -> FloatArray:
    """Curvy sheets: the neighbourhood of a noise field's zero lines."""
    field = canvas.noise(cells)
    along_y, along_x = np.gradient(field, axis=1), np.gradient(field, axis=2)
    slope = np.hypot(along_y, along_x) + 0.25 * cells / canvas.size
    return (width / 2 - np.abs(field) / slope).astype(np.float32)


def _draw(canvas: Canvas, strands: list[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """Distance-like level of thick polylines, each of points (n, 2) as (y, x) in pixels and widths (n,) in pixels."""
    planes = []
    moves = np.cumsum(canvas.drift * 6 * canvas.rng.standard_normal((canvas.depth, 2)), axis=0).astype(np.float32)
    for plane in range(canvas.depth):
        zoom = 4 if canvas.size <= 320 else 2
        picture = np.zeros((canvas.size * zoom // 2, canvas.size * zoom // 2), np.uint8)
        scale = zoom / 2
        for points, widths in strands:
            moved = points + moves[plane]
            spots = np.round(moved[:, ::-1] * scale * 16).astype(np.int32)
            for start, stop, width in zip(spots[:-1], spots[1:], widths[1:], strict=True):
                thick = max(1, round(float(width) * scale))
                cv2.line(picture, start.tolist(), stop.tolist(), 255, thick, cv2.LINE_8, 4)
        outside = cv2.distanceTransform(255 - picture, cv2.DIST_L2, 3)
        inside = cv2.distanceTransform(picture, cv2.DIST_L2, 3)
        both = (inside - outside) / scale
        planes.append(cv2.resize(both, (canvas.size, canvas.size), interpolation=cv2.INTER_AREA))
    return np.stack(planes).astype(np.float32)


def _walk(canvas: Canvas, start: FloatArray, heading: float, length: float, wiggle: float) -> FloatArray:
    """A smooth random path (n, 2) in pixels; step 4 px."""
    steps = max(3, int(length / 4))
    bends = canvas.rng.standard_normal(steps) * wiggle
    bends = np.convolve(bends, np.ones(4) / 2.0, mode="same")
    headings = heading + np.cumsum(bends)
    moves = np.stack([np.sin(headings), np.cos(headings)], 1) * 4.0
    return np.concatenate([start[None], start + np.cumsum(moves, 0)]).astype(np.float32)


def tube(canvas: Canvas, width: Pair, *, wiggle: float = 0.15, length: float | None = None) -> FloatArray:
    """One winding tube; ``width`` is (start, end) in pixels."""
    size = canvas.size
    start = canvas.rng.uniform(0.1, 0.9, 2).astype(np.float32) * size
    length = canvas.uniform(0.3, 1.6) * size if length is None else length
    path = _walk(canvas, start, canvas.uniform(0, 2 * math.pi), length, wiggle)
    widths = np.linspace(width[0], width[1], len(path)) * (1 + 0.15 * canvas.rng.standard_normal(len(path)))
    return _draw(canvas, [(path, np.maximum(1.0, widths).astype(np.float32))])


def tree(
    canvas: Canvas, roots: list[tuple[Pair, float]], width: float, levels: int, *, thin: float = 0.72
) -> FloatArray:
    """Branching vessels.

    Args:
        canvas: gives randomness.
        roots: ((y, x) in -1..1, heading in radians) of every stem.
        width: of the stems in pixels.
        levels: generations of branches.
        thin: how much narrower a branch is than its parent.
    """
    size = canvas.size
    wiggle = canvas.log_uniform(0.02, 0.2)
    strands: list[tuple[FloatArray, FloatArray]] = []
    queue = [(np.array([(c + 1) / 2 * size for c in at], np.float32), heading, width, 0) for at, heading in roots]
    reach = canvas.uniform(0.3, 0.9) * size
    while queue and len(strands) < 220:
        start, heading, wide, level = queue.pop(0)
        path = _walk(canvas, start, heading, reach * 0.75**level * canvas.uniform(0.5, 1.3), wiggle)
        widths = np.linspace(wide, wide * thin, len(path)).astype(np.float32)
        strands.append((path, np.maximum(widths, 1.0)))
        if level + 1 >= levels:
            continue
        for _ in range(int(canvas.rng.integers(1, 5))):
            at = int(canvas.rng.integers(1, len(path)))
            step = path[at] - path[at - 1]
            side = canvas.rng.choice([-1, 1]) * canvas.uniform(0.3, 1.2)
            queue.append((path[at], math.atan2(float(step[0]), float(step[1])) + side, widths[at] * thin, level + 1))
    return _draw(canvas, strands)


def rib(canvas: Canvas, number: int, width: float) -> FloatArray:
    """A family of nearly parallel curved bars, as ribs are; width relative to their pitch."""
    angle = canvas.uniform(-0.5, 0.5)
    bend = canvas.uniform(-0.6, 0.6)
    t = canvas.y * math.cos(angle) + canvas.x * math.sin(angle) + bend * canvas.x**2 + 0.03 * canvas.noise(5)
    phase = np.abs(((t * number / 2 + canvas.uniform(0, 1)) % 1.0) - 0.5)
    return ((width / 2 - phase) * 2 / number * canvas.size / 2).astype(np.float32)
