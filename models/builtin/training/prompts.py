"""Prompts as people give them: clicks off centre, sloppy boxes, strokes, corrections where the answer is wrong."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["correction", "deepest", "draw_strokes", "first_click", "sloppy_box", "spoil"]

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Box = tuple[float, float, float, float]

CARE, CARE_SHARES = (0.0, 1.0, 2.0, math.inf), (0.1, 0.25, 0.25, 0.4)
"""Exponents of the depth that a click's place is drawn by: anywhere, mostly inside, near the middle, the deepest."""

ON_A_STROKE = 0.25
"""Share of the clicks off the middle that lie where the person would have drawn."""

RINGS = 0.4
"""Share of background strokes that go part of the way round the object."""

WRONG_SIZE, WRONG_RATIO = 0.06, (0.6, 1.8)
"""Share of boxes that are much too small or too large, and by how much."""


def _depth(mask: BoolArray) -> FloatArray:
    """Distance in pixels to the outside; the picture's border counts as outside."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1], np.float32)


def deepest(mask: BoolArray) -> tuple[int, int]:
    """(y, x) of the pixel farthest from the mask's border."""
    y, x = np.unravel_index(int(_depth(mask).argmax()), mask.shape)
    return int(y), int(x)


def first_click(mask: BoolArray, rng: np.random.Generator) -> tuple[int, int]:
    """A positive click as people make them: with a chance that grows with the depth, from anywhere to the middle.

    How careful the person is, is drawn first (the exponent of the depth); some click where they would draw a stroke.
    """
    exponent = float(rng.choice(CARE, p=CARE_SHARES))
    if math.isinf(exponent):
        return deepest(mask)
    weights = _depth(mask).ravel() ** exponent * mask.ravel()
    if rng.random() < ON_A_STROKE:
        weights = _stroke(mask, rng).ravel().astype(np.float32)
    at = int(np.searchsorted(np.cumsum(weights), rng.random() * float(weights.sum()), side="right"))
    y, x = np.unravel_index(min(at, weights.size - 1), mask.shape)
    return (int(y), int(x)) if mask[y, x] else deepest(mask)


def correction(target: BoolArray, answer: BoolArray, rng: np.random.Generator | None) -> tuple[int, int, bool] | None:
    """A click (y, x, positive) in the largest error region, its deepest point without ``rng``; None without errors."""
    wrong = target != answer
    if not wrong.any():
        return None
    missed = (target & wrong).astype(np.uint8)
    spilled = (answer & wrong).astype(np.uint8)
    best: tuple[int, BoolArray, bool] | None = None
    for part, positive in ((missed, True), (spilled, False)):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(part)
        if count < 2:
            continue
        areas = stats[1:, cv2.CC_STAT_AREA]
        if best is None or areas.max() > best[0]:
            best = (int(areas.max()), labels == 1 + int(areas.argmax()), positive)
    if best is None:
        return None
    if rng is None or rng.random() < 0.65:
        return (*deepest(best[1]), best[2])
    return (*first_click(best[1], rng), best[2])


def sloppy_box(mask: BoolArray, rng: np.random.Generator) -> Box:
    """The half-open bounding box, tight, jittered or loose, seldom much too small or too large."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1], np.float64)
    extent = np.tile([box[2] - box[0], box[3] - box[1]], 2)
    draw = rng.random()
    if draw > 0.4:
        box += rng.normal(0, 0.04, 4) * extent + rng.normal(0, 0.7, 4)
    if draw > 0.8:
        box += np.array([-1, -1, 1, 1]) * rng.uniform(0, 0.12, 4) * extent
    if rng.random() < WRONG_SIZE:
        middle = np.tile((box[:2] + box[2:]) / 2, 2)
        box = middle + (box - middle) * rng.uniform(*WRONG_RATIO)
    limit = np.tile(mask.shape, 2)
    box = np.clip(np.round(box), 0, limit)
    box[2:] = np.maximum(box[2:], box[:2] + 1)
    return (float(box[0]), float(box[1]), float(box[2]), float(box[3]))


def draw_strokes(mask: BoolArray, rng: np.random.Generator, *, negative: bool) -> NDArray[np.int8]:
    """Scribbles: +1 in the mask along centre lines, along its border, random lines, arcs or hatching; -1 outside where
    ``negative``: anywhere, or part of the way round at a distance."""
    out = np.zeros(mask.shape, np.int8)
    out[_stroke(mask, rng)] = 1
    if negative:
        if rng.random() < RINGS:
            out[_ring(mask, rng)] = -1
            return out
        around = cv2.dilate(mask.astype(np.uint8), np.ones((41, 41), np.uint8)) > 0
        outside = ~mask & (around if rng.random() < 0.6 else True)
        if outside.sum() > 50:
            out[_stroke(outside, rng) & ~mask] = -1
    return out


def _ring(mask: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Two arcs around the object at a distance."""
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    radius = math.sqrt(float(mask.sum()) / math.pi)
    distance = min(rng.uniform(0.15, 0.5) * radius + 2.0, 0.08 * max(mask.shape))
    thick = float(rng.choice([1.0, 1.5, 2.5]))
    y, x = np.argwhere(mask).mean(0)
    rows, columns = np.indices(mask.shape)
    turn = (np.arctan2(rows - y, columns - x) - rng.uniform(0, 2 * math.pi)) % math.pi
    return np.asarray((np.abs(away - distance) < thick) & ~mask & (turn < rng.uniform(0.2, 0.8) * math.pi))


def _stroke(mask: BoolArray, rng: np.random.Generator) -> BoolArray:
    """One person's stroke(s) inside a mask; never empty for a mask that is not."""
    depth = _depth(mask)
    style = rng.integers(0, 5)
    canvas = np.zeros(mask.shape, np.uint8)
    thick = int(rng.choice([1, 2, 3, 5]))
    if style == 0:
        ridge = depth >= cv2.dilate(depth, np.ones((5, 5), np.uint8)) - 0.5
        ridge &= depth >= rng.uniform(0.1, 0.5) * depth.max()
        canvas[ridge] = 1
        if thick > 2:
            canvas = cv2.dilate(canvas, np.ones((3, 3), np.uint8))
    elif style == 3:  # along the border, inside
        at = rng.uniform(0.15, 0.5) * float(depth.max())
        canvas[np.abs(depth - at) < 0.5 + thick / 2] = 1
    elif style == 4:  # hatching
        rows, columns = np.indices(mask.shape)
        angle, gap = rng.uniform(0, math.pi), max(6.0, float(depth.max()) * rng.uniform(0.4, 1.2))
        lines = (math.sin(angle) * rows + math.cos(angle) * columns + rng.uniform(0, gap)) % gap < thick
        canvas[lines & (depth >= 0.3 * float(depth.max()))] = 1
    else:
        deep = np.argwhere(depth >= min(3.0, 0.5 * float(depth.max())))
        points = deep[rng.integers(0, len(deep), int(rng.integers(2, 6)))]
        if style == 2:
            points = points[np.argsort(points @ rng.standard_normal(2))]
        cv2.polylines(canvas, [points[:, ::-1].astype(np.int32).reshape(-1, 1, 2)], False, 1, thick)
    drawn = (canvas > 0) & mask
    if rng.random() < 0.3:
        at_y, at_x = rng.integers(0, mask.shape[0]), rng.integers(0, mask.shape[1])
        down, across = np.ogrid[: mask.shape[0], : mask.shape[1]]
        kept = drawn & ((down - at_y) ** 2 + (across - at_x) ** 2 < (mask.shape[0] * 0.3) ** 2)
        drawn = kept if kept.any() else drawn
    if not drawn.any():
        drawn[deepest(mask)] = True
    return drawn


def spoil(mask: BoolArray, rng: np.random.Generator) -> FloatArray:
    """A carried mask as it comes, float32 in [0, 1]: right, or shifted, swollen, shrunk, ragged, cut or with a blob."""
    out = mask.astype(np.float32)
    draw = rng.random()
    if draw < 0.25:
        reach = max(1, min(6, round(0.2 * math.sqrt(float(mask.sum())))))
        size = 2 * int(rng.integers(1, reach + 1)) + 1
        change = cv2.dilate if rng.random() < 0.5 else cv2.erode
        changed = change(out, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
        out = changed if changed.any() else out
    elif draw < 0.4:
        sway = 0.1 * math.sqrt(float(mask.sum()))
        move = np.array([[1, 0, rng.normal(0, sway)], [0, 1, rng.normal(0, sway)]], np.float32)
        out = cv2.warpAffine(out, move, out.shape[::-1])
    elif draw < 0.5:
        bumps = cv2.resize(rng.standard_normal((12, 12)).astype(np.float32), out.shape[::-1])
        out = np.where(np.abs(cv2.GaussianBlur(out, (0, 0), 3) - 0.5) < 0.45, (bumps > 0) * 1.0, out).astype(np.float32)
    elif draw < 0.65:
        out = _cut_or_add(out, mask, rng)
    if rng.random() < 0.5:
        out = cv2.GaussianBlur(out, (0, 0), float(rng.uniform(0.5, 2.0)))
    return out if (out > 0.5).any() else mask.astype(np.float32)


def _cut_or_add(soft: FloatArray, mask: BoolArray, rng: np.random.Generator) -> FloatArray:
    """Take a side away from a mask, or hang a disc on its border."""
    rows, columns = np.indices(mask.shape)
    inside = np.argwhere(mask)
    y, x = inside[int(rng.integers(len(inside)))]
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * math.pi)
        side = math.sin(angle) * (rows - y) + math.cos(angle) * (columns - x) > 0
        kept = np.where(side, soft, np.float32(0)).astype(np.float32)
        return kept if float(kept.sum()) > 0.3 * float(soft.sum()) else soft
    radius = math.sqrt(float(mask.sum()) / math.pi) * rng.uniform(0.3, 0.7)
    hung = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    return np.where(hung, np.float32(1), soft).astype(np.float32)
