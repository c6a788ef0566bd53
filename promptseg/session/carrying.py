"""Labels of one session into another on the same grid: their names and colours, and their masks where wanted."""

from __future__ import annotations

from promptseg.prompts import MaskPrompt
from promptseg.session.verbs import SessionVerbs
from promptseg.volume import Labelmap
from promptseg.volume.label_voxels import Changed, union

__all__ = ["carry_labels", "free_names"]


def carry_labels(source: Labelmap, session: SessionVerbs, *, masks: bool) -> Changed | None:
    """Give a session the labels of another, and with ``masks`` what they hold; return the box that changed.

    A label of the same name is the same label; its mask is replaced.
    """
    changed: list[Changed] = []
    for label in source.labels.values():
        known = {one.name: value for value, one in session.labels.items()}
        value = known.get(label.name) or session.new_label(label.name)
        if session.labels[value].color != label.color:
            session.recolour(value, label.color)
        mask = source.mask(label.value)
        if masks and mask.any():
            session.select(value)
            box = session.add(MaskPrompt(mask))
            changed += [] if box is None else [box]
    return union(changed) if changed else None


def free_names(labelmap: Labelmap, session: SessionVerbs, only: str = "") -> Labelmap:
    """Return a labelmap whose names are not taken in a session: "liver" becomes "liver 2".

    Args:
        labelmap: what is to be imported.
        session: where to.
        only: a name for the only label of a file that states none.
    """
    from dataclasses import replace

    taken = {label.name for label in session.labels.values()}
    named = {}
    for value, label in labelmap.labels.items():
        alone = only and len(labelmap.labels) == 1 and label.name == f"label {value}"
        wanted = only if alone else label.name
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted} {number}", number + 1
        taken.add(name)
        named[value] = replace(label, name=name)
    return replace(labelmap, labels=named)
