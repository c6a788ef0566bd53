"""What a session is at one moment, and how it came to be: undo, redo, and a past that can be made anew.

Every step keeps the voxels that it changed (compressed), so undo and redo cost what the change cost, not what the
volume costs. Two lists are kept: the *steps* that a person can undo, one per log entry, and the *chain* of steps whose
entries make the present state from nothing. They differ once a prompt was taken out of the past or replaced there: that
is one undoable step, and a new end of the chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.propagate import LabelState
from promptseg.session.verbs import KeptPrompt
from promptseg.volume import Label
from promptseg.volume.label_voxels import Changed, Layers, Patch, as_slices, make_patch, union

__all__ = ["History", "HistoryStep", "Past", "Record", "State"]

Record: TypeAlias = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class State:
    """Everything but the voxels; replaced as a whole, never changed.

    Attributes:
        labels: by value.
        engine: what the engine knows of each label beyond its mask.
        locked: values of protected labels.
        overlap: who keeps its voxels, see ``Session.set_overlap``; "" as the engine's options say.
        spared: values that keep their voxels with overlap "visible".
        selected: the label that prompts go to; 0 before there is one.
        prompts: prompts in force, oldest first.
        next_id: the id of the next prompt.
    """

    labels: Mapping[int, Label] = field(default_factory=dict)
    engine: Mapping[int, LabelState] = field(default_factory=dict)
    locked: frozenset[int] = frozenset()
    overlap: str = ""
    spared: frozenset[int] = frozenset()
    selected: int = 0
    prompts: tuple[KeptPrompt, ...] = ()
    next_id: int = 1


@dataclass(frozen=True, eq=False)
class HistoryStep:
    """One log entry with everything that it replaced.

    Attributes:
        entry: as logged.
        before: the state that it found.
        after: the state that it left.
        patches: the voxels that it changed.
        base: the end of the chain that it found.
        past: the step changed the past; else it is itself the new end of the chain.
        rewritten: the new end of the chain, where the step changed the past.
    """

    entry: Mapping[str, Any]
    before: State
    after: State
    patches: tuple[Patch, ...]
    base: HistoryStep | None
    rewritten: HistoryStep | None = None
    past: bool = False

    @property
    def tip(self) -> HistoryStep | None:
        """The end of the chain after this step."""
        return self.rewritten if self.past else self


class Past(NamedTuple):
    """A history at one moment: what ``History.restore`` needs to go on from there.

    Attributes:
        state: the present one.
        done: steps that undo takes back, oldest first.
        undone: steps that redo brings back, the next one last.
        tip: the end of the chain.
        layers: the voxels by layer, uint8 (z, y, x).
    """

    state: State
    done: tuple[HistoryStep, ...]
    undone: tuple[HistoryStep, ...]
    tip: HistoryStep | None
    layers: Mapping[int, NDArray[np.uint8]]


class History:
    """The steps so far, and the present state.

    Args:
        layers: the voxels; changed in place.
        record: called with every entry, and ``{"op": "undo"}``, ``{"op": "redo"}`` or ``{"op": "select"}``, before it
            takes effect.
    """

    def __init__(self, layers: Layers, record: Record | None = None) -> None:
        self.layers = layers
        self.record = record
        self.state = State()
        self.done: list[HistoryStep] = []
        self.undone: list[HistoryStep] = []
        self._tip: HistoryStep | None = None
        self._rewriting = False

    def capture(self) -> Past:
        """Return all of it as it is now: values that nothing changes, and a copy of the voxels."""
        return Past(self.state, tuple(self.done), tuple(self.undone), self._tip, self.layers.copies())

    def restore(self, past: Past) -> None:
        """Make a captured history the present one."""
        self.state, self.done, self.undone, self._tip = past.state, list(past.done), list(past.undone), past.tip
        self.layers.replace(past.layers)

    def commit(self, entry: Mapping[str, Any], state: State, *patches: Patch | None) -> Changed | None:
        """Make a new state the present one and remember the old one; nothing before this call changed the session."""
        return self._commit(entry, state, tuple(patch for patch in patches if patch is not None), None, past=False)

    def undo(self) -> Changed | None:
        """Take the last step back; return the changed box, None when nothing changed."""
        if not self.done:
            return None
        self._note({"op": "undo"})
        step = self.done.pop()
        self.undone.append(step)
        self.state, self._tip = step.before, step.base
        return self._lay(step, after=False)

    def redo(self) -> Changed | None:
        """Bring back the step that was undone last; return the changed box, None when nothing changed."""
        if not self.undone:
            return None
        self._note({"op": "redo"})
        step = self.undone.pop()
        self.done.append(step)
        self.state, self._tip = step.after, step.tip
        return self._lay(step, after=True)

    def select(self, value: int) -> None:
        """Select a label: recorded, but no step."""
        if value != self.state.selected:
            if not self._rewriting:
                self._note({"op": "select", "label": value})
            self.state = replace(self.state, selected=value)

    def chain_from(self, wanted: Callable[[HistoryStep], bool]) -> list[HistoryStep]:
        """Return the chain's steps from the newest one that is ``wanted`` to the end; empty when there is none."""
        found: list[HistoryStep] = []
        step = self._tip
        while step is not None:
            found.append(step)
            if wanted(step):
                return found[::-1]
            step = step.base
        return []

    def rewrite(self, entry: Mapping[str, Any], old: list[HistoryStep], again: Callable[[], None]) -> Changed | None:
        """Change the past, as one undoable step.

        Args:
            entry: what is logged.
            old: the steps at the end of the chain that give way.
            again: commits the steps that take their place; what it raises leaves the session as it was.
        """
        present, tip = self.state, self._tip
        first = old[0]
        for step in reversed(old):
            self._lay(step, after=False)
        self.state, self._tip, self._rewriting = first.before, first.base, True
        try:
            again()
            state, new_tip, new = self.state, self._tip, self._since(first.base)
            patches = self._difference(old, new)
        finally:
            for step in reversed(self._since(first.base)):
                self._lay(step, after=False)
            for step in old:
                self._lay(step, after=True)
            self.state, self._tip, self._rewriting = present, tip, False
        state = replace(state, next_id=present.next_id)
        if present.selected in state.labels:
            state = replace(state, selected=present.selected)
        return self._commit(entry, state, patches, new_tip, past=True)

    def _commit(
        self, entry: Mapping[str, Any], state: State, patches: tuple[Patch, ...], tip: HistoryStep | None, *, past: bool
    ) -> Changed | None:
        entry = {**entry, "time": datetime.now(UTC).isoformat(timespec="seconds")}
        if patches:
            low, high = union([patch.box for patch in patches])
            entry = {**entry, "changed": [list(low), list(high)], "digest": _digest(patches)}
        step = HistoryStep(entry, self.state, state, patches, self._tip, tip, past)
        if not self._rewriting:
            self._note(entry)
            self.done.append(step)
            self.undone.clear()
        self.state, self._tip = state, step.tip
        return self._lay(step, after=True)

    def _note(self, entry: Mapping[str, Any]) -> None:
        if self.record is not None:
            self.record(entry)

    def _lay(self, step: HistoryStep, *, after: bool) -> Changed | None:
        for patch in step.patches:
            self.layers.lay(patch, after=after)
        return union([patch.box for patch in step.patches]) if step.patches else None

    def _since(self, base: HistoryStep | None) -> list[HistoryStep]:
        """Return the chain's steps after ``base``, oldest first."""
        steps: list[HistoryStep] = []
        step = self._tip
        while step is not None and step is not base:
            steps.append(step)
            step = step.base
        return steps[::-1]

    def _difference(self, old: list[HistoryStep], new: list[HistoryStep]) -> tuple[Patch, ...]:
        """Return the patches from where ``old`` leads to where ``new``, which is laid down now, leads."""
        boxes: dict[int, list[Changed]] = {}
        for step in (*old, *new):
            for patch in step.patches:
                boxes.setdefault(patch.layer, []).append(patch.box)
        whole = {layer: union(found) for layer, found in boxes.items()}
        wanted = {layer: self._copy(layer, box) for layer, box in whole.items()}
        for step in reversed(new):
            self._lay(step, after=False)
        for step in old:
            self._lay(step, after=True)
        present = {layer: self._copy(layer, box) for layer, box in whole.items()}
        for step in reversed(old):
            self._lay(step, after=False)
        for step in new:
            self._lay(step, after=True)
        made = [make_patch(layer, box, present[layer], wanted[layer]) for layer, box in whole.items()]
        return tuple(patch for patch in made if patch is not None)

    def _copy(self, layer: int, box: Changed) -> NDArray[np.uint8]:
        return self.layers.array(layer)[as_slices(box)].copy()


def _digest(patches: tuple[Patch, ...]) -> str:
    """The changed voxels' sha256 (hex); of several layers, that of their digests one after the other."""
    digests = [patch.digest for patch in patches]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
