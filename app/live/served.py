"""One session as it is served: the engine's session, what is shown of it, and the changes that go out.

``shown`` is a copy of the labels as of the last finished step. Reading never touches the engine's session, so a page
can be loaded again, or a mask downloaded, while a long step runs.
"""

from __future__ import annotations

import base64
import copy
import json
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.measure.size import size_of
from promptseg.prompts import MaskPrompt, Prompt, TextPrompt, prompt_to_dict
from promptseg.session.session import Session
from promptseg.session.verbs import KeptPrompt
from promptseg.volume import Labelmap
from promptseg.volume.label_voxels import Changed, as_slices

__all__ = ["Change", "Served", "Shown", "encoded"]

FASTEST = 1  # zlib level: masks are long runs, higher levels gain little


def encoded(array: NDArray[np.uint8]) -> str:
    """Return base64 of zlib of a uint8 array in C order."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).data, FASTEST)).decode("ascii")


@dataclass(frozen=True, eq=False)
class ShownPrompt:
    """A prompt as it goes out, encoded once: a stroke of 150,000 voxels is 2 MB, and goes out with every step."""

    kept: KeptPrompt
    text: str


@dataclass(frozen=True)
class Shown:
    """What is shown beside the voxels, as plain JSON types; replaced as a whole after each step."""

    revision: int
    labels: list[dict[str, Any]]
    selected: int
    overlap: str
    prompts: list[ShownPrompt]
    can_undo: bool
    can_redo: bool

    @property
    def names(self) -> list[str]:
        """The labels' names, by value."""
        return [label["name"] for label in self.labels]

    def to_json(self, beside: Mapping[str, Any]) -> str:
        """Return it with more fields as the JSON of a Delta or a SessionState; the prompts are encoded already."""
        rest = {**vars(self), **beside}
        del rest["prompts"]
        text = json.dumps(rest, separators=(",", ":"), default=float)  # numbers of NumPy
        return f'{text[:-1]},"prompts":[{",".join(one.text for one in self.prompts)}]}}'


@dataclass(frozen=True)
class Change:
    """A finished step: the half-open box (z, y, x) that changed, its new content, and all that is shown."""

    box: Changed | None
    voxels: NDArray[np.uint8] | None
    shown: Shown
    seconds: float

    def to_json(self) -> str:
        """Return the contract's Delta."""
        own = {
            "changed": None if self.box is None else [list(self.box[0]), list(self.box[1])],
            "voxels": None if self.voxels is None else encoded(self.voxels),
            "seconds": round(self.seconds, 4),
        }
        return self.shown.to_json(own)


@dataclass(eq=False)
class Served:
    """A session in memory. Only its model's worker thread calls ``do`` and ``session``; anyone may read the rest.

    Attributes:
        id, owner, study_id: as in the store.
        session: the engine's session.
        revision: number of journal entries.
        view: per label value what is not part of the mask: {"visible": bool, "opacity": 0 ... 1}.
        lease_until: monotonic time until which this process may write the journal.
        job: id of the long job that runs on it, "" for none.
        cancel_job: asks that job to stop.
    """

    id: str
    owner: str
    study_id: str
    session: Session
    revision: int
    view: dict[str, dict[str, Any]] = field(default_factory=dict)
    lease_until: float = 0.0
    last_seen: float = field(default_factory=time.time)
    job: str = ""
    cancel_job: Callable[[], None] = field(default=lambda: None, repr=False)
    array: NDArray[np.uint8] = field(init=False, repr=False)
    counts: NDArray[np.int64] = field(init=False, repr=False)
    shown: Shown = field(init=False)

    def __post_init__(self) -> None:
        self.array = self.session.labelmap.array.astype(np.uint8, copy=False)
        self.counts = _counts(self.array)
        self.shown = self.look()

    def do(self, step: Callable[[Session], Changed | None]) -> Change:
        """Do a step on the engine's session and return what it changed."""
        began = time.perf_counter()
        try:
            box = step(self.session)
            voxels = None if box is None else self._copy(box)
        finally:  # a step of several parts may have done the first before the second was refused
            self.shown = self.look()
        return Change(box, voxels, self.shown, time.perf_counter() - began)

    def _copy(self, box: Changed) -> NDArray[np.uint8]:
        """Bring the shown labels up to date inside a box; return its new content."""
        where = as_slices(box)
        new = self.session.labels_in(box)
        self.counts = self.counts + _counts(new) - _counts(self.array[where])
        self.array[where] = new
        return new

    def look(self) -> Shown:
        """Return all that is shown beside the voxels."""
        session = self.session
        return Shown(
            self.revision,
            [self._label(value) for value in sorted(session.labels)],
            session.selected,
            session.overlap,
            self._prompts(),
            session.can_undo,
            session.can_redo,
        )

    def _prompts(self) -> list[ShownPrompt]:
        """Return the prompts in force; of masks, which the labels show, only that they are there."""
        before = {one.kept.id: one for one in (self.shown.prompts if hasattr(self, "shown") else ())}
        return [
            known if (known := before.get(kept.id)) is not None and known.kept == kept else _shown(kept)
            for kept in self.session.prompts
        ]

    def _label(self, value: int) -> dict[str, Any]:
        label, count = self.session.labels[value], int(self.counts[value])
        view, geometry = self.view.get(str(value), {}), self.session.volume.geometry
        size = size_of(count, geometry)
        return {
            "value": value,
            "name": label.name,
            "colour": "#{:02x}{:02x}{:02x}".format(*label.color),
            "visible": bool(view.get("visible", True)),
            "opacity": float(view.get("opacity", 0.5)),
            "locked": value in self.session.locked,
            "pending": self.session.is_pending(value),
            "volume_ml": geometry.volume_ml(count),
            "size": {"value": size.value, "unit": size.unit},
            "voxels": count,
        }

    def preview(self, box: Changed, voxels: NDArray[np.uint8]) -> Change:
        """Return a change that is not (or no longer) in force, for a page that shows a long step while it runs."""
        return Change(box, voxels, self.shown, 0.0)

    def restored(self, box: Changed) -> Change:
        """Return the change that takes a preview back: a box's content as it is in force."""
        return self.preview(box, self.array[as_slices(box)])

    def labelmap(self) -> Labelmap:
        """Return a copy of the labels as shown."""
        return Labelmap(self.array.copy(), self.session.volume.geometry, self.session.labels)

    def beside(self, twin: Session) -> Served:
        """Return the same on a twin of the engine's session: to read from while this one goes on."""
        other = copy.copy(self)
        other.session, other.array = twin, self.array.copy()
        return other

    @property
    def nbytes(self) -> int:
        """Bytes of the labels, twice: the engine's and the shown ones. The image is counted where it is kept."""
        return 2 * int(self.array.nbytes)


def _counts(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many voxels each value has, slice by slice: ``bincount`` makes 8 bytes of each voxel."""
    return np.asarray(np.sum([np.bincount(cut.ravel(), minlength=256) for cut in values], axis=0, dtype=np.int64))


def _shown(kept: KeptPrompt) -> ShownPrompt:
    content = {"id": kept.id, "label": kept.label, "prompt": _shown_prompt(kept.prompt)}
    return ShownPrompt(kept, json.dumps(content, separators=(",", ":")))


def _shown_prompt(prompt: Prompt) -> dict[str, Any]:
    if isinstance(prompt, MaskPrompt):
        return {"type": "mask"}
    return {"type": "text", "text": prompt.text} if isinstance(prompt, TextPrompt) else prompt_to_dict(prompt)
