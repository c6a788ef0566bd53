"""Carry a mask from an anchor slice to its neighbours: the execution of a plan.

The walk works on the *change*. On a slice where nothing was known it takes the model's whole answer; where a mask
was there already, only what lies near the change on the neighbouring slice may be replaced, and the walk ends as soon
as the answers agree with what was there. So a correction never touches what it is not about. A prompt's own box is
never used on another slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.carry import Found, MaskCarrier, Slices, grown, mask_logits
from promptseg.engine.checks import Appearance, Carried, Evidence, appearance, measure, stop_reason
from promptseg.engine.expect import Between
from promptseg.engine.options import EngineOptions
from promptseg.engine.plan import Run, Step
from promptseg.models.predictor import Predictor

__all__ = ["Canvas", "Walk"]

Mask = NDArray[np.bool_]


class Canvas(Slices, Protocol):
    """The slices of one label in one plane, as the walk sees them."""

    def coming(self, indices: Iterable[int]) -> None:
        """Take note of the slices that are asked for next, in their order."""
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


@dataclass(frozen=True)
class _Front:
    """What travels: the last non-empty mask with its logits, slice and trust, and the change made on the last slice."""

    mask: Mask
    logits: NDArray[np.float32]
    index: int
    change: Mask
    trust: float


@dataclass(frozen=True)
class _Answer:
    """What the model found on a slice, after the stop tests; an answer that failed one is empty and says why."""

    mask: Mask
    logits: NDArray[np.float32]
    record: Carried | None = None

    @property
    def reason(self) -> str:
        return self.record.reason if self.record is not None else ""


@dataclass(frozen=True)
class _Task:
    """What stays the same along one run.

    Attributes:
        start: the anchor's intensities; None where it has no mask.
        carrier: finds the object; None where the anchor has no mask.
        known: the object is known to be on every slice of the run.
        about: (h, w) where something may change on every slice, beside what changed on the slice before; or None.
    """

    start: Appearance | None
    carrier: MaskCarrier | None
    known: bool
    about: Mask | None


class Walk:
    """One propagation from one anchor; ``run`` executes a planned run and returns what each step measured."""

    def __init__(self, canvas: Canvas, predictor: Predictor, options: EngineOptions) -> None:
        self._canvas = canvas
        self._predictor = predictor
        self._options = options

    def run(
        self, plan: Run, *, logits: NDArray[np.float32], score: float, change: Mask, on_step: Callable[[int], None]
    ) -> list[Carried]:
        """Walk one direction.

        Args:
            plan: the steps.
            logits: (h, w) the anchor's answer; its new mask is on the canvas already.
            score: the anchor's, 0 ... 1.
            change: (h, w) where the anchor's mask differs from what was there before.
            on_step: called with the slice index after every step; may raise Cancelled.

        Returns:
            One record per slice where the object was found; the last one says why the walk ended.
        """
        mask = self._canvas.mask(plan.anchor)
        task = self._task(plan, mask, change)
        self._canvas.coming(step.index for step in plan.steps)
        front = _Front(mask, logits, plan.anchor, change, score)
        records: list[Carried] = []
        empty = 0
        for step in plan.steps:
            old = self._canvas.mask(step.index)
            if step.beyond_middle and old.any():
                return _ended(records, step.index, "met the next anchor's mask")
            answer = self._find(step, front, task)
            new = self._merge(step, front, old, answer.mask, task)
            changed = new ^ old
            if changed.any():
                self._canvas.write(step.index, new)
            on_step(step.index)
            if old.any() and not changed.any() and not plan.returning:
                return _ended(records, step.index, "agrees with the mask that was there")
            if answer.mask.any():
                empty = 0
                if answer.record is not None:
                    records.append(answer.record)
            else:
                empty += 1
                if empty >= self._options.max_empty:
                    if not changed.any():
                        gone = f"the object ended ({empty} empty slice{'s' if empty > 1 else ''})"
                        return _ended(records, step.index, answer.reason or gone)
                    front = replace(front, mask=np.zeros_like(front.mask))  # from here on only clear what was carried
            front = _advance(front, step, answer, new, changed)
        return _ended(records, None, self._end(plan))

    def _end(self, plan: Run) -> str:
        """Why a run has no more steps, with its number."""
        if plan.end == "range in mm":
            return f"range of {self._options.range_mm:g} mm"
        return f"{plan.end} after slice {plan.steps[-1].index}" if plan.steps else plan.end

    def _task(self, plan: Run, mask: Mask, change: Mask) -> _Task:
        """Measure the anchor, and see what the other anchor knows."""
        if not mask.any():
            return _Task(None, None, False, change if plan.returning else None)
        between, known = None, plan.in_range
        if plan.other is not None:
            other = self._canvas.mask(plan.other)
            known = bool(other.any())
            if known:
                between = Between(plan.anchor, plan.other, (mask, other), self._canvas.spacing_mm)
        carrier = MaskCarrier(self._canvas, self._predictor, self._options, plan.anchor, mask, between, plan.taper)
        start = appearance(self._canvas.values(plan.anchor, mask))
        return _Task(start, carrier, known, change if plan.returning else None)

    def _find(self, step: Step, front: _Front, task: _Task) -> _Answer:
        """Ask where the object is on this slice, and test the answer; where it must be, a failed one is replaced."""
        nothing = _Answer(np.zeros_like(front.mask), front.logits)
        if task.carrier is None or not front.mask.any():
            return nothing
        found, expected = task.carrier.find(step, front.mask, front.logits, front.index, known=task.known)
        answer = self._tested(step, front, found, task)
        if answer.mask.any() and not answer.reason:
            task.carrier.taken()
            return answer
        if not task.known:
            return replace(answer, mask=nothing.mask, logits=front.logits)
        doubt = answer.reason or "the model saw nothing here"
        answer = self._tested(step, front, expected, task)
        if answer.record is None:
            return nothing
        return replace(answer, record=replace(answer.record, reason=f"kept as expected, though {doubt}"))

    def _tested(self, step: Step, front: _Front, found: Found, task: _Task) -> _Answer:
        mask = found.mask
        if not mask.any() or task.start is None or task.carrier is None:
            return _Answer(mask, front.logits)
        here = appearance(self._canvas.values(step.index, mask))
        evidence = Evidence(here, task.start, found.score, task.carrier.agreement(mask), front.trust)
        record = measure(step.index, mask, front.mask, evidence)
        return _Answer(mask, found.logits, replace(record, reason=stop_reason(record, self._options)))

    def _merge(self, step: Step, front: _Front, old: Mask, found: Mask, task: _Task) -> Mask:
        """Take the answer near the change, keep the rest, never touch protected pixels."""
        if old.any():
            change = front.change if task.about is None else front.change | task.about
            near = grown(change, self._options.correction_margin_mm, self._canvas.spacing_mm)
            found = np.where(near, found, old)
        protected = self._canvas.protected(step.index)
        return found if protected is None else np.where(protected, old, found)


def _advance(front: _Front, step: Step, answer: _Answer, new: Mask, changed: Mask) -> _Front:
    """Move on; over an empty slice the last mask travels on, so that one missed slice does not end the object."""
    if not answer.mask.any():
        return replace(front, change=changed if changed.any() else front.change)
    logits = answer.logits if np.array_equal(new, answer.mask) else mask_logits(new)
    trust = answer.record.trust if answer.record is not None else front.trust
    return _Front(new, logits, step.index, changed, trust)


def _ended(records: list[Carried], index: int | None, reason: str) -> list[Carried]:
    """Note on the last record why the walk ended, and before which slice where it ended early."""
    if records:
        text = reason if index is None else f"stopped before slice {index}: {reason}"
        records[-1] = replace(records[-1], reason=text)
    return records
