"""From a painted scene to training samples: pictures of neighbouring cuts and what is meant in them."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.models.builtin.training.appearance import photograph_canvas
from promptseg.models.builtin.training.canvas import Candidate, Canvas
from promptseg.models.builtin.training.scenes import choose_family, paint_scene

__all__ = ["Sample", "World", "make_samples"]

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

CANVAS_PX = 256
"""Edge of a scene."""

SMALLEST_PX, LARGEST_SHARE = 25, 0.8
"""Targets have at least this many pixels and at most this share of the scene."""

FAINT, FAINT_LEFT_OUT = 0.7, 0.85
"""Targets that stand out less than this (see ``visibility``) are mostly left out: nobody could point at them."""

ENDED_WEIGHT = 5.0
"""Things that end within a stack are chosen this much more often: they teach to stop."""

FLAT_FAMILIES = ("vessels", "xray", "teeth", "photograph", "smear")
"""Projections and photographs have no neighbouring slice; they seldom get one here."""


@dataclass(frozen=True)
class World:
    """What is painted.

    Attributes:
        easy: share of clear pictures, see ``Canvas.easy``.
        stacks: share of scenes with neighbouring cuts.
        families: name -> share, for those that differ from ``scenes.FAMILIES``.
    """

    easy: float = 0.6
    stacks: float = 0.45
    families: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Sample:
    """One thing to segment, in one cut or followed through several.

    Attributes:
        images: float32 (cuts, size, size) in [0, 1].
        targets: bool (cuts, size, size); never empty in the first cut.
        family: the scene's family.
        visibility: how well the target stands out in the first cut, see ``visibility``.
    """

    images: FloatArray
    targets: BoolArray
    family: str
    visibility: float


def make_samples(
    seed: tuple[int, ...], per_scene: int = 5, family: str | None = None, world: World | None = None
) -> list[Sample]:
    """Paint one scene and choose targets in it; the same seed gives the same samples.

    Args:
        seed: any integers.
        per_scene: targets to draw.
        family: of the scene; random when None.
        world: shares of what is painted.
    """
    world = world or World()
    rng = np.random.default_rng(seed)
    family = family or choose_family(rng, world.families)
    stacks = world.stacks * (0.25 if family in FLAT_FAMILIES else 1.3)
    depth = int(rng.choice([2, 3, 4], p=[0.45, 0.35, 0.2])) if rng.random() < stacks else 1
    canvas = Canvas(rng, CANVAS_PX, depth, easy=bool(rng.random() < world.easy))
    paint_scene(canvas, family)
    images = photograph_canvas(canvas, family)
    samples = []
    for _ in range(per_scene):
        chosen = _choose(canvas)
        if chosen is None:
            continue
        clear = visibility(images[0], chosen[0])
        if clear < FAINT and canvas.chance(FAINT_LEFT_OUT):
            continue
        samples.append(Sample(images, chosen, family, clear))
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
    sizes = np.array([int(candidate.mask[0].sum()) for candidate in canvas.candidates])
    limit = LARGEST_SHARE * canvas.size**2
    weights = np.array([candidate.weight for candidate in canvas.candidates])
    if canvas.depth > 1:
        gone = np.array([not candidate.mask.any((1, 2)).all() for candidate in canvas.candidates])
        weights = weights * np.where(gone, ENDED_WEIGHT, 1.0)
    weights = np.where((sizes >= SMALLEST_PX) & (sizes <= limit), weights, 0.0)
    if weights.sum() <= 0:
        return None
    candidate = canvas.candidates[int(canvas.rng.choice(len(weights), p=weights / weights.sum()))]
    mask = candidate.mask
    if candidate.parts and canvas.chance(0.85):
        mask = _component(canvas, candidate)
    return mask if mask[0].sum() >= SMALLEST_PX else None


def _component(canvas: Canvas, candidate: Candidate) -> BoolArray:
    """One connected component of the first cut with what it overlaps from cut to cut."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(candidate.mask[0].astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.float64)
    areas[areas < SMALLEST_PX] = 0
    if count < 2 or areas.sum() == 0:
        return candidate.mask
    out = np.zeros_like(candidate.mask)
    out[0] = labels == 1 + int(canvas.rng.choice(len(areas), p=areas / areas.sum()))
    for cut in range(1, canvas.depth):
        _, others = cv2.connectedComponents(candidate.mask[cut].astype(np.uint8))
        touched = np.unique(others[out[cut - 1]])
        out[cut] = np.isin(others, touched[touched > 0])
    return out
