"""Carry a mask from an anchor slice to its neighbours: the execution of a plan.

The walk works on the *change*. On a slice where nothing was known it takes the model's whole answer; where a mask
was there already, only what lies near the change on the neighbouring slice may be replaced, and the walk ends as soon
as the answers agree with what was there. So a correction never touches what it is not about. A prompt's own box is
never used on another slice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.engine.checks import Appearance, Carried, appearance, measure, stop_reason
from promptseg.engine.options import EngineOptions
from promptseg.engine.plan import Run, Step
from promptseg.models.predictor import Embedding, Predictor, Prior, SlicePrompts

__all__ = ["MASK_LOGIT", "Canvas", "Walk", "grown", "mask_logits"]

Mask = NDArray[np.bool_]
MASK_LOGIT = 5.0  # a mask without logits of its own travels as ±5: probability 0.993, sure but not beyond correction


class Canvas(Protocol):
    """The slices of one label in one plane, as the walk sees them."""

    spacing_mm: tuple[float, float]
    gap_mm: float

    def embedding(self, index: int) -> Embedding:
        """Return the slice's embedding (cached)."""
        ...

    def values(self, index: int, mask: Mask) -> NDArray[np.float32]:
        """Return the windowed intensities (n,) or (n, 3) under a mask (h, w) of the slice."""
        ...

    def mask(self, index: int) -> Mask:
        """Return the label's present mask on the slice (h, w)."""
        ...

    def protected(self, index: int) -> Mask | None:
        """Return the pixels (h, w) that a walk must leave alone, or None."""
        ...

    def write(self, index: int, mask: Mask) -> None:
        """Stage the slice's new mask."""
        ...


def mask_logits(mask: Mask) -> NDArray[np.float32]:
    """Return a mask as logits of ±MASK_LOGIT."""
    return np.where(mask, np.float32(MASK_LOGIT), np.float32(-MASK_LOGIT))


@dataclass(frozen=True)
class _Front:
    """What travels: the last non-empty mask with its logits and slice, and the change made on the last slice."""

    mask: Mask
    logits: NDArray[np.float32]
    index: int
    change: Mask


@dataclass(frozen=True)
class _Answer:
    """What the model found on a slice, after the stop tests; an answer that failed one is empty and says why."""

    mask: Mask
    logits: NDArray[np.float32]
    record: Carried | None = None

    @property
    def reason(self) -> str:
        return self.record.reason if self.record is not None else ""


class Walk:
    """One propagation from one anchor; ``run`` executes a planned run and returns what each step measured."""

    def __init__(self, canvas: Canvas, predictor: Predictor, options: EngineOptions) -> None:
        self._canvas = canvas
        self._predictor = predictor
        self._options = options

    def run(
        self, plan: Run, *, anchor: int, logits: NDArray[np.float32], change: Mask, on_step: Callable[[int], None]
    ) -> list[Carried]:
        """Walk one direction.

        Args:
            plan: the steps.
            anchor: the anchor's slice index; its new mask is on the canvas already.
            logits: (h, w) the anchor's answer.
            change: (h, w) where the anchor's mask differs from what was there before.
            on_step: called with the slice index after every step; may raise Cancelled.

        Returns:
            One record per slice where the object was found; the last one says why the walk ended.
        """
        mask = self._canvas.mask(anchor)
        start = appearance(self._canvas.values(anchor, mask)) if mask.any() else None
        front = _Front(mask, logits, anchor, change)
        records: list[Carried] = []
        empty = 0
        for step in plan.steps:
            old = self._canvas.mask(step.index)
            if step.beyond_middle and old.any():
                return _ended(records, step.index, "met the next anchor's mask")
            answer = self._find(step, front, start)
            new = self._merge(step, front, old, answer.mask)
            changed = new ^ old
            if changed.any():
                self._canvas.write(step.index, new)
            on_step(step.index)
            if old.any() and not changed.any():
                return _ended(records, step.index, "agrees with the mask that was there")
            if answer.mask.any():
                empty = 0
                if answer.record is not None:
                    records.append(answer.record)
            else:
                empty += 1
                if empty >= self._options.max_empty:
                    if not changed.any():
                        return _ended(records, step.index, answer.reason or "the object ended")
                    front = replace(front, mask=np.zeros_like(front.mask))  # from here on only clear what was carried
            front = _advance(front, step, answer, new, changed)
        return _ended(records, None, plan.end)

    def _find(self, step: Step, front: _Front, start: Appearance | None) -> _Answer:
        """Ask the model where the object is on this slice."""
        nothing = np.zeros_like(front.mask)
        if start is None or not front.mask.any():
            return _Answer(nothing, front.logits)
        prior = Prior(front.logits, neighbour=self._canvas.embedding(front.index))
        found = self._predictor.predict(self._canvas.embedding(step.index), SlicePrompts(), prior)
        gap_mm = abs(step.index - front.index) * self._canvas.gap_mm
        reach_mm = self._options.growth_base_mm + self._options.growth_per_mm * gap_mm
        mask = found.mask & grown(front.mask, reach_mm, self._canvas.spacing_mm)
        if not mask.any():
            return _Answer(nothing, front.logits)
        here = appearance(self._canvas.values(step.index, mask))
        record = measure(step.index, mask, front.mask, here, anchor=start, score=found.score)
        reason = stop_reason(record, self._options)
        if reason:
            return _Answer(nothing, front.logits, replace(record, reason=reason))
        logits = np.where(mask, found.logits, np.minimum(found.logits, np.float32(-MASK_LOGIT)))
        return _Answer(mask, logits, record)

    def _merge(self, step: Step, front: _Front, old: Mask, found: Mask) -> Mask:
        """Take the answer near the change, keep the rest, never touch protected pixels."""
        if old.any():
            near = grown(front.change, self._options.correction_margin_mm, self._canvas.spacing_mm)
            found = np.where(near, found, old)
        protected = self._canvas.protected(step.index)
        return found if protected is None else np.where(protected, old, found)


def _advance(front: _Front, step: Step, answer: _Answer, new: Mask, changed: Mask) -> _Front:
    """Move on; over an empty slice the last mask travels on, so that one missed slice does not end the object."""
    if not answer.mask.any():
        return replace(front, change=changed if changed.any() else front.change)
    logits = answer.logits if np.array_equal(new, answer.mask) else mask_logits(new)
    return _Front(new, logits, step.index, changed)


def _ended(records: list[Carried], index: int | None, reason: str) -> list[Carried]:
    """Note on the last record why the walk ended, and before which slice where it ended early."""
    if records:
        text = reason if index is None else f"stopped before slice {index}: {reason}"
        records[-1] = replace(records[-1], reason=text)
    return records


def grown(mask: Mask, distance_mm: float, spacing_mm: tuple[float, float]) -> Mask:
    """Dilate a mask (h, w) by an ellipse of ``distance_mm``, at least one pixel; works on the mask's own corner."""
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
