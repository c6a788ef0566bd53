"""What can be read off a session: labels, prompts in force, masks, confidence, the log. Nothing here changes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.interrupt import Interruptible
from promptseg.engine.options import EngineOptions
from promptseg.engine.propagate import EMPTY_STATE, LabelState
from promptseg.errors import ModelError, PromptError
from promptseg.models.predictor import Predictor
from promptseg.prompts import Plane, parse_plane
from promptseg.session import label_steps
from promptseg.session.held import HeldSession
from promptseg.session.history import History, Record, State
from promptseg.session.one_at_a_time import Occupied, one_at_a_time
from promptseg.session.prompt_log import PromptLog
from promptseg.session.verbs import KeptPrompt, SliceReview
from promptseg.volume import Geometry, Label, Labelmap, Volume
from promptseg.volume.label_voxels import Changed, Layers, as_slices
from promptseg.volume.labelmap import find_label

__all__ = ["SessionView"]


@one_at_a_time
class SessionView(HeldSession, Occupied):
    """The read side of a ``Session``.

    Args:
        volume: the image.
        predictor: the loaded model.
        options: the engine's numbers.
        record: see ``Session``.
    """

    def __init__(self, volume: Volume, predictor: Predictor, options: EngineOptions, record: Record | None) -> None:
        super().__init__()
        self.volume = volume
        self.options = options
        self._predictor = Interruptible(predictor)
        self._layers = Layers(volume.shape, options.overlap)
        self._history = History(self._layers, record)

    @property
    def geometry(self) -> Geometry:
        """The image's frame."""
        return self.volume.geometry

    @property
    def model_id(self) -> str:
        """The model's id."""
        return self._predictor.model_id

    @property
    def weights_hash(self) -> str:
        """The sha256 of the model's weights; "" for a model that has none, or is not of the registry."""
        from promptseg.models.loading import weights_hash

        try:
            return weights_hash(self.model_id)
        except ModelError:
            return ""

    @property
    def labels(self) -> Mapping[int, Label]:
        """All labels by value."""
        return dict(self._state.labels)

    @property
    def locked(self) -> frozenset[int]:
        """Values of the protected labels."""
        return self._state.locked

    @property
    def overlap(self) -> str:
        """What happens where a label's new voxels belong to another label: keep, overwrite, visible or allow."""
        return self._state.overlap or self.options.overlap

    @property
    def selected(self) -> int:
        """The label that prompts go to; 0 before the first one exists."""
        return self._state.selected

    @property
    def prompts(self) -> tuple[KeptPrompt, ...]:
        """The prompts in force, oldest first, as (id, label, prompt); an id names its prompt for good."""
        return self._state.prompts

    @property
    def labelmap(self) -> Labelmap:
        """A copy of all labels on the volume's grid; where labels may overlap, the higher value lies on top."""
        with self._turn:
            return Labelmap(self._layers.flat(), self.volume.geometry, dict(self._state.labels))

    @property
    def log(self) -> tuple[dict[str, Any], ...]:
        """The entries that made the present state, oldest first, as plain JSON types."""
        return tuple(dict(step.entry) for step in self._history.done)

    @property
    def step_count(self) -> int:
        """How many entries the log has."""
        return len(self._history.done)

    @property
    def undone(self) -> tuple[dict[str, Any], ...]:
        """The entries that ``redo`` would bring back, the next one last."""
        return tuple(dict(step.entry) for step in self._history.undone)

    def prompt_log(self) -> PromptLog:
        """Return the log with everything that makes the same masks from it: model, weights, image, window, engine."""
        image, window = self.volume.content_hash, self.volume.window
        return PromptLog(self.log, self.model_id, image, window, self.options, self.weights_hash)

    def mask(self, label: int | str | None = None) -> NDArray[np.bool_]:
        """Return bool (z, y, x) of one label (default: the selected one).

        Raises:
            PromptError: no such label.
        """
        if label is None and self.selected == 0:
            return np.zeros(self.volume.shape, np.bool_)
        return self._layers.mask(self._value(label))

    def labels_in(self, box: Changed) -> NDArray[np.uint8]:
        """Return all labels inside a half-open voxel box, uint8 (z, y, x): cheap, for a face that shows a change."""
        return self._layers.flat(as_slices(box))

    def is_pending(self, label: int | str | None = None) -> bool:
        """True when ``propagate`` has something to do for the label."""
        state = self._engine_state(self._value(label))
        return bool(state.pending or state.waiting)

    def review(self, label: int | str | None = None) -> tuple[SliceReview, ...]:
        """Return the label's slices that the engine answered, least confident first."""
        value = self._value(label)
        state = self._engine_state(value)
        found = [
            SliceReview(plane, index, record.confidence, record.reason, record)
            for (plane, index), record in state.records.items()
            if self._layers.has(value, (slice(None),) * plane.axis + (index,))
        ]
        plane = state.volume.told.plane
        found += [
            SliceReview(plane, index, round(float(sure), 4), "")
            for index, sure in enumerate(state.volume.confidence.get(plane, ()))
            if np.isfinite(sure) and (plane, index) not in state.anchors
            if self._layers.has(value, (slice(None),) * plane.axis + (index,))
        ]
        return tuple(sorted(found, key=lambda slice_review: slice_review.confidence))

    def confidence(self, label: int | str | None = None, plane: Plane | str = Plane.AXIAL) -> NDArray[np.float32]:
        """Return (n slices,) of the plane: 0 ... 1 where the engine answered, 1 on slices that a person prompted in the
        plane (answered in the volume: accepted or drew).

        NaN where the label has nothing, or nothing is known: imported or drawn by hand.
        """
        value, plane = self._value(label), parse_plane(plane)
        state = self._engine_state(value)
        unknown = np.full(self.volume.shape[plane.axis], np.nan, np.float32)
        strip = np.array(state.volume.confidence.get(plane, unknown))
        for (p, index), record in state.records.items():
            if p is plane:
                strip[index] = record.confidence
        strip[[index for p, index in state.anchors if p is plane]] = 1
        present = self._layers.mask(value).any(axis=tuple(axis for axis in range(3) if axis != plane.axis))
        return np.where(present, strip, np.float32(np.nan))

    def probabilities(self, label: int | str | None = None) -> NDArray[np.float32]:
        """Return float32 (z, y, x): how probably each voxel is the label's, as the 3D network answered last.

        Where the mask is not what that answer said (drawn, imported, kept from before), it is 1 inside and 0 outside.

        Raises:
            PromptError: no such label, or it was never answered in the volume.
        """
        value = self._value(label)
        answer = self._engine_state(value).volume.answer
        if answer is None:
            raise PromptError(
                "expected a label that a 3D network has answered, got one without probabilities; use a model with one "
                "and mode 'auto' or 'volume', and add a prompt"
            )
        mask = self._layers.mask(value)
        found = mask.astype(np.float32)
        region = answer.grid.region(self.volume.shape)
        for part, inside, said in zip(found[region], mask[region], answer.probabilities(region), strict=True):
            np.copyto(part, said, where=(said > 0.5) == inside)
        return found

    @property
    def _state(self) -> State:
        return self._history.state

    def _engine_state(self, value: int) -> LabelState:
        return self._state.engine.get(value, EMPTY_STATE)

    def _value(self, label: int | str | None) -> int:
        return find_label(self._state.labels, self._state.selected if label is None else label).value

    def _writable(self, label: int | str | None = None) -> int:
        return label_steps.unlocked(self._state, self._value(label))
