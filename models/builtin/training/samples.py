"""From a painted scene to training samples: a picture, what is meant in it, and the neighbouring slice."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.models.builtin.training.appearance import photograph_canvas
from promptseg.models.builtin.training.canvas import Candidate, Canvas
from promptseg.models.builtin.training.scenes import paint_scene

__all__ = ["Sample", "make_samples"]

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

CANVAS_PX = 256
"""Edge of a scene."""

SMALLEST_PX, LARGEST_SHARE = 25, 0.8
"""Targets have at least this many pixels and at most this share of the scene."""

FAINT, FAINT_LEFT_OUT = 0.7, 0.75
"""Targets that stand out less than this (see ``visibility``) are mostly left out: nobody could point at them."""

ENDED_WEIGHT = 4.0
"""Things that have ended between the two slices are chosen this much more often: they are rare and teach to stop."""

NEIGHBOUR_SHARE = 0.4
"""Share of scenes that come with a neighbouring slice."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One thing to segment.

    Attributes:
        image: float32 (size, size) in [0, 1].
        target: bool (size, size); may be empty only where there is a neighbour.
        neighbour: float32 (size, size) or None.
        neighbour_target: bool (size, size) or None, never empty.
        family: the scene's family.
    """

    image: FloatArray
    target: BoolArray
    neighbour: FloatArray | None
    neighbour_target: BoolArray | None
    family: str


def make_samples(seed: tuple[int, ...], per_scene: int = 5, family: str | None = None) -> list[Sample]:
    """Paint one scene and choose targets in it; the same seed gives the same samples.

    Args:
        seed: any integers.
        per_scene: targets to draw.
        family: of the scene; random when None.
    """
    rng = np.random.default_rng(seed)
    canvas = Canvas(rng, CANVAS_PX, 2 if rng.random() < NEIGHBOUR_SHARE else 1)
    family = paint_scene(canvas, family)
    image = photograph_canvas(canvas, family)
    samples = []
    for _ in range(per_scene):
        chosen = _choose(canvas)
        if chosen is None or (visibility(image[-1], chosen[-1]) < FAINT and canvas.chance(FAINT_LEFT_OUT)):
            continue
        paired = canvas.depth > 1
        samples.append(Sample(image[0], chosen[0], image[1] if paired else None, chosen[1] if paired else None, family))
    return samples


def visibility(image: FloatArray, target: BoolArray) -> float:
    """How well a target stands out: difference of the means on both sides of its border, in standard deviations."""
    mask = target.astype(np.uint8)
    kernel = np.ones((9, 9), np.uint8)
    outer = (cv2.dilate(mask, kernel) > 0) & ~target
    inner = target & (cv2.erode(mask, kernel) == 0)
    if not outer.any() or not inner.any():
        return 0.0
    smooth = cv2.GaussianBlur(image, (0, 0), 1.5)
    a, b = smooth[inner], smooth[outer]
    return float(abs(a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / 2 + 1e-4))


def _choose(canvas: Canvas) -> BoolArray | None:
    """One target, bool (depth, size, size); None when the scene offers nothing of a fitting size."""
    reference = canvas.depth - 1
    sizes = np.array([int(candidate.mask[reference].sum()) for candidate in canvas.candidates])
    limit = LARGEST_SHARE * canvas.size**2
    weights = np.array([candidate.weight for candidate in canvas.candidates])
    if reference:
        gone = np.array([not candidate.mask[0].any() for candidate in canvas.candidates])
        weights = weights * np.where(gone, ENDED_WEIGHT, 1.0)
    weights = np.where((sizes >= SMALLEST_PX) & (sizes <= limit), weights, 0.0)
    if weights.sum() <= 0:
        return None
    candidate = canvas.candidates[int(canvas.rng.choice(len(weights), p=weights / weights.sum()))]
    mask = candidate.mask
    if candidate.parts and canvas.chance(0.85):
        mask = _component(canvas, candidate, reference)
    return mask if mask[reference].sum() >= SMALLEST_PX else None


def _component(canvas: Canvas, candidate: Candidate, reference: int) -> BoolArray:
    """One connected component of the reference cut with what it overlaps in the other cut."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(candidate.mask[reference].astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.float64)
    areas[areas < SMALLEST_PX] = 0
    if count < 2 or areas.sum() == 0:
        return candidate.mask
    chosen = labels == 1 + int(canvas.rng.choice(len(areas), p=areas / areas.sum()))
    out = np.zeros_like(candidate.mask)
    out[reference] = chosen
    if reference == 1:
        _, others = cv2.connectedComponents(candidate.mask[0].astype(np.uint8))
        touched = np.unique(others[chosen])
        out[0] = np.isin(others, touched[touched > 0])
    return out
