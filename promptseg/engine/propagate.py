"""One prompt's effect on one label: predict its slices, then walk from each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.checks import Carried
from promptseg.engine.hints import Hint, PlacedPrompt, merge_hints
from promptseg.engine.options import EngineOptions
from promptseg.engine.plan import Run, plan_runs
from promptseg.engine.slices import LabelCanvas
from promptseg.engine.walk import OnProgress, Walk, grown, mask_logits, progress_counter
from promptseg.models.predictor import Predictor, Prior, SlicePrompts
from promptseg.prompts import Plane

__all__ = ["EMPTY_STATE", "Anchor", "LabelState", "accept_slice", "apply_prompts"]

Mask = NDArray[np.bool_]
NEAREST_REACH_MM = 60.0  # farther away a mask says little about this slice
OUTLINE_MARGIN_MM = 2.0  # how far an answer may go beyond a lasso: a hand-drawn line is not exact


@dataclass(frozen=True, eq=False)
class Anchor:
    """A slice that a person has prompted: all hints so far, and the model's last answer as float16 logits (h, w)."""

    hint: Hint
    logits: NDArray[np.float16]
    score: float


@dataclass(frozen=True)
class LabelState:
    """What the engine knows of one label beyond its mask; replaced as a whole, never changed.

    Attributes:
        anchors: (plane, slice index) to anchor.
        limits: half-open axial slice range from the last thick box, or None.
        records: (plane, slice index) to what the last walk measured there.
    """

    anchors: Mapping[tuple[Plane, int], Anchor]
    limits: tuple[int, int] | None = None
    records: Mapping[tuple[Plane, int], Carried] = field(default_factory=dict)


EMPTY_STATE = LabelState({})


def accept_slice(state: LabelState, plane: Plane, index: int, mask: Mask) -> LabelState:
    """Return the state with the slice as an anchor that keeps its mask (h, w); earlier hints on it stay."""
    before = state.anchors.get((plane, index))
    hint = before.hint if before is not None else Hint(SlicePrompts())
    anchor = Anchor(hint, mask_logits(mask).astype(np.float16), 1.0)
    records = {key: record for key, record in state.records.items() if key != (plane, index)}
    return replace(state, anchors={**state.anchors, (plane, index): anchor}, records=records)


def apply_prompts(
    placed: PlacedPrompt,
    state: LabelState,
    canvas: LabelCanvas,
    predictor: Predictor,
    *,
    slice_count: int,
    options: EngineOptions,
    propagate: bool,
    on_progress: OnProgress | None = None,
) -> LabelState:
    """Apply placed prompts of one plane to one label; changes are staged on the canvas.

    Args:
        placed: hints by slice.
        state: the label's state so far.
        canvas: the label's masks.
        predictor: the model.
        slice_count: number of slices in the plane.
        options: the engine's numbers.
        propagate: False: only the prompted slices change.
        on_progress: called after every predicted slice; may raise Cancelled.

    Returns:
        The label's new state.
    """
    plane = placed.plane
    limits = placed.limits or state.limits
    anchors = dict(state.anchors)
    records = dict(state.records)
    changes: dict[int, Mask] = {}
    for index, hint in sorted(placed.hints.items()):
        anchors[plane, index], changes[index] = _predict_anchor(
            index, hint, anchors.get((plane, index)), canvas, predictor
        )
        records.pop((plane, index), None)
    state = LabelState(anchors, limits, records)
    if not propagate:
        return state
    own = [index for p, index in anchors if p == plane]
    runs = [(index, _plan(plane, index, own, limits, slice_count, canvas.gap_mm, options)) for index in sorted(changes)]
    total = sum(len(run.steps) for _, pair in runs for run in pair)
    on_step = progress_counter(total, on_progress)
    walk = Walk(canvas, predictor, options)
    for index, pair in runs:
        if changes[index].any():
            for record in _walk_both(walk, canvas, index, anchors[plane, index], pair, changes[index], on_step):
                records[plane, record.index] = record
    return replace(state, records=records)


def _plan(
    plane: Plane,
    index: int,
    anchors: list[int],
    limits: tuple[int, int] | None,
    slice_count: int,
    gap_mm: float,
    options: EngineOptions,
) -> tuple[Run, Run]:
    """Plan an anchor's walks; a thick box's range binds only in the axial plane."""
    reach = int(options.range_mm / gap_mm)
    return plan_runs(index, anchors, slice_count, reach, limits if plane is Plane.AXIAL else None)


def _walk_both(
    walk: Walk,
    canvas: LabelCanvas,
    index: int,
    anchor: Anchor,
    runs: tuple[Run, Run],
    change: Mask,
    on_step: Callable[[], None],
) -> list[Carried]:
    """Walk down and up from one anchor; return what was measured."""
    logits = anchor.logits.astype(np.float32)
    mask = canvas.mask(index)
    if not np.array_equal(logits > 0, mask):
        logits = mask_logits(mask)
    return [
        record for run in runs for record in walk.run(run, anchor=index, logits=logits, change=change, on_step=on_step)
    ]


def _predict_anchor(
    index: int, hint: Hint, before: Anchor | None, canvas: LabelCanvas, predictor: Predictor
) -> tuple[Anchor, Mask]:
    """Answer all hints of one slice and stage its mask; return the anchor and where the mask changed."""
    merged = merge_hints(before.hint if before is not None else None, hint)
    old = canvas.mask(index)
    prior = _anchor_prior(hint, before, old) or _nearest_mask(index, hint, canvas)
    answer = predictor.predict(canvas.embedding(index), merged.prompts, prior)
    mask = answer.mask
    if merged.outline is not None:
        mask = mask & grown(merged.outline, OUTLINE_MARGIN_MM, canvas.spacing_mm)
    if merged.prompts.scribble is not None:  # paint is an order, not a hint
        mask = (mask | (merged.prompts.scribble > 0)) & ~(merged.prompts.scribble < 0)
    if merged.erased is not None:
        mask = mask & ~merged.erased
    locked = canvas.locked(index)
    if locked is not None:
        mask = mask & ~locked
    changed = mask ^ old
    if changed.any():
        canvas.write(index, mask)
    return Anchor(merged, answer.logits.astype(np.float16), answer.score), changed


def _nearest_mask(index: int, hint: Hint, canvas: LabelCanvas) -> Prior | None:
    """The label's mask on the nearest slice that has one, for a click on a slice where it is missing.

    The model then knows what is looked for and how large it is. A mask that the click misses is moved onto the click.
    """
    points = hint.prompts.points[hint.prompts.positive]
    if len(points) == 0 or hint.prompts.box is not None:
        return None
    reach = max(1, round(NEAREST_REACH_MM / canvas.gap_mm))
    around = (at for step in range(1, reach + 1) for at in (index - step, index + step))
    nearest = next((at for at in around if 0 <= at < canvas.slice_count and canvas.mask(at).any()), None)
    if nearest is None:
        return None
    mask = canvas.mask(nearest)
    y, x = (round(float(v)) for v in points[-1])
    if not mask[y, x]:
        rows, columns = np.nonzero(mask)
        mask = _moved(mask, y - round(float(rows.mean())), x - round(float(columns.mean())))
    return Prior(mask_logits(mask), neighbour=canvas.embedding(nearest))


def _moved(mask: Mask, dy: int, dx: int) -> Mask:
    """Shift a mask (h, w) by whole pixels; what leaves the slice is lost."""
    h, w = mask.shape
    moved = np.zeros_like(mask)
    source = mask[max(0, -dy) : min(h, h - dy), max(0, -dx) : min(w, w - dx)]
    moved[max(0, dy) : max(0, dy) + source.shape[0], max(0, dx) : max(0, dx) + source.shape[1]] = source
    return moved


def _anchor_prior(hint: Hint, before: Anchor | None, old: Mask) -> Prior | None:
    """What the model is told of this slice's mask: a fresh outline, its own last answer, or the mask carried here."""
    if hint.outline is not None:
        return Prior(mask_logits(hint.outline))
    if before is not None and np.array_equal(before.logits > 0, old):
        return Prior(before.logits.astype(np.float32))
    return Prior(mask_logits(old)) if old.any() else None
