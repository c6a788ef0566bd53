"""One call's work on one label: answer its prompts, then carry the masks, plane after plane.

The voxels are the same afterwards as before, also after an error or ``Cancelled``: the result is a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.fuse import best_slice, extent, vote, worth_walking
from promptseg.engine.hints import Hint, PlacedPrompt, by_plane
from promptseg.engine.interrupt import Interruptible
from promptseg.engine.options import EngineOptions
from promptseg.engine.progress import OnProgress, Reporter
from promptseg.engine.propagate import EMPTY_STATE, LabelState, answer_prompts, carry_pending, plan_pending
from promptseg.engine.slices import LabelCanvas, SliceSource
from promptseg.engine.volume.answer import Looker, VolumeState
from promptseg.engine.volume.merge import obeyed
from promptseg.engine.volume.told import Click, TrueSlice, is_drawn, on_slice
from promptseg.engine.volume.work import answer_in_volume
from promptseg.errors import SettingsError
from promptseg.models.predictor import SlicePrompts
from promptseg.models.volume_predictor import VolumePredictor
from promptseg.prompts import Plane
from promptseg.volume.label_voxels import Changed, Layers, Patch, as_slices, bounds, make_patch, union

__all__ = ["LabelWork", "require_volume_member", "volume_member"]

Mask = NDArray[np.bool_]
LEAST_SLICES = 3  # in every direction: thinner volumes are pictures, which have no third dimension to answer in
MOST_PASSES = 6  # of the 3D network in one call: a box, and clicks beside it


def volume_member(
    predictor: Interruptible, shape: tuple[int, int, int], options: EngineOptions
) -> VolumePredictor | None:
    """Return the 3D network that answers on a volume of this shape (z, y, x); None: masks are walked slice by slice."""
    if options.mode == "slices" or min(shape) < LEAST_SLICES or (options.mode == "auto" and options.fuse != "off"):
        return None
    return predictor.volume_predictor


def require_volume_member(predictor: Interruptible, options: EngineOptions) -> None:
    """Refuse ``mode="volume"`` for a model that works slice by slice only.

    Raises:
        SettingsError: it has no 3D network.
    """
    if options.mode == "volume" and predictor.volume_predictor is None:
        raise SettingsError(
            f"expected a model with a 3D network for mode 'volume', got {predictor.model_id!r}, which works slice by "
            "slice; use mode 'auto' or 'slices', or the model 'builtin'"
        )


class LabelWork:
    """Work out a label's new masks; use once.

    Args:
        source: the volume's cuts.
        predictor: the model.
        options: the engine's numbers.
        layers: the session's voxels.
        value: the label.
        locked: labels that keep their voxels.
    """

    def __init__(
        self,
        source: SliceSource,
        predictor: Interruptible,
        options: EngineOptions,
        layers: Layers,
        value: int,
        locked: frozenset[int],
    ) -> None:
        self._source, self._predictor, self._options = source, predictor, options
        self._layers, self._value, self._locked = layers, value, locked
        self._key = layers.key(value)
        self._written: list[tuple[Changed, NDArray[np.uint8]]] = []
        self._fresh: list[Changed] = []
        self._now: LabelCanvas | None = None
        self._volume = volume_member(predictor, source.volume.shape, options)
        self.slices = 0

    @property
    def answers_in_volume(self) -> bool:
        """Whether a 3D network answers here."""
        return self._volume is not None

    def run(
        self,
        state: LabelState,
        prompts: Sequence[PlacedPrompt],
        *,
        carry: bool,
        afresh: bool = False,
        on_progress: OnProgress | None,
    ) -> tuple[Patch | None, LabelState]:
        """Answer the prompts: in the volume, or on their own slices, and with ``carry`` walk from those that wait.

        Args:
            state: the label's.
            prompts: the new ones.
            carry: False: on their slices only.
            afresh: in the volume: from all prompts alone; what was answered before goes.
            on_progress: see ``Session.add``.

        Returns:
            The change (None: nothing changed) and the label's new state. ``slices`` holds how many slices were walked.
        """
        array = self._layers.array(self._key)
        reporter = Reporter(on_progress, fresh=self._take_fresh, labels_in=self._labels_in)
        try:
            with self._predictor.watched(reporter.beat if on_progress is not None else None):
                if carry and self._volume is not None:
                    looker = Looker(self._source.views, self._volume, on_pass=reporter.passed)
                    reporter.total = MOST_PASSES
                    state = self._answer_in_volume(state, (*state.asked, *prompts), looker, afresh=afresh)
                    self.slices = reporter.done
                else:
                    state = self._answer_slices(state, prompts)
                if not carry:
                    state = replace(state, asked=(*state.asked, *prompts))
                elif self._volume is None:
                    fuses = self._options.fuse == "auto" and state.pending.keys() == state.anchors.keys()
                    state = (self._carry_and_fuse if fuses else self._carry)(state, reporter)
            if not self._written:
                return None, state
            whole = union([box for box, _ in self._written])
            after = array[as_slices(whole)].copy()
        finally:
            for box, before in reversed(self._written):
                array[as_slices(box)] = before
        return make_patch(self._key, whole, array[as_slices(whole)], after), state

    def _answer_slices(self, state: LabelState, prompts: Sequence[PlacedPrompt]) -> LabelState:
        """Answer prompts on their own slices."""
        for group in by_plane(prompts):
            canvas = self.canvas(group.plane, state)
            state = answer_prompts(group, state, canvas, self._predictor)
            self._lay_down(canvas)
        return state

    def _answer_in_volume(
        self, state: LabelState, prompts: Sequence[PlacedPrompt], looker: Looker, *, afresh: bool
    ) -> LabelState:
        """Put slices that the slice model has answered meanwhile back, and let the volume engine answer.

        What is drawn is the slice model's, and stays.
        """
        for (plane, index), before in state.pending.items():
            canvas = self.canvas(plane, state)
            canvas.write(index, before)
            self._lay_down(canvas)
        anchors = {key: anchor for key, anchor in state.anchors.items() if key not in state.pending}
        state = replace(state, anchors=anchors, asked=())
        drawn = [placed for placed in prompts if any(is_drawn(hint) for hint in placed.hints.values())]
        state = replace(self._answer_slices(state, drawn), pending={})
        for placed in drawn:
            state = replace(state, volume=replace(state.volume, told=state.volume.told.drawn_over(placed)))
            self._keep_clicks(placed, state.volume.told.clicks, looker)
        known = [
            TrueSlice(plane, index, self.canvas(plane, state).mask(index))
            for (plane, index), anchor in state.anchors.items()
            if (plane, index) in state.accepted or is_drawn(anchor.hint)
        ]
        if afresh:
            self._lay_known(known)
            state = replace(state, volume=VolumeState(state.volume.told))
        told = [*state.volume.told.clicked(), *prompts] if afresh else prompts
        found = answer_in_volume(
            looker,
            self._layers.mask(self._value),
            state.volume,
            prompts,
            known=known,
            size_of=lambda: self._meant(told),
        )
        if found is None:
            return replace(state, volume=replace(state.volume, told=state.volume.told.plus(prompts)))
        self._lay(found.region, found.mask)
        return replace(state, volume=found.state)

    def _keep_clicks(self, drawn: PlacedPrompt, clicks: Sequence[Click], looker: Looker) -> None:
        """Let earlier clicks on slices that are drawn now stay as they say."""
        axis = drawn.plane.axis
        for click in clicks:
            if (at := click.voxel[axis]) not in drawn.hints:
                continue
            where = tuple(slice(at, at + 1) if a == axis else slice(0, n) for a, n in enumerate(looker.frame.shape))
            before, flat = self._layers.mask(self._value)[where], on_slice(click, axis)
            if before[flat.voxel] != click.positive:
                self._lay(where, obeyed(before, [flat], looker.frame.spacing_mm))

    def _lay_known(self, known: Sequence[TrueSlice]) -> None:
        """Leave nothing of the label but the slices that are as they are."""
        mask = self._layers.mask(self._value)
        if (box := bounds(mask)) is not None:
            left = np.zeros_like(mask)
            for each in known:
                left[(slice(None),) * each.plane.axis + (each.index,)] |= each.mask
            where = as_slices(box)
            self._lay(where, left[where])

    def _meant(self, prompts: Sequence[PlacedPrompt]) -> Changed | None:
        """The half-open box of what the slice model sees at first clicks, on their slices."""
        boxes = []
        for group in by_plane(prompts):
            canvas = self.canvas(group.plane, EMPTY_STATE)
            answer_prompts(group, EMPTY_STATE, canvas, self._predictor)
            boxes += [box] if (box := canvas.changed_box()) is not None else []
        return union(boxes) if boxes else None

    def _lay(self, where: tuple[slice, ...], mask: Mask) -> None:
        """Make a mask the label's in a part of the volume, as far as it may be, and remember what was there."""
        part = self._layers.array(self._key)[where]
        (z, y, x) = where
        box = ((z.start, y.start, x.start), (z.stop, y.stop, x.stop))
        self._written.append((box, part.copy()))
        refused = self._layers.refused(self._value, self._locked, where)
        part[(part == self._value) & ~mask] = 0
        part[mask if refused is None else mask & ~refused] = self._value

    def canvas(self, plane: Plane, state: LabelState, *, alone: bool = False) -> LabelCanvas:
        """Return the label's masks on the slices of one plane; ``alone``: only its own anchors' are seen."""
        others = () if alone else tuple(key for key in state.anchors if key[0] != plane)
        only = frozenset(index for p, index in state.anchors if p is plane) if alone else None
        return LabelCanvas(
            self._source, plane, self._layers, self._value, locked=self._locked, other_anchors=others, only=only
        )

    def _carry(self, state: LabelState, reporter: Reporter) -> LabelState:
        planes = list(dict.fromkeys(plane for plane, _ in state.pending))
        shape, gaps = self._source.volume.shape, self._source.volume.geometry.spacing_zyx
        plans = {p: plan_pending(state, p, shape[p.axis], gaps[p.axis], self._options) for p in planes}
        reporter.total = sum(len(run.steps) for plan in plans.values() for runs in plan.values() for run in runs)
        for plane in planes:
            self._now = canvas = self.canvas(plane, state)
            state = carry_pending(state, plans[plane], canvas, self._predictor, self._options, reporter.at(plane))
            self._lay_down(canvas)
        self.slices = reporter.done
        return state

    def _carry_and_fuse(self, state: LabelState, reporter: Reporter) -> LabelState:
        """Make an object's first walk in every plane that is worth it, each on its own, and let the planes vote."""
        spacing = self._source.volume.geometry.spacing_zyx
        prompted = list(dict.fromkeys(plane for plane, _ in state.pending))
        masks: dict[Plane, Mask] = {}
        for plane in prompted:
            masks[plane], state = self._walked(self.canvas(plane, state, alone=True), state, reporter)
        found = vote(masks, spacing)
        others = [plane for plane in worth_walking(spacing) if plane not in prompted] if found.any() else []
        for plane in others:
            masks[plane] = self._derived(plane, found, reporter)
        fused = vote(masks, spacing)
        self._now = canvas = self.canvas(prompted[0], state)
        for index in range(canvas.slice_count):
            old, protected = canvas.mask(index), canvas.protected(index)
            new = np.asarray(fused[(slice(None),) * canvas.plane.axis + (index,)])
            new = new if protected is None else np.where(protected, old, new)
            if (canvas.plane, index) not in state.anchors and not np.array_equal(new, old):
                canvas.write(index, new)
        self._lay_down(canvas)
        self.slices = reporter.done
        return state

    def _derived(self, plane: Plane, found: Mask, reporter: Reporter) -> Mask:
        """Walk in a plane without prompts, from the box of what the other planes found on its fullest slice."""
        index, limits = best_slice(found, plane), extent(found, plane)
        cut = np.asarray(found[(slice(None),) * plane.axis + (index,)])
        rows, columns = np.flatnonzero(cut.any(axis=1)), np.flatnonzero(cut.any(axis=0))
        box = (float(rows[0]), float(columns[0]), float(rows[-1]) + 1, float(columns[-1]) + 1)
        placed = PlacedPrompt(plane, {index: Hint(SlicePrompts(box=box))}, limits)
        canvas = self.canvas(plane, EMPTY_STATE, alone=True)
        state = answer_prompts(placed, EMPTY_STATE, canvas, self._predictor)
        return self._walked(canvas, state, reporter)[0]

    def _walked(self, canvas: LabelCanvas, state: LabelState, reporter: Reporter) -> tuple[Mask, LabelState]:
        """Carry what waits in one plane without writing it; return the mask (z, y, x) and the state afterwards."""
        plans = plan_pending(state, canvas.plane, canvas.slice_count, canvas.gap_mm, self._options)
        reporter.total += sum(len(run.steps) for runs in plans.values() for run in runs)
        state = carry_pending(state, plans, canvas, self._predictor, self._options, reporter.at(canvas.plane))
        return canvas.whole(), state

    def _lay_down(self, canvas: LabelCanvas) -> None:
        """Write the canvas into the voxels, and remember what they were."""
        fresh, box = canvas.take_fresh(), canvas.changed_box()
        self._fresh += [fresh] if fresh is not None else []
        if box is not None:
            self._written.append((box, self._layers.array(self._key)[as_slices(box)].copy()))
            canvas.lay_down()

    def _take_fresh(self) -> Changed | None:
        box = self._now.take_fresh() if self._now is not None else None
        boxes = [*self._fresh, *([box] if box is not None else [])]
        self._fresh = []
        return union(boxes) if boxes else None

    def _labels_in(self, box: Changed) -> NDArray[np.uint8]:
        staged = {self._key: self._now.staged_in(box)} if self._now is not None else {}
        return self._layers.flat(as_slices(box), staged)
