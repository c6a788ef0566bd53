"""Where is the object on the slice next to one where it is known? The model's answers joined with what is expected.

The model is asked with the neighbour's mask as prior, or its own memory where it has one; and, unless it is sure, with
the box of that mask, moved along with the image. The first answer tends to shrink from slice to slice, the second to
fill; their mean does neither. Branches that lie apart are asked about one by one, each with its own mask and box. A
model that is sure outvotes what is expected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.engine.branches import branches
from promptseg.engine.checks import iou
from promptseg.engine.distances import signed_distance_mm
from promptseg.engine.expect import AROUND_MM, Between, Tissue, as_logits, moved, window_around
from promptseg.engine.options import EngineOptions
from promptseg.engine.plan import Step
from promptseg.models.predictor import Embedding, Prediction, Predictor, Prior, SlicePrompts, carrier_of

__all__ = ["MASK_LOGIT", "Found", "MaskCarrier", "Slices", "grown", "mask_logits"]

Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
MASK_LOGIT = 5.0  # a mask without logits of its own travels as ±5: probability 0.993, sure but not beyond correction
MODEL_LIMIT = 6.0  # largest logit of the model's mean answer: just above all that is expected together
BOX_MARGIN_MM = 1.5  # around the moved mask's box, at least one pixel
SHAPE_ALONE, TISSUE_ALONE = 2.0, 1.5  # weights where the model has nothing to say
UNSURE, SURE = 0.6, 0.8  # scores of the carried answer between which it gains weight; a sure one is not checked
OWN_LEAST, OWN_MORE = 0.6, 0.3  # its share beside the box's answer; where it is sure the shape loses half its weight
SHAPE_WEIGHT, TISSUE_WEIGHT = 0.7, 1.5  # beside the model: together less than a model that is sure
AREA_CAP = 1.6  # times the area that an ellipsoid has near the ends of its range
CAPPED_BELOW = 0.75  # of the ellipsoid's largest radius: farther inside the range nothing is capped
LARGEST_KERNEL = 150  # pixels of radius: 60 mm at 0.4 mm, the farthest look at a fine usual resolution
BETWEEN_BLUR = 0.5  # of the distance to the nearer of both slices: how unsure a shape between them is


class Slices(Protocol):
    """The slices of one label in one plane, as carrying a mask sees them."""

    spacing_mm: tuple[float, float]
    gap_mm: float

    def embedding(self, index: int) -> Embedding:
        """Return the slice's embedding (cached)."""
        ...

    def pixels(self, index: int) -> FloatArray:
        """Return the slice's windowed grey values (h, w), 0 ... 1."""
        ...


@dataclass(frozen=True, eq=False)
class Found:
    """An answer on one slice.

    Attributes:
        logits: float32 (h, w), > 0 means the object.
        score: the model's predicted quality, 0 ... 1.
    """

    logits: FloatArray
    score: float

    @property
    def mask(self) -> Mask:
        """bool (h, w): ``logits > 0``."""
        return self.logits > 0


@dataclass(frozen=True, eq=False)
class _Look:
    """What the model says about one branch: logits (h, w), score, and 0 ... 1 how sure its carried answer is."""

    logits: FloatArray
    score: float
    sure: float
    seen: bool


@dataclass(frozen=True, eq=False)
class _Way:
    """Two slices' pixels around the object, the mask on the first and that mask moved onto the second."""

    cut: tuple[slice, slice]
    there: FloatArray
    here: FloatArray
    front: Mask
    expected: Mask


class MaskCarrier:
    """Carries one object's mask away from one anchor.

    Args:
        slices: the slices.
        predictor: the model.
        options: the engine's numbers.
        anchor: the anchor's slice index.
        mask: its mask (h, w), not empty.
        between: the shape between two anchors, where there is another one.
        taper: see ``promptseg.engine.plan.Step``.
    """

    def __init__(
        self,
        slices: Slices,
        predictor: Predictor,
        options: EngineOptions,
        anchor: int,
        mask: Mask,
        between: Between | None = None,
        taper: float = 1.0,
    ) -> None:
        self._slices, self._predictor, self._options = slices, predictor, options
        self._between = between
        self._taper, self._area_px = taper, int(np.count_nonzero(mask))
        around = grown(mask, AROUND_MM, slices.spacing_mm) & ~mask
        pixels = slices.pixels(anchor)
        self._tissue = Tissue(pixels[mask], pixels[around]) if around.any() else None
        self._way: _Way | None = None
        self._tracker = carrier_of(predictor)
        self._memory: object | None = None
        self._memory_after: object | None = None
        if self._tracker is not None:
            known = [] if between is None else [(between.last, between.masks[1])]
            for index, seen in (*known, (anchor, mask)):
                embedding = slices.embedding(index)
                self._memory = self._tracker.remember(embedding, mask_logits(seen), index, self._memory)

    def find(self, step: Step, front: Mask, logits: FloatArray, source: int, *, known: bool) -> tuple[Found, Found]:
        """Say where the object is on a slice.

        Args:
            step: which slice.
            front: (h, w) the nearest known mask, not empty.
            logits: (h, w) as what it travels.
            source: its slice index.
            known: the object is known to be on this slice.

        Returns:
            The joined answer, empty when the model sees nothing and the object need not be here; and what is expected
            without the model, empty unless ``known``.
        """
        shape, tissue, allowed = self._expected(step, front, source)
        parts = [allowed] if self._tracker is not None else branches(allowed)
        looks = []
        for part in parts:
            asked = (front, logits, shape)
            if len(parts) > 1:
                nowhere = np.float32(-MASK_LOGIT)
                asked = (front & part, np.where(part, logits, nowhere), np.where(part, shape, nowhere))
            looks.append(self._look(step.index, source, *asked, known=known))
        sizes = [max(1, int(np.count_nonzero(front & part))) for part in parts]
        score = float(np.average([look.score for look in looks], weights=sizes))
        nothing = Found(np.full(front.shape, np.float32(-MASK_LOGIT)), score)
        if not known and not any(look.seen for look in looks):
            return nothing, nothing
        logits = TISSUE_WEIGHT * tissue
        for part, look in zip(parts, looks, strict=True):
            logits[part] += look.logits[part] + SHAPE_WEIGHT * (1 - look.sure / 2) * shape[part]
        joined = Found(_only(self._capped(logits, allowed, step), allowed), score)
        if not known:
            return joined, nothing
        alone = Found(_only(np.float32(SHAPE_ALONE) * shape + np.float32(TISSUE_ALONE) * tissue, allowed), score)
        return joined, alone if alone.mask.any() else Found(_only(shape, allowed), score)

    def agreement(self, mask: Mask) -> float:
        """Return how well a mask (h, w) on the last ``find``'s slice and its neighbour's agree, moved both ways."""
        if self._way is None:
            return 0.0
        here, back = mask[self._way.cut], np.where(mask[self._way.cut], np.float32(1), np.float32(-1))
        returned = moved(back, self._way.here, self._way.there) > 0
        return (iou(self._way.expected, here) + iou(returned, self._way.front)) / 2

    def taken(self) -> None:
        """Say that the last joined answer was taken over: a model with a memory goes on with it."""
        self._memory = self._memory_after

    def _look(
        self, index: int, source: int, front: Mask, logits: FloatArray, shape: FloatArray, *, known: bool
    ) -> _Look:
        """Ask the model about one branch: its mask and logits on slice ``source``, its expected shape (h, w)."""
        embedding = self._slices.embedding(index)
        carried = self._carried(embedding, index, logits, source)
        seen = bool(carried.mask.any())
        sure = min(max((carried.score - UNSURE) / (SURE - UNSURE), 0.0), 1.0) if seen else 0.0
        here = (shape > 0) if (shape > 0).any() else front
        if sure == 1.0 or not here.any() or not (seen or known):
            return _Look(_limited(carried.logits), carried.score, sure, seen)
        boxed = self._predictor.predict(embedding, SlicePrompts(box=self._box(here)))
        own = OWN_LEAST + OWN_MORE * sure
        model = own * _limited(carried.logits) + (1 - own) * _limited(boxed.logits)
        return _Look(model, own * carried.score + (1 - own) * boxed.score, sure, seen)

    def _carried(self, embedding: Embedding, index: int, logits: FloatArray, source: int) -> Prediction:
        """The model's own way from slice to slice: its memory, or the neighbour's mask as prior."""
        if self._tracker is None:
            prior = Prior(logits, neighbour=self._slices.embedding(source))
            return self._predictor.predict(embedding, SlicePrompts(), prior)
        found, self._memory_after = self._tracker.carry(embedding, index, self._memory)
        return found

    def _expected(self, step: Step, front: Mask, source: int) -> tuple[FloatArray, FloatArray, Mask]:
        """Return logits of shape and tissue (h, w) and where the object may be at all."""
        slices, options, index = self._slices, self._options, step.index
        gap_mm = abs(index - source) * slices.gap_mm
        reach_mm = options.growth_base_mm + options.growth_per_mm * gap_mm
        between = None if self._between is None else self._between.distance_mm(index)
        masks = [front] if between is None else [front, between > 0]
        margin = tuple(int(np.ceil((reach_mm + AROUND_MM) / s)) for s in slices.spacing_mm)
        cut = window_around(masks, (margin[0], margin[1])) or (slice(None), slice(None))
        there, here = slices.pixels(source)[cut], slices.pixels(index)[cut]
        least_mm = sum(slices.spacing_mm) / 2
        distance = moved(signed_distance_mm(front[cut], slices.spacing_mm), there, here)
        self._way = _Way(cut, there, here, front[cut], distance > 0)
        distance -= self._narrowing_mm(step, front)
        expected = as_logits(distance, max(gap_mm, least_mm))
        if between is not None and self._between is not None:
            nearer = min(abs(index - self._between.first), abs(index - self._between.last))
            blur_mm = max(BETWEEN_BLUR * nearer * slices.gap_mm, least_mm)
            expected = (expected + as_logits(between[cut], blur_mm)) / np.float32(2)
        shape = np.full(front.shape, np.float32(-MASK_LOGIT))
        shape[cut] = expected
        tissue = np.zeros(front.shape, np.float32)
        if self._tissue is not None:
            tissue[cut] = self._tissue.logits(here)
        return shape, tissue, grown(np.logical_or.reduce(masks), reach_mm, slices.spacing_mm)

    def _narrowing_mm(self, step: Step, front: Mask) -> np.float32:
        """How much nearer to its centre a border is expected on this slice than on the one before."""
        if step.taper >= step.source_taper:
            return np.float32(0)
        row_mm, column_mm = self._slices.spacing_mm
        radius_mm = math.sqrt(np.count_nonzero(front) * row_mm * column_mm / math.pi)
        return np.float32(radius_mm * (1 - step.taper / step.source_taper))

    def _capped(self, logits: NDArray[np.floating[Any]], allowed: Mask, step: Step) -> NDArray[np.floating[Any]]:
        """Lower the logits until no more than a generous area is left, near an end that a person has given."""
        most = round(AREA_CAP * self._area_px * (step.taper / self._taper) ** 2)
        inside = logits[allowed & (logits > 0)]
        if step.taper > CAPPED_BELOW or len(inside) <= max(most, 1):
            return logits
        return np.asarray(logits - np.partition(inside, -max(most, 1) - 1)[-max(most, 1) - 1])

    def _box(self, mask: Mask) -> tuple[float, float, float, float]:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        my, mx = (max(1, round(BOX_MARGIN_MM / s)) for s in self._slices.spacing_mm)
        (h, w) = mask.shape
        return (
            float(max(0, int(rows[0]) - my)),
            float(max(0, int(columns[0]) - mx)),
            float(min(h, int(rows[-1]) + 1 + my)),
            float(min(w, int(columns[-1]) + 1 + mx)),
        )


def mask_logits(mask: Mask) -> FloatArray:
    """Return a mask as logits of ±MASK_LOGIT."""
    return np.where(mask, np.float32(MASK_LOGIT), np.float32(-MASK_LOGIT))


def _limited(logits: FloatArray) -> FloatArray:
    return np.clip(logits, -MODEL_LIMIT, MODEL_LIMIT)


def _only(logits: NDArray[np.floating[Any]], allowed: Mask) -> FloatArray:
    """Logits that are surely negative outside of a mask."""
    kept = np.where(allowed & (logits > 0), logits, np.minimum(logits, -MASK_LOGIT))
    return np.asarray(kept, np.float32)


def grown(mask: Mask, distance_mm: float, spacing_mm: tuple[float, float]) -> Mask:
    """Dilate a mask (h, w) by an ellipse of ``distance_mm``, at least one pixel; works on the mask's own corner.

    Far beyond a pixel's size the distance itself is measured: a kernel's cost grows with its area.
    """
    if distance_mm > LARGEST_KERNEL * min(spacing_mm):
        return (
            np.asarray(signed_distance_mm(mask, spacing_mm) >= -np.float32(distance_mm)) if mask.any() else mask.copy()
        )
    radii = [max(1, round(distance_mm / s)) for s in spacing_mm]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    grown = np.zeros_like(mask)
    if rows.size == 0:
        return grown
    y0, y1 = max(0, int(rows[0]) - radii[0]), int(rows[-1]) + radii[0] + 1
    x0, x1 = max(0, int(columns[0]) - radii[1]), int(columns[-1]) + radii[1] + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radii[1] + 1, 2 * radii[0] + 1))
    grown[y0:y1, x0:x1] = cv2.dilate(np.ascontiguousarray(mask[y0:y1, x0:x1]).view(np.uint8), kernel) > 0
    return grown
