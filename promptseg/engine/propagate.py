"""Prompts' effect on one label in one plane: answer their slices, then walk from each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.answer import Anchor, answer_slice
from promptseg.engine.carry import mask_logits
from promptseg.engine.checks import Carried
from promptseg.engine.hints import Hint, PlacedPrompt
from promptseg.engine.options import EngineOptions
from promptseg.engine.plan import Run, plan_runs
from promptseg.engine.slices import LabelCanvas
from promptseg.engine.volume.answer import VolumeState
from promptseg.engine.walk import Walk
from promptseg.models.predictor import Predictor, SlicePrompts
from promptseg.prompts import Plane

__all__ = ["EMPTY_STATE", "LabelState", "accept_slice", "answer_prompts", "carry_pending", "plan_pending"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelState:
    """What the engine knows of one label beyond its mask; replaced as a whole, never changed.

    Attributes:
        anchors: (plane, slice index) to anchor.
        limits: half-open slice range from the last thick box, or None.
        records: (plane, slice index) to what the last walk measured there.
        pending: anchors not carried to their neighbours yet: (plane, slice index) to the mask (h, w) before.
        waiting: prompts that the model has not been asked about yet.
        limits_plane: the plane whose slices ``limits`` counts.
        asked: prompts that the slice model alone has answered, on their slices; the volume engine is to answer them.
        accepted: (plane, slice index) of slices that a person has accepted.
        volume: what the volume engine knows.
    """

    anchors: Mapping[tuple[Plane, int], Anchor]
    limits: tuple[int, int] | None = None
    records: Mapping[tuple[Plane, int], Carried] = field(default_factory=dict)
    pending: Mapping[tuple[Plane, int], Mask] = field(default_factory=dict)
    waiting: tuple[PlacedPrompt, ...] = ()
    limits_plane: Plane = Plane.AXIAL
    asked: tuple[PlacedPrompt, ...] = ()
    accepted: frozenset[tuple[Plane, int]] = frozenset()
    volume: VolumeState = field(default_factory=VolumeState)


EMPTY_STATE = LabelState({})


def accept_slice(state: LabelState, plane: Plane, index: int, mask: Mask) -> LabelState:
    """Return the state with the slice as an anchor that keeps its mask (h, w); earlier hints on it stay."""
    before = state.anchors.get((plane, index))
    hint = before.hint if before is not None else Hint(SlicePrompts())
    anchor = Anchor(hint, mask_logits(mask).astype(np.float16), 1.0)
    records = {key: record for key, record in state.records.items() if key != (plane, index)}
    anchors, accepted = {**state.anchors, (plane, index): anchor}, state.accepted | {(plane, index)}
    return replace(state, anchors=anchors, records=records, accepted=accepted)


def answer_prompts(placed: PlacedPrompt, state: LabelState, canvas: LabelCanvas, predictor: Predictor) -> LabelState:
    """Answer placed prompts of one plane on their own slices; changes are staged on the canvas.

    Args:
        placed: hints by slice.
        state: the label's state so far.
        canvas: the label's masks.
        predictor: the model.

    Returns:
        The label's new state, in which these slices wait to be carried to their neighbours.
    """
    plane = placed.plane
    anchors, records, pending = dict(state.anchors), dict(state.records), dict(state.pending)
    for index, hint in sorted(placed.hints.items()):
        pending.setdefault((plane, index), canvas.mask(index))
        own = {at: anchor for (p, at), anchor in anchors.items() if p is plane}
        anchors[plane, index] = answer_slice(index, hint, own, canvas, predictor)
        records.pop((plane, index), None)
    if placed.limits is not None:
        state = replace(state, limits=placed.limits, limits_plane=plane)
    return replace(state, anchors=anchors, records=records, pending=pending)


def plan_pending(
    state: LabelState, plane: Plane, slice_count: int, gap_mm: float, options: EngineOptions
) -> dict[int, tuple[Run, ...]]:
    """Plan the walks from every slice of one plane that waits to be carried, by slice index.

    A thick box's range binds only in its own plane.
    """
    own = [index for p, index in state.anchors if p is plane]
    limits = state.limits if plane is state.limits_plane else None
    reach = int(min(options.range_mm / gap_mm, slice_count))
    waiting = sorted(index for p, index in state.pending if p is plane)
    return {index: plan_runs(index, own, slice_count, reach, limits) for index in waiting}


def carry_pending(
    state: LabelState,
    plans: Mapping[int, tuple[Run, ...]],
    canvas: LabelCanvas,
    predictor: Predictor,
    options: EngineOptions,
    on_step: Callable[[int], None],
) -> LabelState:
    """Walk from every planned slice of one plane; changes are staged on the canvas.

    Args:
        state: the label's state so far.
        plans: from ``plan_pending``.
        canvas: the label's masks.
        predictor: the model.
        options: the engine's numbers.
        on_step: called with the slice index after every slice; may raise Cancelled.

    Returns:
        The label's new state; nothing of this plane waits any more.
    """
    plane = canvas.plane
    records, pending = dict(state.records), dict(state.pending)
    walk = Walk(canvas, predictor, options)
    for index, runs in plans.items():
        change = pending.pop((plane, index)) ^ canvas.mask(index)
        for run in runs if change.any() else ():
            anchor = state.anchors[plane, run.anchor]
            start = _travelling(anchor, canvas.mask(run.anchor))
            for record in walk.run(run, logits=start, score=anchor.score, change=change, on_step=on_step):
                records[plane, record.index] = record
    return replace(state, records=records, pending=pending)


def _travelling(anchor: Anchor, mask: Mask) -> NDArray[np.float32]:
    """What an anchor's mask (h, w) travels as: the model's own logits where they agree with it."""
    logits = anchor.logits.astype(np.float32)
    return logits if np.array_equal(logits > 0, mask) else mask_logits(mask)
