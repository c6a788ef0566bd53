"""What can be done to a session's labels: pure functions from one ``State`` to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.answer import Anchor
from promptseg.engine.carry import mask_logits
from promptseg.engine.hints import merge_hints
from promptseg.engine.propagate import EMPTY_STATE, LabelState
from promptseg.engine.volume.answer import VolumeState
from promptseg.errors import PromptError
from promptseg.prompts import Plane
from promptseg.session.history import State
from promptseg.volume import Label, Labelmap
from promptseg.volume.labelmap import colour

__all__ = ["MAX_LABEL", "deleted", "imported", "merged", "new_label", "recoloured", "renamed", "unlocked"]

MAX_LABEL = 255


def unlocked(state: State, value: int) -> int:
    """Return the value of a label that may be changed.

    Raises:
        PromptError: it is locked.
    """
    if value in state.locked:
        raise PromptError(f"label {value} is locked; unlock it or select another one")
    return value


def new_label(state: State, name: str | None) -> tuple[State, Label]:
    """Return the state with one more label, which is selected, and the label.

    Raises:
        PromptError: the name is taken or empty, or 255 labels exist.
    """
    value = max(state.labels, default=0) + 1
    if value > MAX_LABEL:
        value = next((free for free in range(1, MAX_LABEL + 1) if free not in state.labels), 0)
    if value == 0:
        raise PromptError(f"expected at most {MAX_LABEL} labels, got one more")
    label = Label.default(value, None if name is None else _free_name(state, name))
    return replace(state, labels={**state.labels, value: label}, selected=value), label


def imported(state: State, labelmap: Labelmap, only: Sequence[str] = ()) -> tuple[State, Labelmap]:
    """Return the state with a new label for every label that has voxels, and the labelmap with the new values.

    Args:
        state: the state.
        labelmap: where they come from.
        only: names of those to take; all when empty.

    Raises:
        PromptError: a name is taken, or there would be more than 255 labels.
    """
    counts = np.bincount(labelmap.array.ravel())
    table, made = np.zeros(len(counts), np.uint8), dict[int, Label]()
    for value in np.flatnonzero(counts).tolist():
        known = labelmap.labels.get(value) or Label.default(value)
        if value and (not only or known.name in only):
            state, label = new_label(state, known.name)
            state = recoloured(state, label.value, known.color)
            table[value], made[label.value] = label.value, state.labels[label.value]
    return state, Labelmap(table[labelmap.array], labelmap.geometry, made)


def _free_name(state: State, name: str, value: int | None = None) -> str:
    if not isinstance(name, str) or not name.strip():
        raise PromptError(f"expected a label name of at least one letter, got {name!r}")
    if any(label.name == name and label.value != value for label in state.labels.values()):
        raise PromptError(f"expected a new label name, got {name!r}, which exists already; select it instead")
    return name


def renamed(state: State, value: int, name: str) -> State:
    """Return the state with another name for a label.

    Raises:
        PromptError: the name is empty or another label's.
    """
    label = replace(state.labels[value], name=_free_name(state, name, value))
    return replace(state, labels={**state.labels, value: label})


def recoloured(state: State, value: int, color: Sequence[int]) -> State:
    """Return the state with another sRGB colour (three of 0 ... 255) for a label.

    Raises:
        PromptError: not a colour.
    """
    label = replace(state.labels[value], color=colour(color))
    return replace(state, labels={**state.labels, value: label})


def deleted(state: State, value: int) -> State:
    """Return the state without a label and its prompts; where it was selected, the last other label is."""
    labels = {key: label for key, label in state.labels.items() if key != value}
    return replace(
        state,
        labels=labels,
        engine={key: known for key, known in state.engine.items() if key != value},
        locked=state.locked - {value},
        spared=state.spared - {value},
        selected=max(labels, default=0) if state.selected == value else state.selected,
        prompts=tuple(kept for kept in state.prompts if kept.label != value),
    )


def merged(state: State, source: int, into: int, slices: Mapping[tuple[Plane, int], NDArray[np.bool_]]) -> State:
    """Return the state after one label was joined to another and is gone; its prompts are the other's now.

    Args:
        state: the state.
        source: the label that goes.
        into: the label that stays and is selected.
        slices: the joined mask (h, w) on every anchor of both.
    """
    kept, gone = (state.engine.get(value, EMPTY_STATE) for value in (into, source))
    anchors = {}
    for key, mask in slices.items():
        mine, other = kept.anchors.get(key), gone.anchors.get(key)
        hints = [anchor.hint for anchor in (other, mine) if anchor is not None]
        hint = hints[0] if len(hints) == 1 else merge_hints(hints[0], hints[1])
        anchors[key] = Anchor(hint, mask_logits(mask).astype(np.float16), 1.0)
    alike = (kept.limits, kept.limits_plane) == (gone.limits, gone.limits_plane)
    joined = LabelState(
        anchors,
        kept.limits if alike else None,
        {key: record for key, record in {**gone.records, **kept.records}.items() if key not in anchors},
        {**gone.pending, **kept.pending},
        (*gone.waiting, *kept.waiting),
        kept.limits_plane,
        asked=(*gone.asked, *kept.asked),
        accepted=gone.accepted | kept.accepted,
        volume=VolumeState(kept.volume.told.joined(gone.volume.told)),
    )
    rest = deleted(state, source)
    prompts = tuple(kept._replace(label=into) if kept.label == source else kept for kept in state.prompts)
    return replace(rest, engine={**rest.engine, into: joined}, prompts=prompts, selected=into)
