"""One person's work on one volume: labels, prompts, masks, undo and redo. The one mutable object.

Its state is the result of its log: every verb that changes something is one log entry, one undo step, one line of the
journal. One thread at a time: a second one's verb waits until the first one's is over; ``Progress`` tells what it has
found so far.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.edits import Edit, Paint, applied, edit_to_dict
from promptseg.engine.hints import PlacedPrompt, place
from promptseg.engine.labelwork import LabelWork, require_volume_member
from promptseg.engine.memory import estimate_memory, require_memory
from promptseg.engine.options import EngineOptions
from promptseg.engine.progress import OnProgress
from promptseg.engine.propagate import EMPTY_STATE, accept_slice
from promptseg.engine.slices import DEFAULT_CACHE_BYTES, SliceSource
from promptseg.errors import GeometryMismatchError, PromptError
from promptseg.models.predictor import Predictor
from promptseg.prompts import MaskPrompt, Plane, Prompt, TextPrompt, parse_plane, prompt_from_dict, prompt_to_dict
from promptseg.session import label_steps
from promptseg.session.history import HistoryStep, Record
from promptseg.session.labelled import LabelledSession
from promptseg.session.one_at_a_time import one_at_a_time
from promptseg.session.pointed_at import labels_pointed_at
from promptseg.session.prompt_log import write_log
from promptseg.session.replaying import perform
from promptseg.session.text_engines import TextEngine, resolve_text
from promptseg.session.verbs import KeptPrompt
from promptseg.volume import Label, Volume
from promptseg.volume.label_voxels import SHARED, Changed, Patch

__all__ = ["Session"]

LOGGER = logging.getLogger(__name__)


@one_at_a_time
class Session(LabelledSession):
    """Volume + labels + prompt log. Make one with ``promptseg.open_session``.

    Label 1 exists from the first prompt on; ``new_label`` adds more. Every prompt goes to the selected label; what
    other labels hold stays theirs, unless ``set_overlap`` or the options say otherwise.

    Args:
        volume: the image.
        predictor: the loaded model.
        options: the engine's numbers.
        cache_bytes: what the model may keep of the slices that it has seen.
        text_engine: who answers a ``TextPrompt``; None: the installed engines.
        record: called with every log entry, and ``{"op": "undo"}``, ``{"op": "redo"}`` or ``{"op": "select"}``, before
            it takes effect; when it raises, nothing has changed.
    """

    def __init__(
        self,
        volume: Volume,
        predictor: Predictor,
        options: EngineOptions | None = None,
        *,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        text_engine: TextEngine | None = None,
        record: Record | None = None,
    ) -> None:
        options = options or EngineOptions()
        needed = estimate_memory(volume.shape, int(volume.array.nbytes), options, cache_bytes)
        require_memory(needed, held=needed.image)
        super().__init__(volume, predictor, options, record)
        require_volume_member(self._predictor, options)
        self._text_engine = text_engine
        self._source = SliceSource(volume, self._predictor, cache_bytes)

    def drop_embeddings(self) -> None:
        """Forget what the model keeps of the slices; it is made again when it is needed."""
        self._source.drop()

    def close(self) -> None:
        """Give back the memory of embeddings, and the session's folder to others; a kept one refuses to change then.

        ``with promptseg.open_session(...) as session:`` does it at the block's end.
        """
        super().close()
        self.drop_embeddings()

    # --- prompts ------------------------------------------------------------------------------------------------

    def add(
        self,
        *prompts: Prompt,
        propagate: bool = True,
        predict: bool = True,
        on_progress: OnProgress | None = None,
    ) -> Changed | None:
        """Add prompts to the selected label and bring its mask up to date.

        Several prompts in one call count as one step: all prompted slices are answered first, then propagated.

        Args:
            prompts: one or more prompts.
            propagate: False: only the prompted slices change; ``propagate()`` carries them on later, to the same
                result.
            predict: False: the model is not asked, nothing changes yet; the label's next ``add`` or ``propagate()``
                answers these prompts with its own.
            on_progress: called after every slice with a ``Progress``; raise ``Cancelled`` in it to stop: the session
                then stays as it was before the call.

        Returns:
            The half-open voxel box ((z0, y0, x0), (z1, y1, x1)) that changed, in any label; None when nothing did.

        Raises:
            PromptError: a prompt lies outside the image, or the label is locked.
            GeometryMismatchError: a mask prompt has another shape than the volume.
        """
        entry = {"op": "prompt", "propagate": bool(propagate), "predict": bool(predict)}
        first = self._state.next_id
        started = time.perf_counter()
        changed = self._put(entry, prompts, range(first, first + len(prompts)), on_progress)
        LOGGER.debug("%d prompts: changed %s in %.2f s", len(prompts), changed, time.perf_counter() - started)
        return changed

    def propagate(
        self, label: int | str | None = None, *, afresh: bool = False, on_progress: OnProgress | None = None
    ) -> Changed | None:
        """Carry the prompted slices of a label (default: the selected one) on to their neighbours.

        ``add(..., propagate=False)`` followed by this gives the same masks as ``add(...)``. Nothing waits: nothing
        happens, nothing is logged.

        Args:
            label: by value or name.
            afresh: where a 3D network answers: from the label's prompts alone, whether they wait or not; what was
                answered before goes, but for accepted and drawn slices. Slice by slice this makes no difference.
            on_progress: as ``add``.

        Returns, Raises: as ``add``.
        """
        value = self._writable(label)
        work, state = self._work(value), self._engine_state(value)
        afresh = afresh and work.answers_in_volume
        if not (afresh and state.volume.told.says_where) and not self.is_pending(value):
            return None
        prompts, state = state.waiting, replace(state, waiting=())
        patch, state = work.run(state, prompts, carry=True, afresh=afresh, on_progress=on_progress)
        entry = {"op": "propagate", "label": value, "afresh": afresh, "slices": work.slices}
        after = replace(self._state, engine={**self._state.engine, value: state}, selected=value)
        return self._history.commit(entry, after, patch)

    def remove_prompt(self, prompt_id: int, *, on_progress: OnProgress | None = None) -> Changed | None:
        """Take a prompt back, however long ago it was added: the state becomes that of the log without it.

        What came after it is worked out again. One undo step; returns, raises and ``on_progress`` as ``add``.

        Raises:
            PromptError: no prompt in force has this id.
        """
        entry = {"op": "remove_prompt", "id": int(prompt_id)}
        return self._rewrite(entry, prompt_id, (), on_progress)

    def replace_prompt(
        self, prompt_id: int, prompt: Prompt, *, on_progress: OnProgress | None = None
    ) -> Changed | None:
        """Put another prompt in a prompt's place (moved, resized, turned around): the log's state with that one.

        Otherwise as ``remove_prompt``; the id stays.
        """
        entry = {"op": "replace_prompt", "id": int(prompt_id), "prompt": prompt_to_dict(prompt)}
        return self._rewrite(entry, prompt_id, (prompt,), on_progress)

    def accept(self, index: int, plane: Plane | str = Plane.AXIAL) -> None:
        """Make a slice of the selected label an anchor as it is: later prompts elsewhere never change it.

        Raises:
            PromptError: no such slice, no label yet, or the label is locked.
        """
        plane, value = parse_plane(plane), self._writable()
        if not 0 <= index < self.volume.shape[plane.axis]:
            raise PromptError(f"expected a {plane} slice from 0 to {self.volume.shape[plane.axis] - 1}, got {index}")
        state = self._engine_state(value)
        state = accept_slice(state, plane, index, self._work(value).canvas(plane, state).mask(index))
        entry = {"op": "accept", "label": value, "plane": plane.value, "index": int(index)}
        self._history.commit(entry, replace(self._state, engine={**self._state.engine, value: state}))

    def _work(self, value: int) -> LabelWork:
        return LabelWork(self._source, self._predictor, self.options, self._layers, value, self._kept(value))

    def _put(
        self, entry: Mapping[str, Any], prompts: Sequence[Prompt], ids: Sequence[int], on_progress: OnProgress | None
    ) -> Changed | None:
        """Add prompts under these ids, as the entry's ``propagate`` and ``predict`` say."""
        if not prompts:
            raise PromptError("expected at least one prompt, got none")
        value = label_steps.unlocked(self._state, self.selected or 1)
        prompts = [
            resolve_text(p, self.volume, self._text_engine, on_progress=on_progress) if isinstance(p, TextPrompt) else p
            for p in prompts
        ]
        masks = [p for p in prompts if isinstance(p, MaskPrompt | TextPrompt)]
        if masks and len(prompts) > 1:
            raise PromptError("expected a mask or text prompt on its own; add it first, then the other prompts")
        placed = tuple(place(p, self.volume.geometry) for p in prompts if not isinstance(p, MaskPrompt | TextPrompt))
        self._say_what_is_kept(value, placed)
        state, patch, slices = self._engine_state(value), None, 0
        if masks:
            state, patch = EMPTY_STATE, self._imported(masks[0], value)
        elif not entry.get("predict", True):
            state = replace(state, waiting=(*state.waiting, *placed))
        else:
            work, placed = self._work(value), (*state.waiting, *placed)
            carry = bool(entry.get("propagate", True))
            patch, state = work.run(replace(state, waiting=()), placed, carry=carry, on_progress=on_progress)
            slices = work.slices
            if not carry and placed and placed[-1].hints:  # a person looks: there is time for the slices beside it
                self._source.look_ahead(placed[-1].plane, max(placed[-1].hints))
        kept = tuple(KeptPrompt(at, value, prompt) for at, prompt in zip(ids, prompts, strict=True))
        before = self._state
        after = replace(
            before,
            labels=before.labels if value in before.labels else {**before.labels, value: Label.default(value)},
            engine={**before.engine, value: state},
            selected=value,
            prompts=(*(p for p in before.prompts if not masks or p.label != value), *kept),
            next_id=max(before.next_id, *(at + 1 for at in ids)),
        )
        made = {"label": value, "ids": list(ids), "prompts": [prompt_to_dict(p) for p in prompts], "slices": slices}
        return self._history.commit({**entry, **made}, after, patch)

    def _say_what_is_kept(self, value: int, placed: Sequence[PlacedPrompt]) -> None:
        """Warn where prompts point at voxels that their label may not take."""
        if self.options.overlap == "allow":
            return
        kept = labels_pointed_at(placed, self._layers.array(SHARED), self._kept(value))
        if kept:
            LOGGER.warning(
                "a prompt of label %d points at voxels that label %s keeps; after session.set_overlap('overwrite') it "
                "takes those that are not locked",
                value,
                ", ".join(map(str, kept)),
            )

    def _imported(self, prompt: MaskPrompt | TextPrompt, value: int) -> Patch | None:
        """Return the change to a given mask; one that was found by its name takes no voxel from another label."""
        if prompt.mask is None or prompt.mask.shape != self.volume.shape:
            raise GeometryMismatchError(
                f"expected a mask of the volume's shape (z, y, x) {self.volume.shape}, got {np.shape(prompt.mask)}"  # type: ignore[arg-type]
            )
        kept = self._kept(value) if isinstance(prompt, MaskPrompt) else frozenset(self._state.labels) - {value}
        return self._layers.patch_to(value, prompt.mask, kept)

    def _rewrite(
        self, entry: Mapping[str, Any], prompt_id: int, instead: Sequence[Prompt], on_progress: OnProgress | None
    ) -> Changed | None:
        """Work out the log's state anew, from the prompt's own entry on, with something else in its place."""
        kept = next((kept for kept in self.prompts if kept.id == prompt_id), None)
        if kept is None:
            ids = ", ".join(str(each.id) for each in self.prompts)
            raise PromptError(f"expected the id of a prompt in force ({ids or 'there is none'}), got {prompt_id!r}")
        label_steps.unlocked(self._state, kept.label)
        steps = self._history.chain_from(lambda step: prompt_id in step.entry.get("ids", ()))

        def again() -> None:
            self._put_changed(steps[0], prompt_id, instead, on_progress)
            for step in steps[1:]:
                if step.entry["op"] == "prompt":
                    self._put_changed(step, 0, (), on_progress)
                else:
                    perform(self, step.entry, on_progress)

        return self._history.rewrite(entry, steps, again)

    def _put_changed(
        self, step: HistoryStep, prompt_id: int, instead: Sequence[Prompt], on_progress: OnProgress | None
    ) -> None:
        """Perform a prompt entry again, under its own ids, with one prompt replaced or left out."""
        value, entry = int(step.entry["label"]), step.entry
        given: list[tuple[int, Prompt]] = []
        for at, item in zip(entry["ids"], entry["prompts"], strict=True):
            given += [(at, p) for p in (instead if at == prompt_id else [prompt_from_dict(item)])]
        if value not in self._state.labels and not given:
            self.new_label()  # it came with its first prompt, and stays without it
        if value in self._state.labels:
            self.select(value)
        if given:
            how = {key: entry[key] for key in ("op", "propagate", "predict") if key in entry}
            self._put(how, [prompt for _, prompt in given], [at for at, _ in given], on_progress)

    # --- edits by hand ------------------------------------------------------------------------------------------

    def edit(
        self, edit: Edit, *, worker: Callable[[Edit, NDArray[np.bool_], Volume], NDArray[np.bool_]] = applied
    ) -> Changed | None:
        """Apply an edit by hand to the selected label: paint, fill holes, remove islands, grow, smooth, ...

        A brush takes from every label that is not locked; all other edits keep to ``set_overlap``. The edit is a log
        entry like a prompt: undoable, replayable.

        Args:
            edit: what to do.
            worker: gives what ``edit.apply`` gives, for example from another process.

        Returns:
            The half-open voxel box that changed; None when nothing did.

        Raises:
            PromptError: there is no label yet, it is locked, or the edit does not fit the image.
        """
        value = self._writable()
        old = self._layers.mask(value)
        wanted = worker(edit, old, self.volume)
        if isinstance(edit, Paint) and edit.within is not None:
            wanted = np.where(self._layers.mask(self._value(edit.within)), wanted, old)
        kept = self._state.locked if isinstance(edit, Paint) else self._kept(value)
        patch = self._layers.patch_to(value, wanted, kept)
        return self._history.commit({"op": "edit", "label": value, "edit": edit_to_dict(edit)}, self._state, patch)

    # --- history ------------------------------------------------------------------------------------------------

    def undo(self) -> Changed | None:
        """Take the last entry back, with every voxel it took from other labels; return the changed box.

        Returns None when there is nothing to undo or no voxel changed.
        """
        return self._history.undo()

    def redo(self) -> Changed | None:
        """Bring back the entry that was undone last; return the changed box, None when nothing was undone."""
        return self._history.redo()

    @property
    def can_undo(self) -> bool:
        """True when there is an entry to undo."""
        return bool(self._history.done)

    @property
    def can_redo(self) -> bool:
        """True when there is an entry to redo."""
        return bool(self._history.undone)

    # --- results ------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write all labels to a mask file or a surface by its extension, never over the image; return the files."""
        from promptseg.export.formats import write_labels
        from promptseg.io.outputs import require_output

        return write_labels(self.labelmap, require_output(path, inputs=self.volume.sources))

    def export_prompts(self, path: str | Path) -> Path:
        """Write the prompt log as JSON; ``promptseg.replay`` makes the same masks from it."""
        return write_log(self.prompt_log(), Path(path))
