"""What can be done to a session's labels: make, name, colour, lock, merge, delete, import. No model is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from promptseg.errors import PromptError, did_you_mean
from promptseg.session import label_steps
from promptseg.session.kept import KeptSession
from promptseg.session.one_at_a_time import one_at_a_time
from promptseg.session.replaying import import_entry
from promptseg.volume import Labelmap
from promptseg.volume.label_voxels import Changed
from promptseg.volume.onto_grid import labels_onto

__all__ = ["LabelledSession"]

OVERLAP_CHOICES = ("keep", "overwrite", "visible")


@one_at_a_time
class LabelledSession(KeptSession):
    """The side of a ``Session`` that a list of labels shows."""

    def new_label(self, name: str | None = None) -> int:
        """Add a label, select it and return its value.

        Raises:
            PromptError: the name is taken, or 255 labels exist.
        """
        state, label = label_steps.new_label(self._state, name)
        self._history.commit({"op": "label", "value": label.value, "name": label.name}, state)
        return label.value

    def select(self, label: int | str) -> int:
        """Make a label, by value or name, the one that prompts go to; return its value. No undo step."""
        if label == 1 and not self._state.labels:
            return self.new_label()
        self._history.select(value := self._value(label))
        return value

    def rename(self, label: int | str, name: str) -> None:
        """Give a label another name.

        Raises:
            PromptError: no such label; the name is empty or another label's.
        """
        value = self._value(label)
        state = label_steps.renamed(self._state, value, name)
        self._history.commit({"op": "rename", "label": value, "name": name}, state)

    def recolour(self, label: int | str, color: Sequence[int]) -> None:
        """Give a label another sRGB colour: red, green, blue of 0 ... 255.

        Raises:
            PromptError: no such label, or not a colour.
        """
        value = self._value(label)
        state = label_steps.recoloured(self._state, value, color)
        self._history.commit({"op": "recolour", "label": value, "color": list(state.labels[value].color)}, state)

    def lock(self, label: int | str, locked: bool = True) -> None:
        """Protect a label: no other label takes its voxels, prompts to it are refused; ``locked=False`` frees it."""
        value = self._value(label)
        new = self._state.locked | {value} if locked else self._state.locked - {value}
        entry = {"op": "lock", "label": value, "locked": bool(locked)}
        self._history.commit(entry, replace(self._state, locked=new))

    def set_overlap(self, rule: str, spared: Sequence[int | str] = ()) -> None:
        """Say what happens from now on where a label's new voxels belong to another label.

        Args:
            rule: "keep": they stay the other's. "overwrite": they are taken. "visible": they are taken, but for labels
                in ``spared``. Locked labels keep theirs in every case, and a brush takes from all others.
            spared: labels, by value or name, that are not shown and so keep what they have; with "visible" only.

        Raises:
            PromptError: another rule, or no such label; labels may overlap in this session.
        """
        if rule not in OVERLAP_CHOICES:
            raise PromptError(
                f"expected {', '.join(OVERLAP_CHOICES)}, got {rule!r}{did_you_mean(rule, OVERLAP_CHOICES)}"
            )
        if self.options.overlap == "allow":
            raise PromptError("labels may overlap in this session: none takes voxels from another")
        values = frozenset(self._value(label) for label in spared) if rule == "visible" else frozenset()
        entry = {"op": "overlap", "rule": rule, "spared": sorted(values)}
        self._history.commit(entry, replace(self._state, overlap=rule, spared=values))

    def delete_label(self, label: int | str) -> Changed | None:
        """Remove a label with its voxels and prompts; return the half-open voxel box that changed.

        Raises:
            PromptError: no such label, or it is locked.
        """
        value = self._writable(label)
        patch = self._layers.patch_to(value, np.zeros(self.volume.shape, np.bool_), ())
        state = label_steps.deleted(self._state, value)
        return self._history.commit({"op": "delete_label", "label": value}, state, patch)

    def merge_labels(self, label: int | str, into: int | str) -> Changed | None:
        """Give all voxels and prompts of one label to another, and remove it; return the box that changed.

        Raises:
            PromptError: no such label, one of them is locked, or both are the same.
        """
        source, target = self._writable(label), self._writable(into)
        if source == target:
            raise PromptError(f"expected two labels to merge, got label {source} twice")
        patches = self._layers.merge_patches(source, target)
        keys = {*self._engine_state(source).anchors, *self._engine_state(target).anchors}
        joined = self._layers.mask(source) | self._layers.mask(target)
        slices = {(plane, index): np.asarray(joined[(slice(None),) * plane.axis + (index,)]) for plane, index in keys}
        state = label_steps.merged(self._state, source, target, slices)
        return self._history.commit({"op": "merge_labels", "label": source, "into": target}, state, *patches)

    def import_labels(self, labelmap: Labelmap, only: Sequence[str] = ()) -> tuple[int, ...]:
        """Add a label for every label of a labelmap that has voxels, all as one step; return the new values.

        The last one is selected; locked labels keep their voxels. ``only`` names those to take; all when empty.
        Labels in the same space, whose voxels coincide with the image's, are put onto its grid.

        Raises:
            GeometryMismatchError, PromptError: another grid; a name that is taken, or more than 255 labels.
        """
        labelmap, _ = labels_onto(labelmap, self.volume.geometry)
        state, made = label_steps.imported(self._state, labelmap, only)
        if made.labels:
            self._history.commit(import_entry(made), state, *self._layers.import_patches(made.array, self._kept()))
        return tuple(made.labels)

    def _kept(self, value: int = 0) -> frozenset[int]:
        """Return the labels whose voxels a label may not take."""
        if self.overlap == "keep":
            return frozenset(self._state.labels) - {value}
        return self._state.locked | self._state.spared
