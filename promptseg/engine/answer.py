"""A prompt's answer on its own slice: what the model says, held to what the prompt can mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.carry import MODEL_LIMIT, OWN_LEAST, grown, mask_logits
from promptseg.engine.distances import signed_distance_mm
from promptseg.engine.expect import AROUND_MM, Tissue, as_logits
from promptseg.engine.hints import Hint, merge_hints
from promptseg.engine.negatives import with_locked
from promptseg.engine.rejected import Box, beside, is_rejected, other_than
from promptseg.engine.slices import LabelCanvas
from promptseg.models.predictor import Embedding, Predictor, Prior, SlicePrompts

__all__ = ["Anchor", "answer_slice"]

Mask = NDArray[np.bool_]
NEAREST_REACH_MM = 60.0  # farther away a mask says little about this slice
KEPT_SHAPE = 0.5  # weight of the mask that a correction finds on its slice
LEAST_LEFT = 0.1  # share of a slice's mask that a click on a part of it leaves
OBEYED_MM = 3.0  # around a click that the model does not heed, what is taken from its word
CLICK_SPOT_MM = 6.0  # around a negative click, what is surely not the object
CLICK_REACH_MM = 60.0  # how far a negative click says which intensities are not the object
CLICK_WEIGHT = 3.0  # there: more than an unsure model
OUTLINE_MARGIN_MM = 2.0  # how far an answer may go beyond a lasso: a hand-drawn line is not exact


@dataclass(frozen=True, eq=False)
class Anchor:
    """A slice that a person has prompted: all hints so far, and the model's last answer as float16 logits (h, w)."""

    hint: Hint
    logits: NDArray[np.float16]
    score: float


def answer_slice(
    index: int, hint: Hint, anchors: Mapping[int, Anchor], canvas: LabelCanvas, predictor: Predictor
) -> Anchor:
    """Answer a new hint on a slice, together with what was said there before; the mask is staged on the canvas.

    Args:
        index: the slice.
        hint: what is new.
        anchors: of the canvas's plane, by slice index; the slice itself may be among them.
        canvas: the label's masks.
        predictor: the model.
    """
    before = anchors.get(index)
    told = merge_hints(before.hint if before is not None else None, hint)
    if _wrong_thing(index, hint, anchors, canvas):
        boxes = {at: anchor.hint.prompts.box for at, anchor in anchors.items() if anchor.hint.prompts.box}
        return _predict_other(index, hint, told, boxes, canvas=canvas, predictor=predictor)
    known = [at for at in anchors if at != index and canvas.mask(at).any()]
    nearest = min(known, key=lambda at: (abs(at - index), at), default=None)
    return _predict_anchor(index, hint, told, before, nearest, canvas=canvas, predictor=predictor)


def _wrong_thing(index: int, hint: Hint, anchors: Mapping[int, Anchor], canvas: LabelCanvas) -> bool:
    """Whether the hint is a negative click that rejects the whole mask on its slice.

    Where a person has seen to the nearest anchor or has pointed at something on the slice, and where nothing was
    prompted because the mask came from elsewhere, a click is about a part.
    """
    prompts = hint.prompts
    if not anchors:
        return False
    if len(prompts.points) != 1 or prompts.positive.any() or prompts.scribble is not None or prompts.box is not None:
        return False
    seen_to = [at for at, anchor in anchors.items() if _seen_to(anchor.hint)]
    if min(anchors, key=lambda at: (abs(at - index), at)) in seen_to:
        return False
    if index in anchors and anchors[index].hint.prompts.positive.any():
        return False
    low = max((at + 1 for at in seen_to if at < index), default=0)
    high = min((at for at in seen_to if at > index), default=canvas.slice_count)
    (y, x), size = np.rint(prompts.points[0]).astype(int), (canvas.gap_mm, *canvas.spacing_mm)
    return is_rejected(canvas.mask, index, (int(y), int(x)), range(low, high), size)


def _seen_to(hint: Hint) -> bool:
    """Whether a person has said more of a slice than a box or what is inside: corrected, drawn or accepted it."""
    prompts = hint.prompts
    drawn = prompts.scribble is not None or hint.outline is not None or hint.erased is not None
    return drawn or prompts.is_empty or not prompts.positive.all()


def _predict_other(
    index: int, hint: Hint, told: Hint, boxes: Mapping[int, Box], *, canvas: LabelCanvas, predictor: Predictor
) -> Anchor:
    """Look for something else where a click rejects the mask: in the box that the object has on the nearest slice with
    one; without any box there is nothing left to go by, and the slice is emptied.
    """
    old, locked = canvas.mask(index), canvas.locked(index)
    logits, score = mask_logits(np.zeros_like(old)), 0.5
    if boxes:
        box = boxes[min(boxes, key=lambda at: (abs(at - index), at))]
        (y, x) = np.rint(hint.prompts.points[0]).astype(int)
        guess = other_than(canvas.pixels(index), old, (int(y), int(x)), box, canvas.spacing_mm)
        guess = guess if locked is None else guess & ~locked
        if guess.any():
            asked = with_locked(replace(hint.prompts, box=box), locked, canvas.spacing_mm)
            logits, score = _found_other(guess, asked, canvas.embedding(index), predictor)
    mask = logits > 0
    canvas.write(index, mask if locked is None else mask & ~locked)
    return Anchor(told, logits.astype(np.float16), score)


def _found_other(
    guess: Mask, prompts: SlicePrompts, embedding: Embedding, predictor: Predictor
) -> tuple[NDArray[np.float32], float]:
    """Join the model's answers to a guess and to the box, as those to a carried mask are."""
    guessed = predictor.predict(embedding, replace(prompts, box=None), Prior(mask_logits(guess)))
    boxed = predictor.predict(embedding, prompts)
    of_guess, of_box = (np.clip(answer.logits, -MODEL_LIMIT, MODEL_LIMIT) for answer in (guessed, boxed))
    share = np.float32(OWN_LEAST)
    return share * of_guess + (1 - share) * of_box, OWN_LEAST * guessed.score + (1 - OWN_LEAST) * boxed.score


def _predict_anchor(
    index: int,
    hint: Hint,
    merged: Hint,
    before: Anchor | None,
    nearest: int | None,
    *,
    canvas: LabelCanvas,
    predictor: Predictor,
) -> Anchor:
    """Answer all hints of one slice and stage its mask; ``nearest`` is another anchor that has one, or None."""
    old = canvas.mask(index)
    prior = _anchor_prior(hint, before, old) or _nearest_mask(index, hint, canvas)
    locked = canvas.locked(index)
    told = with_locked(merged.prompts, locked, canvas.spacing_mm)
    answer = predictor.predict(canvas.embedding(index), told, prior)
    logits = answer.logits
    if nearest is not None and hint.outline is None and hint.prompts.box is None:
        logits = _as_expected(index, logits, old, canvas, nearest)
    if old.any() and hint.prompts.box is None and hint.outline is None and not hint.prompts.positive.all():
        logits = logits + _unlike_clicked(canvas.pixels(index), old, hint.prompts, canvas.spacing_mm)
    mask = _obeyed(logits > 0, hint, old, was_anchor=before is not None, spacing_mm=canvas.spacing_mm)
    if merged.outline is not None:
        mask = mask & grown(merged.outline, OUTLINE_MARGIN_MM, canvas.spacing_mm)
    if merged.prompts.scribble is not None:  # paint is an order, not a hint
        mask = (mask | (merged.prompts.scribble > 0)) & ~(merged.prompts.scribble < 0)
    if merged.erased is not None:
        mask = mask & ~merged.erased
    if locked is not None:
        mask = mask & ~locked
    if not np.array_equal(mask, old):
        canvas.write(index, mask)
    return Anchor(merged, logits.astype(np.float16), answer.score)


def _as_expected(
    index: int, logits: NDArray[np.float32], old: Mask, canvas: LabelCanvas, nearest: int
) -> NDArray[np.float32]:
    """Join the model's answer to a correction (h, w) with the object's intensities elsewhere and the mask so far."""
    there = canvas.mask(nearest)
    around = grown(there, AROUND_MM, canvas.spacing_mm) & ~there
    joined = np.clip(logits, -MODEL_LIMIT, MODEL_LIMIT)
    if around.any():
        pixels = canvas.pixels(nearest)
        joined = joined + Tissue(pixels[there], pixels[around]).logits(canvas.pixels(index))
    if old.any():
        shape = as_logits(signed_distance_mm(old, canvas.spacing_mm), max(canvas.gap_mm, sum(canvas.spacing_mm) / 2))
        joined = joined + np.float32(KEPT_SHAPE) * shape
    return np.asarray(joined, np.float32)


def _unlike_clicked(
    pixels: NDArray[np.float32], old: Mask, prompts: SlicePrompts, spacing_mm: tuple[float, float]
) -> NDArray[np.float32]:
    """What negative clicks say about the mask around them (h, w): how much more a pixel is like the mask than like the
    clicked places, less with the distance from them. So one click on bone takes the bone off a liver, not a spot.
    """
    clicked = np.zeros_like(old)
    for y, x in np.rint(prompts.points[~prompts.positive]).astype(int):
        clicked[y, x] = True
    far = np.clip(1 + signed_distance_mm(clicked, spacing_mm) / np.float32(CLICK_REACH_MM), 0, 1)
    spot = grown(clicked, CLICK_SPOT_MM, spacing_mm) & old
    rest = old & ~spot
    if not spot.any() or not rest.any():
        return np.zeros(old.shape, np.float32)
    return np.asarray(np.float32(CLICK_WEIGHT) * far * np.minimum(Tissue(pixels[rest], pixels[spot]).logits(pixels), 0))


def _obeyed(mask: Mask, hint: Hint, old: Mask, *, was_anchor: bool, spacing_mm: tuple[float, float]) -> Mask:
    """Hold an answer to what a hint can mean.

    What is said to be too much never adds, and a click beside the middle never takes nearly all. A click on what is
    missing on a slice that a person has seen to before never takes away, and the clicked place itself is as it says.
    """
    positive, points = hint.prompts.positive, hint.prompts.points
    if _takes_away(hint):
        mask = mask & old
    if len(points) == 0 or hint.prompts.box is not None or hint.prompts.scribble is not None or not old.any():
        return mask
    if not positive.any():
        if np.count_nonzero(mask) < LEAST_LEFT * np.count_nonzero(old):
            mask = beside(old, points, spacing_mm)
    elif positive.all() and was_anchor:
        mask = mask | old
    for (y, x), wanted in zip(np.rint(points).astype(int), positive, strict=True):
        if mask[y, x] != wanted:
            spot = np.zeros_like(mask)
            spot[y, x] = True
            spot = grown(spot, OBEYED_MM, spacing_mm)
            mask = mask | spot if wanted else mask & ~spot
    return mask


def _takes_away(hint: Hint) -> bool:
    """Whether a hint says only what the object is not."""
    prompts = hint.prompts
    stroke = prompts.scribble
    said = prompts.box is not None or hint.outline is not None or prompts.positive.any()
    drawn = stroke is not None and bool((stroke > 0).any())
    denied = len(prompts.points) > 0 or stroke is not None or hint.erased is not None
    return denied and not said and not drawn


def _nearest_mask(index: int, hint: Hint, canvas: LabelCanvas) -> Prior | None:
    """The label's mask on the nearest slice that has one, for a click on a slice where it is missing.

    The model then knows what is looked for and how large it is. A mask that the click misses is moved onto the click.
    """
    points = hint.prompts.points[hint.prompts.positive]
    if len(points) == 0 or hint.prompts.box is not None:
        return None
    reach = max(1, round(min(NEAREST_REACH_MM / canvas.gap_mm, canvas.slice_count)))
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
    if not old.any():
        return None
    own = before is not None and np.array_equal(before.logits > 0, old)
    return Prior(before.logits.astype(np.float32) if before is not None and own else mask_logits(old))
