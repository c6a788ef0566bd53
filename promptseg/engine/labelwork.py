"""One call's work on one label: answer its prompts, then carry the masks, plane after plane.

The voxels are the same afterwards as before, also after an error or ``Cancelled``: the result is a patch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.hints import PlacedPrompt, by_plane
from promptseg.engine.interrupt import Interruptible
from promptseg.engine.options import EngineOptions
from promptseg.engine.progress import OnProgress, Reporter
from promptseg.engine.propagate import LabelState, answer_prompts, carry_pending, plan_pending
from promptseg.engine.slices import LabelCanvas, SliceSource
from promptseg.layers import Changed, Layers, Patch, as_slices, make_patch, union
from promptseg.prompts import Plane

__all__ = ["LabelWork"]


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
        self.slices = 0

    def run(
        self, state: LabelState, prompts: Sequence[PlacedPrompt], *, carry: bool, on_progress: OnProgress | None
    ) -> tuple[Patch | None, LabelState]:
        """Answer the prompts on their own slices; with ``carry`` then walk from every slice that waits for it.

        Returns:
            The change (None: nothing changed) and the label's new state. ``slices`` holds how many slices were walked.
        """
        array = self._layers.array(self._key)
        reporter = Reporter(on_progress, fresh=self._take_fresh, labels_in=self._labels_in)
        try:
            with self._predictor.watched(reporter.beat if on_progress is not None else None):
                for group in by_plane(prompts):
                    canvas = self.canvas(group.plane, state)
                    state = answer_prompts(group, state, canvas, self._predictor)
                    self._lay_down(canvas)
                if carry:
                    state = self._carry(state, reporter)
            if not self._written:
                return None, state
            whole = union([box for box, _ in self._written])
            after = array[as_slices(whole)].copy()
        finally:
            for box, before in reversed(self._written):
                array[as_slices(box)] = before
        return make_patch(self._key, whole, array[as_slices(whole)], after), state

    def canvas(self, plane: Plane, state: LabelState) -> LabelCanvas:
        """Return the label's masks on the slices of one plane."""
        others = tuple(key for key in state.anchors if key[0] != plane)
        return LabelCanvas(self._source, plane, self._layers, self._value, locked=self._locked, other_anchors=others)

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
