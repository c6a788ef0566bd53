"""One call's prompts on one label, answered in the volume: from the mask so far to the mask that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.hints import PlacedPrompt
from promptseg.engine.volume.answer import Looker, VolumeAnswer, VolumeState, previous_of
from promptseg.engine.volume.engine import answer_around, answer_box, correct
from promptseg.engine.volume.grid import Region, ViewGrid
from promptseg.engine.volume.merge import merged, obeyed
from promptseg.engine.volume.placing import MASK_ROOM, around, around_box, as_deep_as_wide
from promptseg.engine.volume.told import Click, PlacedBox, Told, TrueSlice, on_slice
from promptseg.prompts import Plane
from promptseg.volume.label_voxels import Changed, bounds

__all__ = ["Outcome", "answer_in_volume"]

Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What is wanted.

    Attributes:
        region: the part of the volume that was looked at.
        mask: bool, the label's mask there.
        state: what is known of the label now.
    """

    region: Region
    mask: Mask
    state: VolumeState


def answer_in_volume(
    looker: Looker,
    mask: Mask,
    state: VolumeState,
    prompts: Sequence[PlacedPrompt],
    *,
    known: Sequence[TrueSlice] = (),
    size_of: Callable[[], Changed | None] = lambda: None,
) -> Outcome | None:
    """Answer new prompts on a label; None where they do not say where it is.

    Args:
        looker: asks the 3D network.
        mask: bool (z, y, x), the label's so far, with what was drawn.
        state: what is known of it.
        prompts: the new ones.
        known: slices that are as they are.
        size_of: gives the half-open voxel box of what first clicks alone mean on their slices, or None.
    """
    told = state.told.plus(prompts)
    looker.known = [each.clicked(told.clicks[len(state.told.clicks) :]) for each in known]
    boxed = told.box if told.box is not state.told.box else None
    drawn = bounds(mask)
    if drawn is not None and _without(mask, known).any():
        if boxed is not None:
            grid, new = around_box(boxed, told.span, looker.frame), told.clicks[:0]
        else:
            grid, new = _around_mask(looker, mask, drawn, state.answer), told.clicks[len(state.told.clicks) :]
        return _corrected(looker, mask, replace(state, told=told), grid, new)
    if told.box is not None:
        return _boxed(looker, mask, told, told.box)
    if (size := drawn or size_of()) is None:
        return None
    answer = answer_around(looker, told, as_deep_as_wide(size, looker.frame))
    return _settled(looker, VolumeState(told, answer, own=True), mask)


def _boxed(looker: Looker, mask: Mask, told: Told, box: PlacedBox) -> Outcome:
    """Answer a box as a new object, and only then the clicks that came with it.

    The network has learnt clicks as corrections: beside a box, with no answer to correct, they can lose it the object.
    """
    alone = replace(told, clicks=())
    first = _settled(looker, VolumeState(alone, answer_box(looker, alone, box), own=True), mask)
    if not told.clicks:
        return first
    so_far = mask.copy()
    so_far[first.region] = first.mask
    drawn = bounds(so_far)
    if drawn is None or not _without(so_far, looker.known).any():
        return _settled(looker, VolumeState(told, answer_box(looker, told, box), own=True), mask)
    grid = _around_mask(looker, so_far, drawn, first.state.answer)
    then = _corrected(looker, so_far, replace(first.state, told=told), grid, told.clicks)
    so_far[then.region] = then.mask
    z, y, x = (
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first.region, then.region, strict=True)
    )
    return Outcome((z, y, x), so_far[z, y, x], then.state)


def _around_mask(looker: Looker, mask: Mask, drawn: Changed, last: VolumeAnswer | None) -> ViewGrid:
    """The view of a mask: of what the last answer's view holds of it, else of all of it (``drawn``)."""
    within = None if last is None else _bounds_in(mask, last.grid.region(mask.shape))
    return around(*(within or drawn), (MASK_ROOM,) * 3, looker.frame)


def _corrected(looker: Looker, mask: Mask, state: VolumeState, grid: ViewGrid, new: Sequence[Click]) -> Outcome:
    """Answer what was told with the mask so far known; new clicks change what they lie in."""
    last, shape = state.answer, looker.frame.shape
    answer = correct(looker, state.told, grid, lambda view: previous_of(lambda part: mask[part], shape, view, last))
    return _settled(looker, replace(state, answer=answer), mask, new)


def _bounds_in(mask: Mask, region: Region) -> Changed | None:
    """The half-open voxel box around the part of a mask in a region; None where there is nothing."""
    found = bounds(mask[region])
    if found is None:
        return None
    (z0, y0, x0), (z1, y1, x1) = found
    z, y, x = (cut.start for cut in region)
    return ((z + z0, y + y0, x + x0), (z + z1, y + y1, x + x1))


def _without(mask: Mask, known: Sequence[TrueSlice]) -> Mask:
    rest = mask.copy() if known else mask
    for each in known:
        rest[(slice(None),) * each.plane.axis + (each.index,)] = False
    return rest


def _settled(looker: Looker, state: VolumeState, old: Mask, merge_at: Sequence[Click] = ()) -> Outcome:
    """Hold an answer to what was said: the range, what clicks may change (``merge_at``), and what is as it is."""
    answer, told = state.answer, state.told
    if answer is None:
        raise ValueError("expected a state with an answer")
    region = answer.grid.region(old.shape)
    before, found = old[region], answer.mask_in(region)
    if told.span is not None:
        axis, first, stop = told.span
        inside = np.moveaxis(found, axis, 0)
        inside[: max(0, first - region[axis].start)] = False
        inside[max(0, stop - region[axis].start) :] = False
    clicks = [Click(_local(click.voxel, region), click.positive) for click in told.clicks]
    if merge_at:
        found = merged(before, found, [_local(click.voxel, region) for click in merge_at], own=state.own)
    found = obeyed(found, clicks, looker.frame.spacing_mm)
    for each in looker.known:
        axis = each.plane.axis
        if region[axis].start <= each.index < region[axis].stop:
            at = (slice(None),) * axis + (each.index - region[axis].start,)
            found[at] = _true(each, before[at], found[at], region, looker.frame.spacing_mm)
    return Outcome(region, found, replace(state, confidence=_confidence(answer, region, found, old.shape)))


def _true(known: TrueSlice, before: Mask, found: Mask, region: Region, spacing_mm: tuple[float, float, float]) -> Mask:
    """Return what a slice that a person has accepted or drawn holds: what it held, but for what clicks on it change."""
    if not known.clicks:
        return before
    axis = known.plane.axis
    flat = [on_slice(Click(_local(click.voxel, region), click.positive), axis) for click in known.clicks]
    old, new = np.expand_dims(before, axis), np.expand_dims(found, axis)
    changed = obeyed(merged(old, new, [click.voxel for click in flat], own=False), flat, spacing_mm)
    return changed.squeeze(axis)


def _local(voxel: tuple[int, int, int], region: Region) -> tuple[int, int, int]:
    z, y, x = (v - cut.start for v, cut in zip(voxel, region, strict=True))
    return (z, y, x)


def _confidence(
    answer: VolumeAnswer, region: Region, mask: Mask, shape: tuple[int, ...]
) -> dict[Plane, NDArray[np.float32]]:
    """Return, by plane, the expected Dice of every slice's mask with what was meant, by the answer's probabilities."""
    counts = [np.zeros((2, n), np.float64) for n in mask.shape]  # by axis: of the mask's voxels, and of the object's
    for at, probability in enumerate(answer.probabilities(region)):
        inside = np.where(mask[at], probability, np.float32(0))
        size = mask[at] + probability
        for axis, count in enumerate(counts):
            where = at if axis == 0 else slice(None)
            across = None if axis == 0 else 2 - axis
            count[0, where] += inside.sum(axis=across)
            count[1, where] += size.sum(axis=across)
    strips = {}
    for plane in Plane:
        strips[plane] = np.full(shape[plane.axis], np.nan, np.float32)
        sure, size = counts[plane.axis]
        present = mask.any(axis=tuple(axis for axis in range(3) if axis != plane.axis))
        strips[plane][region[plane.axis]] = np.where(present, 2 * sure / np.maximum(size, 1e-6), np.nan)
    return strips
