"""Log entries, as plain JSON types, performed on a session: the one way back from a log to a state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.edits import edit_from_dict
from promptseg.engine.progress import OnProgress
from promptseg.errors import PromptError, ReplayError
from promptseg.prompts import parse_plane, prompt_from_dict
from promptseg.session.verbs import SessionVerbs
from promptseg.volume import Label, Labelmap

__all__ = ["KNOWN_OPS", "check_entry", "import_entry", "labels_of", "perform"]

Entry = Mapping[str, Any]


def perform(session: SessionVerbs, entry: Entry, on_progress: OnProgress | None = None) -> None:
    """Do what an entry says; the session logs it again.

    Raises:
        ReplayError: an unknown entry.
        PromptsegError: it does not fit the session.
    """
    op = entry.get("op")
    if op not in _OPS:
        raise ReplayError(f"expected entries with op {', '.join(KNOWN_OPS)}, got {op!r}")
    if op in _ON_SELECTED:
        value = int(entry["label"])
        if session.labels or value != 1:
            session.select(value)
    _OPS[op](session, entry, on_progress)


def check_entry(entry: Entry) -> None:
    """Read every value of an entry once, so that a bad one is reported before any work.

    Raises:
        ReplayError: an unknown entry.
        PromptError: a malformed prompt.
        KeyError, TypeError, ValueError: a missing or impossible value.
    """
    op = entry.get("op")
    if op not in _OPS:
        raise ReplayError(f"expected entries with op {', '.join(KNOWN_OPS)}, got {op!r}")
    if op in _ON_SELECTED:
        int(entry["label"])
    if op == "edit":
        edit_from_dict(entry["edit"])
    elif op == "import_labels":
        labels_of(entry)
    elif op == "accept":
        parse_plane(entry["plane"])
        int(entry["index"])
    elif op == "overlap":
        [int(value) for value in entry["spared"]]
    elif op in ("remove_prompt", "replace_prompt"):
        int(entry["id"])
    if op == "replace_prompt":
        prompt_from_dict(entry["prompt"])


def import_entry(labelmap: Labelmap) -> dict[str, Any]:
    """Return the entry that imports a labelmap: its labels, and its voxels as runs in C order."""
    flat = labelmap.array.ravel()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1])
    return {
        "op": "import_labels",
        "labels": [
            {"value": n, "name": label.name, "color": list(label.color)} for n, label in labelmap.labels.items()
        ],
        "shape": list(labelmap.array.shape),
        "runs": np.diff([*starts, flat.size]).tolist(),
        "values": flat[starts].tolist(),
    }


def labels_of(entry: Entry) -> tuple[NDArray[np.uint8], dict[int, Label]]:
    """Return what ``import_entry`` was given: values (z, y, x), and the labels by value.

    Raises:
        PromptError: its runs do not fit its shape.
        KeyError, TypeError, ValueError: a missing or impossible value.
    """
    shape = tuple(int(n) for n in entry["shape"])
    runs, values = np.asarray(entry["runs"], np.int64), np.asarray(entry["values"], np.uint8)
    whole = len(shape) == 3 and len(runs) == len(values) and min((*shape, *runs.tolist()), default=0) >= 0
    if not whole or int(runs.sum()) != math.prod(shape):
        raise PromptError(f"expected label runs that add up to shape {shape}, got a sum of {int(runs.sum())}")
    labels = {}
    for item in entry["labels"]:
        red, green, blue = (int(part) for part in item["color"])
        labels[int(item["value"])] = Label(int(item["value"]), item["name"], (red, green, blue))
    return np.repeat(values, runs).reshape(shape), labels


def _import(session: SessionVerbs, entry: Entry, _: OnProgress | None) -> None:
    array, labels = labels_of(entry)
    session.import_labels(Labelmap(array, session.geometry, labels))


def _prompt(session: SessionVerbs, entry: Entry, on_progress: OnProgress | None) -> None:
    prompts = [prompt_from_dict(item) for item in entry["prompts"]]
    propagate, predict = bool(entry.get("propagate", True)), bool(entry.get("predict", True))
    session.add(*prompts, propagate=propagate, predict=predict, on_progress=on_progress)


def _replace(session: SessionVerbs, entry: Entry, on_progress: OnProgress | None) -> None:
    session.replace_prompt(int(entry["id"]), prompt_from_dict(entry["prompt"]), on_progress=on_progress)


_OPS: dict[str, Callable[[SessionVerbs, Entry, OnProgress | None], object]] = {
    "label": lambda s, e, _: s.new_label(e["name"]),
    "rename": lambda s, e, _: s.rename(int(e["label"]), e["name"]),
    "recolour": lambda s, e, _: s.recolour(int(e["label"]), e["color"]),
    "import_labels": _import,
    "lock": lambda s, e, _: s.lock(int(e["label"]), bool(e["locked"])),
    "overlap": lambda s, e, _: s.set_overlap(e["rule"], tuple(e["spared"])),
    "delete_label": lambda s, e, _: s.delete_label(int(e["label"])),
    "merge_labels": lambda s, e, _: s.merge_labels(int(e["label"]), int(e["into"])),
    "prompt": _prompt,
    "propagate": lambda s, e, progress: s.propagate(afresh=bool(e.get("afresh")), on_progress=progress),
    "remove_prompt": lambda s, e, progress: s.remove_prompt(int(e["id"]), on_progress=progress),
    "replace_prompt": _replace,
    "accept": lambda s, e, _: s.accept(int(e["index"]), e["plane"]),
    "edit": lambda s, e, _: s.edit(edit_from_dict(e["edit"])),
}
_ON_SELECTED = ("prompt", "propagate", "accept", "edit")
KNOWN_OPS = tuple(_OPS)
