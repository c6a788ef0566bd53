"""One person's work on one volume: labels, prompts, masks, undo and redo. The one mutable object.

Its state is the result of its log. Every entry keeps the voxels it changed (compressed), so undo and redo cost what
the change cost, not what the volume costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.checks import Carried
from promptseg.engine.edits import Edit, edit_to_dict
from promptseg.engine.hints import PlacedPrompt, by_plane, place
from promptseg.engine.options import EngineOptions
from promptseg.engine.propagate import EMPTY_STATE, LabelState, accept_slice, apply_prompts
from promptseg.engine.slices import LabelCanvas, SliceSource
from promptseg.engine.walk import OnProgress, Progress
from promptseg.errors import GeometryMismatchError, PromptError, did_you_mean
from promptseg.layers import Changed, Layers, Patch, as_slices, make_patch, union
from promptseg.models.predictor import Predictor
from promptseg.prompts import MaskPrompt, Plane, Prompt, parse_plane, prompt_to_dict
from promptseg.volume import Label, Labelmap, Volume

__all__ = ["Session"]

MAX_LABEL = 255


@dataclass(frozen=True)
class _Step:
    """One undoable log entry with everything that it replaced."""

    entry: dict[str, Any]
    labels: tuple[Mapping[int, Label], Mapping[int, Label]]
    states: tuple[Mapping[int, LabelState], Mapping[int, LabelState]]
    locked: tuple[frozenset[int], frozenset[int]]
    selected: tuple[int, int]
    patch: Patch | None


class Session:
    """Volume + labels + prompt log. Make one with ``promptseg.open_session``.

    Label 1 exists from the first prompt on; ``new_label`` adds more. Every prompt goes to the selected label; its new
    voxels are taken from other labels unless those are locked.

    Args:
        volume: the image.
        predictor: the loaded model.
        options: the engine's numbers.
        record: called with every log entry, and ``{"op": "undo"}`` or ``{"op": "redo"}``, before it takes effect; when
            it raises, nothing has changed.
    """

    def __init__(
        self,
        volume: Volume,
        predictor: Predictor,
        options: EngineOptions | None = None,
        *,
        record: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.volume = volume
        self.options = options or EngineOptions()
        self._predictor = predictor
        self._record = record
        self._source = SliceSource(volume, predictor)
        self._layers = Layers(volume.shape, self.options.overlap)
        self._labels: Mapping[int, Label] = {}
        self._states: Mapping[int, LabelState] = {}
        self._locked: frozenset[int] = frozenset()
        self._selected = 0
        self._done: list[_Step] = []
        self._undone: list[_Step] = []

    # --- what a person sees -------------------------------------------------------------------------------------

    @property
    def model_id(self) -> str:
        """The model's id."""
        return self._predictor.model_id

    @property
    def labels(self) -> Mapping[int, Label]:
        """All labels by value."""
        return dict(self._labels)

    @property
    def selected(self) -> int:
        """The label that prompts go to; 0 before the first one exists."""
        return self._selected

    @property
    def labelmap(self) -> Labelmap:
        """A copy of all labels on the volume's grid; where labels may overlap, the higher value lies on top."""
        return Labelmap(self._layers.flat(), self.volume.geometry, dict(self._labels))

    @property
    def log(self) -> tuple[dict[str, Any], ...]:
        """The entries that made the present state, oldest first, as plain JSON types."""
        return tuple(step.entry for step in self._done)

    def mask(self, label: int | str | None = None) -> NDArray[np.bool_]:
        """Return bool (z, y, x) of one label (default: the selected one).

        Raises:
            PromptError: no such label.
        """
        if label is None and self._selected == 0:
            return np.zeros(self.volume.shape, np.bool_)
        return self._layers.mask(self._value(label))

    def review(self, label: int | str | None = None) -> tuple[Carried, ...]:
        """Return what the walks measured on the label's slices, least confident first."""
        value = self._value(label)
        records = self._states.get(value, EMPTY_STATE).records
        present = [
            record
            for (plane, index), record in records.items()
            if self._layers.has(value, (slice(None),) * plane.axis + (index,))
        ]
        return tuple(sorted(present, key=lambda record: record.confidence))

    # --- labels -------------------------------------------------------------------------------------------------

    def new_label(self, name: str | None = None) -> int:
        """Add a label, select it and return its value.

        Raises:
            PromptError: the name is taken, or 255 labels exist.
        """
        value = max(self._labels, default=0) + 1
        if value > MAX_LABEL:
            raise PromptError(f"expected at most {MAX_LABEL} labels, got one more")
        if name is not None and any(label.name == name for label in self._labels.values()):
            raise PromptError(f"expected a new label name, got {name!r}, which exists already; select it instead")
        label = Label.default(value, name)
        self._commit(
            {"op": "label", "value": value, "name": label.name}, labels={**self._labels, value: label}, selected=value
        )
        return value

    def select(self, label: int | str) -> int:
        """Make a label, by value or name, the one that prompts go to; return its value."""
        if label == 1 and not self._labels:
            return self.new_label()
        self._selected = self._value(label)
        return self._selected

    def lock(self, label: int | str, locked: bool = True) -> None:
        """Protect a label: no other label takes its voxels, prompts to it are refused; ``locked=False`` frees it."""
        value = self._value(label)
        new = self._locked | {value} if locked else self._locked - {value}
        self._commit({"op": "lock", "label": value, "locked": bool(locked)}, locked=frozenset(new))

    def _value(self, label: int | str | None) -> int:
        if label is None:
            label = self._selected
        for known in self._labels.values():
            if label in (known.value, known.name):
                return known.value
        names = [known.name for known in self._labels.values()]
        raise PromptError(f"no label {label!r}; known: {', '.join(names) or 'none'}{did_you_mean(str(label), names)}")

    # --- prompts ------------------------------------------------------------------------------------------------

    def add(self, *prompts: Prompt, propagate: bool = True, on_progress: OnProgress | None = None) -> Changed | None:
        """Add prompts to the selected label and bring its mask up to date.

        Several prompts in one call count as one step: all prompted slices are answered first, then propagated.

        Args:
            prompts: one or more prompts.
            propagate: False: only the prompted slices change.
            on_progress: called after every slice with a ``Progress``; raise ``Cancelled`` in it to stop: the session
                then stays as it was before the call.

        Returns:
            The half-open voxel box ((z0, y0, x0), (z1, y1, x1)) that changed, in any label; None when nothing did.

        Raises:
            PromptError: a prompt lies outside the image, or the label is locked.
            GeometryMismatchError: a mask prompt has another shape than the volume.
        """
        if not prompts:
            raise PromptError("expected at least one prompt, got none")
        masks = [p for p in prompts if isinstance(p, MaskPrompt)]
        if masks and len(prompts) > 1:
            raise PromptError("expected a mask prompt on its own; add it first, then the other prompts")
        placed = [place(p, self.volume.geometry) for p in prompts if not isinstance(p, MaskPrompt)]
        value = self._selected or 1
        if value in self._locked:
            raise PromptError(f"label {value} is locked; unlock it or select another one")
        slices = _Counter(on_progress)
        if masks:
            patch, state = self._with_mask(masks[0], value), EMPTY_STATE
        else:
            patch, state = self._with_prompts(placed, value, propagate, slices)
        entry = {
            "op": "prompt",
            "label": value,
            "propagate": bool(propagate),
            "prompts": [prompt_to_dict(p) for p in prompts],
            "slices": slices.count,
        }
        labels = self._labels if value in self._labels else {**self._labels, value: Label.default(value)}
        return self._commit(entry, labels=labels, states={**self._states, value: state}, selected=value, patch=patch)

    def accept(self, index: int, plane: Plane | str = Plane.AXIAL) -> None:
        """Make a slice of the selected label an anchor as it is: later prompts elsewhere never change it.

        Raises:
            PromptError: no such slice, no label yet, or the label is locked.
        """
        plane, value = parse_plane(plane), self._writable()
        if not 0 <= index < self.volume.shape[plane.axis]:
            raise PromptError(f"expected a {plane} slice from 0 to {self.volume.shape[plane.axis] - 1}, got {index}")
        state = self._states.get(value, EMPTY_STATE)
        state = accept_slice(state, plane, index, self._canvas(plane, value, state).mask(index))
        entry = {"op": "accept", "label": value, "plane": plane.value, "index": int(index)}
        self._commit(entry, states={**self._states, value: state})

    def _writable(self) -> int:
        value = self._value(None)
        if value in self._locked:
            raise PromptError(f"label {value} is locked; unlock it or select another one")
        return value

    def _with_mask(self, prompt: MaskPrompt, value: int) -> Patch | None:
        if prompt.mask.shape != self.volume.shape:
            raise GeometryMismatchError(
                f"expected a mask of the volume's shape (z, y, x) {self.volume.shape}, got {prompt.mask.shape}"
            )
        return self._layers.patch_to(value, prompt.mask, self._locked)

    def _with_prompts(
        self, placed: list[PlacedPrompt], value: int, propagate: bool, slices: _Counter
    ) -> tuple[Patch | None, LabelState]:
        """Work out the new masks plane by plane; the voxels themselves are the same afterwards, also after an error."""
        state = self._states.get(value, EMPTY_STATE)
        array = self._layers.array(self._layers.key(value))
        written: list[tuple[Changed, NDArray[np.uint8]]] = []
        try:
            for group in by_plane(placed):
                canvas = self._canvas(group.plane, value, state)
                state = apply_prompts(
                    group,
                    state,
                    canvas,
                    self._predictor,
                    slice_count=self.volume.shape[group.plane.axis],
                    options=self.options,
                    propagate=propagate,
                    on_progress=slices,
                )
                box = canvas.changed_box()
                if box is not None:
                    written.append((box, array[as_slices(box)].copy()))
                    canvas.lay_down()
            if not written:
                return None, state
            whole = union([box for box, _ in written])
            after = array[as_slices(whole)].copy()
        finally:
            for box, before in reversed(written):
                array[as_slices(box)] = before
        return make_patch(self._layers.key(value), whole, array[as_slices(whole)], after), state

    def _canvas(self, plane: Plane, value: int, state: LabelState) -> LabelCanvas:
        others = tuple(key for key in state.anchors if key[0] != plane)
        return LabelCanvas(self._source, plane, self._layers, value, locked=self._locked, other_anchors=others)

    # --- edits by hand ------------------------------------------------------------------------------------------

    def edit(self, edit: Edit) -> Changed | None:
        """Apply an edit by hand to the selected label: paint, fill holes, remove islands, grow, smooth, ...

        Locked labels keep their voxels. The edit is a log entry like a prompt: undoable, replayable.

        Returns:
            The half-open voxel box that changed; None when nothing did.

        Raises:
            PromptError: there is no label yet, it is locked, or the edit does not fit the image.
        """
        value = self._writable()
        wanted = edit.apply(self._layers.mask(value), self.volume)
        patch = self._layers.patch_to(value, wanted, self._locked)
        return self._commit({"op": "edit", "label": value, "edit": edit_to_dict(edit)}, patch=patch)

    # --- history ------------------------------------------------------------------------------------------------

    def undo(self) -> Changed | None:
        """Take the last entry back, with every voxel it took from other labels; return the changed box.

        Returns None when there is nothing to undo or no voxel changed.
        """
        if not self._done:
            return None
        self._note({"op": "undo"})
        step = self._done.pop()
        self._undone.append(step)
        return self._restore(step, 0)

    def redo(self) -> Changed | None:
        """Bring back the entry that was undone last; return the changed box, None when nothing was undone."""
        if not self._undone:
            return None
        self._note({"op": "redo"})
        step = self._undone.pop()
        self._done.append(step)
        return self._restore(step, 1)

    @property
    def can_undo(self) -> bool:
        """True when there is an entry to undo."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """True when there is an entry to redo."""
        return bool(self._undone)

    def record_to(self, record: Callable[[Mapping[str, Any]], None]) -> None:
        """From now on call ``record`` with every entry, as the constructor's argument of that name."""
        self._record = record

    def _note(self, entry: Mapping[str, Any]) -> None:
        if self._record is not None:
            self._record(entry)

    def _restore(self, step: _Step, side: int) -> Changed | None:
        self._labels, self._states = step.labels[side], step.states[side]
        self._locked, self._selected = step.locked[side], step.selected[side]
        if step.patch is None:
            return None
        self._layers.lay(step.patch, after=side == 1)
        return step.patch.box

    def _commit(
        self,
        entry: dict[str, Any],
        *,
        labels: Mapping[int, Label] | None = None,
        states: Mapping[int, LabelState] | None = None,
        locked: frozenset[int] | None = None,
        selected: int | None = None,
        patch: Patch | None = None,
    ) -> Changed | None:
        """Make a new state the present one and remember the old one; nothing before this line changed the session."""
        entry["time"] = datetime.now(UTC).isoformat(timespec="seconds")
        if patch is not None:
            entry = {**entry, "changed": [list(patch.box[0]), list(patch.box[1])], "digest": patch.digest}
        step = _Step(
            entry,
            (self._labels, labels if labels is not None else self._labels),
            (self._states, states if states is not None else self._states),
            (self._locked, locked if locked is not None else self._locked),
            (self._selected, selected if selected is not None else self._selected),
            patch,
        )
        self._note(entry)
        self._done.append(step)
        self._undone.clear()
        return self._restore(step, 1)

    # --- results ------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write all labels to a file (format by extension); return every file written."""
        from promptseg.io import write_labelmap

        return write_labelmap(self.labelmap, Path(path))

    def export_prompts(self, path: str | Path) -> Path:
        """Write the prompt log as JSON; ``promptseg.replay`` makes the same masks from it."""
        from promptseg.promptlog import PromptLog, write_log

        log = PromptLog(
            model_id=self.model_id,
            image_sha256=self.volume.content_hash,
            window=self.volume.window,
            options=self.options,
            entries=self.log,
        )
        return write_log(log, Path(path))


class _Counter:
    """Counts predicted slices and passes progress on."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self.count = 0
        self._on_progress = on_progress

    def __call__(self, progress: Progress) -> None:
        self.count += 1
        if self._on_progress is not None:
            self._on_progress(progress)
