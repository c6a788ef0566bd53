"""A session's past as bytes and back: values, arrays and who shares what, without code in the file.

Unlike pickle, reading builds nothing but the kinds listed here. Objects that several steps share are written once.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from promptseg.engine.answer import Anchor
from promptseg.engine.checks import Carried
from promptseg.engine.hints import Hint, PlacedPrompt
from promptseg.engine.propagate import LabelState
from promptseg.engine.volume.answer import VolumeAnswer, VolumeState
from promptseg.engine.volume.grid import ViewGrid
from promptseg.engine.volume.told import Click, PlacedBox, Told
from promptseg.models.predictor import SlicePrompts
from promptseg.prompts import Box, Lasso, MaskPrompt, Plane, Point, Scribble, TextPrompt
from promptseg.session.history import HistoryStep, Past, State
from promptseg.session.verbs import KeptPrompt
from promptseg.volume import Label
from promptseg.volume.label_voxels import Patch

__all__ = ["SCHEMA", "freeze", "thaw"]

FASTEST = 1  # zlib level: masks are long runs, higher levels gain little
KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(Anchor, Carried, Hint, PlacedPrompt, LabelState, SlicePrompts),
        *(VolumeState, VolumeAnswer, ViewGrid, Told, Click, PlacedBox),
        *(Box, Lasso, MaskPrompt, Point, Scribble, TextPrompt),
        *(KeptPrompt, Past, State, HistoryStep, Label, Patch),
    )
}
PLAIN = (bool, int, float, str)
AS_JSON = ("HistoryStep", "entry")  # of plain JSON types already, and long where it holds a drawing


def _names(kind: Any) -> tuple[str, ...]:
    return tuple(kind._fields) if hasattr(kind, "_fields") else tuple(field.name for field in fields(kind))


FIELDS = {name: _names(kind) for name, kind in KINDS.items()}
SCHEMA = hashlib.sha256(json.dumps(sorted(FIELDS.items())).encode()).hexdigest()[:16]  # other fields, other files


def freeze(past: Past) -> tuple[list[Any], list[bytes]]:
    """Return a past as nodes of plain JSON types, the last one standing for the whole, and the blobs they refer to.

    Raises:
        TypeError: it holds something of a kind that is not listed here.
    """
    writer = _Writer()
    for step in (*past.done, *past.undone):
        for link in (step, step.rewritten):
            writer.put_chain(link)
    writer.put_chain(past.tip)
    writer.put(past)
    return writer.nodes, writer.blobs


def thaw(nodes: Iterable[Any], blobs: list[bytes]) -> Past:
    """Return what ``freeze`` was given.

    Raises:
        ValueError, KeyError, IndexError, TypeError: it was not made by ``freeze``.
    """
    made: list[Any] = []
    for node in nodes:
        made.append(_thawed(node, made, blobs))
    if not isinstance(made[-1], Past):
        raise ValueError("expected a session's past at the end")
    return made[-1]


class _Writer:
    """Numbers objects in the order in which they can be built again."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.blobs: list[bytes] = []
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []  # an id is an object's own only while it lives

    def put_chain(self, step: HistoryStep | None) -> None:
        """Put a step and what it stands on, the oldest first: the chain may be longer than Python's stack."""
        links = []
        while step is not None and id(step) not in self._seen:
            links.append(step)
            step = step.base
        for link in reversed(links):
            self.put(link)

    def put(self, value: Any) -> Any:
        """Return a value as it stands in other nodes: itself, or [number]."""
        if value is None or type(value) in PLAIN:
            return value
        if id(value) not in self._seen:
            node = self._node(value)
            self._seen[id(value)] = len(self.nodes)
            self._alive.append(value)
            self.nodes.append(node)
        return [self._seen[id(value)]]

    def _field(self, kind: str, field: str, value: Any) -> Any:
        if (kind, field) != AS_JSON:
            return self.put(value)
        self.nodes.append(["json", dict(value)])
        return [len(self.nodes) - 1]

    def _node(self, value: Any) -> list[Any]:
        name = type(value).__name__
        if KINDS.get(name) is type(value):
            return [name, *(self._field(name, field, getattr(value, field)) for field in FIELDS[name])]
        if isinstance(value, Plane):
            return ["plane", value.value]
        if isinstance(value, np.ndarray | np.generic):
            array = np.asarray(value)
            order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
            packed = zlib.compress(array.tobytes(order), FASTEST)  # type: ignore[arg-type]  # one of its letters
            kind = "array" if isinstance(value, np.ndarray) else "scalar"
            return [kind, array.dtype.str, list(array.shape), order, self._blob(packed)]
        if isinstance(value, bytes):
            return ["bytes", self._blob(value)]
        if isinstance(value, Mapping):
            return ["dict", [[self.put(key), self.put(item)] for key, item in value.items()]]
        if type(value) in (tuple, list, frozenset):
            return [name, [self.put(item) for item in value]]
        raise TypeError(f"a session's past holds a {type(value).__name__}, which is not written to disk")

    def _blob(self, content: bytes) -> int:
        self.blobs.append(content)
        return len(self.blobs) - 1


def _thawed(node: list[Any], made: list[Any], blobs: list[bytes]) -> Any:
    def get(item: Any) -> Any:
        return made[item[0]] if isinstance(item, list) else item

    kind, *rest = node
    if kind in KINDS:
        return KINDS[kind](**dict(zip(FIELDS[kind], map(get, rest), strict=True)))
    if kind == "json":
        return rest[0]
    if kind == "plane":
        return Plane(rest[0])
    if kind in ("array", "scalar"):
        dtype, shape, order, blob = rest
        if np.dtype(dtype).hasobject:
            raise ValueError("expected an array of numbers")
        array = np.frombuffer(bytearray(zlib.decompress(blobs[blob])), dtype).reshape(shape, order=order)
        return array if kind == "array" else array[()]
    if kind == "bytes":
        return blobs[rest[0]]
    if kind == "dict":
        return {get(key): get(item) for key, item in rest[0]}
    if kind in ("tuple", "list", "frozenset"):
        return {"tuple": tuple, "list": list, "frozenset": frozenset}[kind](map(get, rest[0]))
    raise ValueError(f"unknown kind {kind!r}")
