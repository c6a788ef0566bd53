"""A session on a server, with the verbs of one here (``promptseg.session.verbs.SessionVerbs``): each is a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.progress import OnProgress
from promptseg.errors import Cancelled, PromptError, RemoteError
from promptseg.prompts import MaskPrompt, Plane, Prompt, TextPrompt, parse_plane, prompt_from_dict, prompt_to_dict
from promptseg.remote.connection import Connection, told_error
from promptseg.remote.deltas import JobProgress, lay
from promptseg.session.held import HeldSession
from promptseg.session.verbs import KeptPrompt, SessionVerbs, SliceReview
from promptseg.volume.geometry import Geometry
from promptseg.volume.label_voxels import Changed
from promptseg.volume.labelmap import Label, Labelmap, colour, find_label

if TYPE_CHECKING:
    from promptseg.engine.edits import Edit

__all__ = ["RemoteSession"]

NIFTI_HEADER_BYTES = 352
OF_A_STEP = ("changed", "voxels", "seconds")  # what a Delta says beside the session's state
LabelKey = int | str | None


class RemoteSession(HeldSession):
    """A session on a server. Made by ``Client``.

    ``mask``, ``labels`` and ``labelmap`` are as of the last answer: the masks are kept here and brought up to date by
    what each step changed. ``review``, ``confidence``, ``log`` and ``measurements`` ask the server.
    """

    def __init__(self, connection: Connection, state: Mapping[str, Any]) -> None:
        self._connection = connection
        self.id: str = state["id"]
        self.model_id: str = state["model"]
        self.study_id: str = state["study"]
        self.shape: tuple[int, int, int] = (state["shape"][0], state["shape"][1], state["shape"][2])
        (dx, dy, dz), (x, y, z) = state["spacing_mm"], state["origin"]
        self.geometry = Geometry(
            self.shape, (dx, dy, dz), (x, y, z), tuple(state["direction"]), measured=state.get("measured", True)
        )
        self._path = f"/sessions/{self.id}"
        self._state: dict[str, Any] = dict(state)
        self._array: NDArray[np.uint8] = np.zeros(self.shape, np.uint8)
        if state["revision"]:
            self._load()

    # --- what a person sees -------------------------------------------------------------------------------------

    @property
    def labels(self) -> Mapping[int, Label]:
        """All labels by value."""
        return {one["value"]: Label(one["value"], one["name"], _rgb(one["colour"])) for one in self._state["labels"]}

    @property
    def locked(self) -> frozenset[int]:
        """Values of the protected labels."""
        return frozenset(one["value"] for one in self._state["labels"] if one["locked"])

    @property
    def overlap(self) -> str:
        """What happens where a label's new voxels belong to another label: keep, overwrite, visible or allow."""
        return str(self._state["overlap"])

    @property
    def selected(self) -> int:
        """The label that prompts go to; 0 before the first one exists."""
        return int(self._state["selected"])

    @property
    def revision(self) -> int:
        """Number of entries in the session's journal."""
        return int(self._state["revision"])

    @property
    def prompts(self) -> tuple[KeptPrompt, ...]:
        """The prompts in force, oldest first, as (id, label, prompt); masks among them are fetched with the log."""
        items = self._state["prompts"]
        masks = self._masks_by_id() if any(one["prompt"]["type"] in ("mask", "text") for one in items) else {}
        return tuple(
            KeptPrompt(one["id"], one["label"], prompt_from_dict(masks.get(one["id"], one["prompt"]))) for one in items
        )

    @property
    def labelmap(self) -> Labelmap:
        """A copy of all labels on the image's grid."""
        return Labelmap(self._array.copy(), self.geometry, self.labels)

    @property
    def log(self) -> tuple[dict[str, Any], ...]:
        """The entries that made the present state, oldest first, as plain JSON types."""
        log = self._connection.request("GET", f"{self._path}/export", params={"format": "prompts"}).json()
        return tuple(log["entries"])

    @property
    def can_undo(self) -> bool:
        """True when there is an entry to undo."""
        return bool(self._state["can_undo"])

    @property
    def can_redo(self) -> bool:
        """True when there is an entry to redo."""
        return bool(self._state["can_redo"])

    def mask(self, label: LabelKey = None) -> NDArray[np.bool_]:
        """Return bool (z, y, x) of one label (default: the selected one).

        Raises:
            PromptError: no such label.
        """
        if label is None and self.selected == 0:
            return np.zeros(self.shape, np.bool_)
        return np.asarray(self._array == self._value(label))

    def is_pending(self, label: LabelKey = None) -> bool:
        """True when ``propagate`` has something to do for the label."""
        return bool(self._shown(label)["pending"])

    def volume_ml(self, label: LabelKey = None) -> float | None:
        """Return a label's volume in ml; None where the image states no voxel size."""
        found = self._shown(label)["volume_ml"]
        return None if found is None else float(found)

    def review(self, label: LabelKey = None) -> tuple[SliceReview, ...]:
        """Return what the walks measured on the label's slices, least confident first."""
        from promptseg.engine.checks import Carried

        found = self._connection.request("GET", f"{self._path}/review", params={"label": self._value(label)}).json()
        return tuple(
            SliceReview(
                Plane(one["plane"]),
                one["index"],
                one["confidence"],
                one["reason"],
                Carried(**one["measured"]) if one["measured"] else None,
            )
            for one in found
        )

    def confidence(self, label: LabelKey = None, plane: Plane | str = Plane.AXIAL) -> NDArray[np.float32]:
        """Return (n slices,) of the plane: 0 ... 1, NaN where nothing is known."""
        query = {"label": self._value(label), "plane": parse_plane(plane).value}
        found = self._connection.request("GET", f"{self._path}/confidence", params=query).json()
        return np.array([np.nan if value is None else value for value in found], np.float32)

    def probabilities(self, label: LabelKey = None) -> NDArray[np.float32]:
        """Return float32 (z, y, x): how probably each voxel is the label's, as a 3D network answered last."""
        query = {"label": self._value(label)}
        raw = self._connection.request("GET", f"{self._path}/probabilities.nii", params=query).content
        return np.frombuffer(raw, np.float32, offset=NIFTI_HEADER_BYTES).reshape(self.shape).copy()

    def measurements(self) -> list[dict[str, Any]]:
        """Return one row per label and quantity."""
        return list(self._connection.request("GET", f"{self._path}/measurements").json())

    # --- labels -------------------------------------------------------------------------------------------------

    def new_label(self, name: str | None = None) -> int:
        """Add a label, select it and return its value."""
        self._do("POST", "labels", {} if name is None else {"name": name})
        return self.selected

    def select(self, label: int | str) -> int:
        """Make a label, by value or name, the one that prompts go to; return its value."""
        if label == 1 and not self.labels:
            return self.new_label()
        value = self._value(label)
        self._do("PATCH", f"labels/{value}", {"selected": True})
        return value

    def rename(self, label: int | str, name: str) -> None:
        """Give a label another name."""
        self._do("PATCH", f"labels/{self._value(label)}", {"name": name})

    def recolour(self, label: int | str, color: Sequence[int]) -> None:
        """Give a label another sRGB colour, 0 ... 255 each."""
        value = self._value(label)
        self._do("PATCH", f"labels/{value}", {"colour": "#" + bytes(colour(color)).hex()})

    def lock(self, label: int | str, locked: bool = True) -> None:
        """Protect a label, or free it."""
        self._do("PATCH", f"labels/{self._value(label)}", {"locked": bool(locked)})

    def set_overlap(self, rule: str, spared: Sequence[int | str] = ()) -> None:
        """Say what happens from now on where a label's new voxels belong to another label."""
        self._do("PUT", "overlap", {"rule": rule, "spared": [self._value(label) for label in spared]})

    def delete_label(self, label: int | str) -> Changed | None:
        """Delete a label and its voxels; return the changed box."""
        return self._do("DELETE", f"labels/{self._value(label)}")

    def merge_labels(self, label: int | str, into: int | str) -> Changed | None:
        """Give a label's voxels to another one and delete it; return the changed box."""
        return self._do("POST", f"labels/{self._value(label)}/merge", {"into": self._value(into)})

    def import_labels(self, labelmap: Labelmap, only: Sequence[str] = ()) -> tuple[int, ...]:
        """Add a label for every label of a labelmap that has voxels, as one step; return the new values."""
        from promptseg.session.replaying import import_entry

        self.geometry.require_same(labelmap.geometry, "the session's image and the labels")
        before = set(self.labels)
        body = {key: value for key, value in import_entry(labelmap).items() if key != "op"}
        self._do("POST", "import", {**body, "only": list(only)})
        return tuple(value for value in self.labels if value not in before)

    # --- prompts ------------------------------------------------------------------------------------------------

    def add(
        self, *prompts: Prompt, propagate: bool = True, predict: bool = True, on_progress: OnProgress | None = None
    ) -> Changed | None:
        """Add prompts to the selected label as one step and bring its mask up to date; return the changed box.

        As ``Session.add``: ``Cancelled`` raised in ``on_progress`` leaves the session as it was.
        """
        if not prompts:
            raise PromptError("expected at least one prompt, got none")
        first = prompts[0]
        if isinstance(first, TextPrompt) and first.mask is None and len(prompts) == 1:
            return self._follow("text", {"text": first.text, "label": self.selected or 1}, on_progress)
        body = {"prompts": [prompt_to_dict(prompt) for prompt in prompts], "propagate": propagate, "predict": predict}
        quick = not (propagate and predict) or isinstance(first, MaskPrompt | TextPrompt)
        return self._do("POST", "prompts", body) if quick else self._follow("segment", body, on_progress)

    def propagate(
        self, label: LabelKey = None, *, afresh: bool = False, on_progress: OnProgress | None = None
    ) -> Changed | None:
        """Carry the prompted slices of a label on to their neighbours; return the changed box."""
        return self._follow("propagate", {"label": self._value(label), "afresh": afresh}, on_progress)

    def remove_prompt(self, prompt_id: int, *, on_progress: OnProgress | None = None) -> Changed | None:
        """Take a prompt away as if it had never been; return the changed box. It is not told how far it is."""
        return self._do("DELETE", f"prompts/{int(prompt_id)}")

    def replace_prompt(
        self, prompt_id: int, prompt: Prompt, *, on_progress: OnProgress | None = None
    ) -> Changed | None:
        """Put another prompt in a prompt's place; return the changed box. It is not told how far it is."""
        return self._do("PUT", f"prompts/{int(prompt_id)}", {"prompt": prompt_to_dict(prompt)})

    def accept(self, index: int, plane: Plane | str = Plane.AXIAL) -> None:
        """Make a slice of the selected label an anchor as it is."""
        self._do("POST", "accept", {"index": int(index), "plane": parse_plane(plane).value})

    def edit(self, edit: Edit) -> Changed | None:
        """Apply an edit by hand to the selected label; return the changed box."""
        from promptseg.engine.edits import edit_to_dict

        return self._do("POST", "edits", {"edit": edit_to_dict(edit)})

    def undo(self) -> Changed | None:
        """Take the last entry back; return the changed box."""
        return self._do("POST", "undo")

    def redo(self) -> Changed | None:
        """Bring back the entry that was undone last; return the changed box."""
        return self._do("POST", "redo")

    # --- results ------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write all labels to a file, format by extension; return every file written."""
        from promptseg.export.formats import write_labels

        return write_labels(self.labelmap, path)

    def export(self, kind: str, path: str | Path, *, label: int | str | None = None) -> Path:
        """Write what the server exports (e.g. "nii.gz", "dicom-seg", "report.pdf") to a file; return it.

        Raises:
            WriteError: the file cannot be written.
        """
        from promptseg.io.atomic import all_or_nothing

        query: dict[str, Any] = {"format": kind} if label is None else {"format": kind, "label": self._value(label)}
        content = self._connection.request("GET", f"{self._path}/export", params=query).content
        path = Path(path).expanduser()
        with all_or_nothing(path) as folder:
            (folder / path.name).write_bytes(content)
        return path

    def export_prompts(self, path: str | Path) -> Path:
        """Write the prompt log as JSON; ``promptseg.replay`` makes the same masks from it."""
        return self.export("prompts", path)

    def close(self) -> None:
        """Free the server's memory; nothing is lost."""
        self._connection.request("POST", f"{self._path}/close")

    def delete(self) -> None:
        """Delete the session for good."""
        self._connection.request("DELETE", self._path)

    # --- whole body ---------------------------------------------------------------------------------------------

    def segment_whole_body(
        self, task: str | None = None, *, fast: bool = True, on_progress: OnProgress | None = None
    ) -> tuple[int, ...]:
        """Make every organ that the server's whole-body engine finds a label; return the new values.

        What is labelled already stays as it is. Without a task the one for the image's modality is taken.

        Raises:
            ModelError: no such task, or its weights are missing. PromptError: nothing new was found.
        """
        body: dict[str, Any] = {"fast": fast} if task is None else {"task": task, "fast": fast}
        before = set(self.labels)
        self._follow("wholebody", body, on_progress)
        return tuple(value for value in self.labels if value not in before)

    def segment_text(self, text: str, *, fast: bool = True, on_progress: OnProgress | None = None) -> int:
        """Make the structure that a text names a new label and select it; return its value.

        Raises:
            UnknownNameError: nothing, or several structures, have this name; ``choices`` has them.
            ModelError: weights are missing. PromptError: the structure is not in the image.
        """
        self._follow("text", {"text": text, "fast": fast}, on_progress)
        return self.selected

    # --- inside -------------------------------------------------------------------------------------------------

    def _follow(self, verb: str, body: Mapping[str, Any], on_progress: OnProgress | None) -> Changed | None:
        """Start a job and take what it changed; an ``on_progress`` that raises ``Cancelled`` cancels it."""
        job = self._connection.request("POST", f"{self._path}/{verb}", json=body).json()["id"]
        told = None if on_progress is None else JobProgress(on_progress, self._array)
        for event in self._connection.events(job):
            if event["kind"] == "progress" and told is not None:
                try:
                    told(event)
                except Cancelled:
                    self._connection.request("DELETE", f"/jobs/{job}")
            if event["kind"] == "done":
                return self._take(event["delta"])
            if event["kind"] == "cancelled":
                raise Cancelled("the job was cancelled; the session is as it was before")
            if event["kind"] == "failed":
                raise told_error(event)
        raise RemoteError("the server stopped before the job ended; the session is as it was, start it again")

    def _do(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Changed | None:
        options: dict[str, Any] = {} if body is None else {"json": body}
        return self._take(self._connection.request(method, f"{self._path}/{path}", **options).json())

    def _take(self, delta: Mapping[str, Any]) -> Changed | None:
        self._state.update({key: delta[key] for key in delta if key not in OF_A_STEP})
        return lay(delta, self._array)

    def _load(self) -> None:
        raw = self._connection.request("GET", f"{self._path}/labels.nii").content
        self._array = np.frombuffer(raw, np.uint8, offset=NIFTI_HEADER_BYTES).reshape(self.shape).copy()

    def _masks_by_id(self) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        for entry in self.log:
            if entry["op"] == "prompt":
                found.update(zip(entry["ids"], entry["prompts"], strict=True))
            elif entry["op"] == "replace_prompt":
                found[entry["id"]] = entry["prompt"]
        return found

    def _value(self, label: LabelKey) -> int:
        return find_label(self.labels, self.selected if label is None else label).value

    def _shown(self, label: LabelKey) -> dict[str, Any]:
        value = self._value(label)
        return next(one for one in self._state["labels"] if one["value"] == value)


def _has_all_verbs(session: RemoteSession) -> SessionVerbs:
    """Say to mypy what must hold."""
    return session


def _rgb(text: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(text[1:])
    return (red, green, blue)
