"""A session on a server: the verbs of the local ``Session``, each a request of ``promptseg.remote.client.Client``."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptseg.errors import Cancelled, PromptError, PromptsegError, RemoteError, WriteError, error_of
from promptseg.prompts import Plane, Prompt, prompt_from_dict, prompt_to_dict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptseg.engine.edits import Edit
    from promptseg.remote.client import Client
    from promptseg.volume import Label
    from promptseg.volume.label_voxels import Changed

__all__ = ["OnProgress", "RemoteProgress", "RemoteSession", "told_error"]

NIFTI_HEADER_BYTES = 352
EXTENSIONS = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha", ".stl", ".obj", ".png", ".csv", ".json")


def told_error(told: Mapping[str, Any], status: int = 0) -> PromptsegError:
    """Return the error that a server told of as {"code", "detail", ...}; a value that its schema refuses is a prompt's.

    One of a kind that this package does not have is a ``RemoteError``.
    """
    code, detail = str(told.get("code", "")), str(told.get("detail", ""))
    facts = {key: value for key, value in told.items() if key not in ("code", "detail", "kind", "delta", "status")}
    if code == "invalid":
        return PromptError(detail, **facts)
    return error_of(code, detail, facts) or RemoteError(detail, status, code=code, **facts)


@dataclass(frozen=True)
class RemoteProgress:
    """Where a long call stands: ``done`` of at most ``total`` slices, about ``left_s`` seconds to go."""

    done: int
    total: int
    left_s: float


OnProgress = Callable[[RemoteProgress], None]


class RemoteSession:
    """A session on a server: the verbs of ``promptseg.session.session.Session``. Made by ``Client``.

    ``mask`` and ``labels`` are as of the last answer: the masks are kept here and brought up to date by what each
    step changed.
    """

    def __init__(self, client: Client, state: Mapping[str, Any]) -> None:
        import numpy as np

        self._client = client
        self.id: str = state["id"]
        self.model_id: str = state["model"]
        self.study_id: str = state["study"]
        self.shape: tuple[int, int, int] = (state["shape"][0], state["shape"][1], state["shape"][2])
        self._path = f"/sessions/{self.id}"
        self._state: dict[str, Any] = dict(state)
        self._array: NDArray[np.uint8] = np.zeros(self.shape, np.uint8)
        if state["revision"]:
            self._load()

    # --- what a person sees -------------------------------------------------------------------------------------

    @property
    def labels(self) -> Mapping[int, Label]:
        """All labels by value."""
        from promptseg.volume import Label

        found = {}
        for label in self._state["labels"]:
            red, green, blue = bytes.fromhex(label["colour"][1:])
            found[label["value"]] = Label(label["value"], label["name"], (red, green, blue))
        return found

    @property
    def selected(self) -> int:
        """The label that prompts go to; 0 before the first one exists."""
        return int(self._state["selected"])

    @property
    def revision(self) -> int:
        """Number of entries in the session's journal."""
        return int(self._state["revision"])

    @property
    def prompts(self) -> tuple[tuple[int, int, Prompt], ...]:
        """Prompts in force as (id, label, prompt), oldest first."""
        return tuple((one["id"], one["label"], prompt_from_dict(one["prompt"])) for one in self._state["prompts"])

    @property
    def can_undo(self) -> bool:
        """True when there is an entry to undo."""
        return bool(self._state["can_undo"])

    @property
    def can_redo(self) -> bool:
        """True when there is an entry to redo."""
        return bool(self._state["can_redo"])

    def mask(self, label: int | str | None = None) -> NDArray[np.bool_]:
        """Return bool (z, y, x) of one label (default: the selected one).

        Raises:
            PromptError: no such label.
        """
        import numpy as np

        if label is None and self.selected == 0:
            return np.zeros(self.shape, np.bool_)
        return np.asarray(self._array == self._value(label))

    def volume_ml(self, label: int | str | None = None) -> float:
        """Return a label's volume in ml."""
        value = self._value(label)
        return float(next(one["volume_ml"] for one in self._state["labels"] if one["value"] == value))

    def review(self, label: int | str | None = None) -> list[dict[str, Any]]:
        """Return {"plane", "index", "confidence", "reason"} per slice, least confident first."""
        query = {} if label is None else {"label": self._value(label)}
        return list(self._client.request("GET", f"{self._path}/review", params=query).json())

    def measurements(self) -> list[dict[str, Any]]:
        """Return one row per label and quantity."""
        return list(self._client.request("GET", f"{self._path}/measurements").json())

    # --- labels -------------------------------------------------------------------------------------------------

    def new_label(self, name: str | None = None) -> int:
        """Add a label, select it and return its value."""
        self._do("POST", "labels", {} if name is None else {"name": name})
        return self.selected

    def select(self, label: int | str) -> int:
        """Make a label, by value or name, the one that prompts go to; return its value."""
        value = self._value(label)
        self._do("PATCH", f"labels/{value}", {"selected": True})
        return value

    def rename(self, label: int | str, name: str) -> None:
        """Give a label another name."""
        self._do("PATCH", f"labels/{self._value(label)}", {"name": name})

    def recolour(self, label: int | str, color: Sequence[int]) -> None:
        """Give a label another sRGB colour, 0 ... 255 each."""
        self._do("PATCH", f"labels/{self._value(label)}", {"colour": "#" + bytes(color).hex()})

    def lock(self, label: int | str, locked: bool = True) -> None:
        """Protect a label, or free it."""
        self._do("PATCH", f"labels/{self._value(label)}", {"locked": bool(locked)})

    def delete_label(self, label: int | str) -> Changed | None:
        """Delete a label and its voxels; return the changed box."""
        return self._do("DELETE", f"labels/{self._value(label)}")

    def merge_labels(self, label: int | str, into: int | str) -> Changed | None:
        """Give a label's voxels to another one and delete it; return the changed box."""
        return self._do("POST", f"labels/{self._value(label)}/merge", {"into": self._value(into)})

    # --- prompts ------------------------------------------------------------------------------------------------

    def add(self, *prompts: Prompt, propagate: bool = True, on_progress: OnProgress | None = None) -> Changed | None:
        """Add prompts to the selected label and bring its mask up to date; return the changed box (z, y, x).

        With ``propagate`` the slices are answered first, then carried on; ``on_progress`` may raise ``Cancelled``:
        the prompted slices then stay.
        """
        body = {"prompts": [prompt_to_dict(prompt) for prompt in prompts], "propagate": False}
        changed = self._do("POST", "prompts", body)
        return _union(changed, self.propagate(on_progress=on_progress)) if propagate else changed

    def propagate(self, label: int | str | None = None, *, on_progress: OnProgress | None = None) -> Changed | None:
        """Carry the prompted slices of a label on to their neighbours; return the changed box."""
        body = {} if label is None else {"label": self._value(label)}
        return self._follow("propagate", body, on_progress)

    def remove_prompt(self, prompt_id: int) -> Changed | None:
        """Take a prompt away as if it had never been; return the changed box."""
        return self._do("DELETE", f"prompts/{int(prompt_id)}")

    def replace_prompt(self, prompt_id: int, prompt: Prompt) -> Changed | None:
        """Put another prompt in a prompt's place; return the changed box."""
        return self._do("PUT", f"prompts/{int(prompt_id)}", {"prompt": prompt_to_dict(prompt)})

    def accept(self, index: int, plane: Plane | str = Plane.AXIAL) -> None:
        """Make a slice of the selected label an anchor as it is."""
        self._do("POST", "accept", {"index": int(index), "plane": str(plane)})

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

    def export(self, kind: str, path: str | Path, *, label: int | str | None = None) -> Path:
        """Write what the server exports (e.g. "nii.gz", "dicom-seg", "report.pdf") to a file; return it.

        Raises:
            WriteError: the file cannot be written.
        """
        from promptseg.io.atomic import all_or_nothing

        query: dict[str, Any] = {"format": kind} if label is None else {"format": kind, "label": self._value(label)}
        content = self._client.request("GET", f"{self._path}/export", params=query).content
        path = Path(path).expanduser()
        with all_or_nothing(path) as folder:
            (folder / path.name).write_bytes(content)
        return path

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write all labels to a file, format by extension; return every file written.

        Raises:
            WriteError: an extension that the server does not export.
        """
        name = Path(path).name.lower()
        extension = next((one for one in EXTENSIONS if name.endswith(one)), None)
        if extension is None:
            raise WriteError(f"cannot write {path}: expected a name that ends with one of {', '.join(EXTENSIONS)}")
        return (self.export(extension[1:], path),)

    def export_prompts(self, path: str | Path) -> Path:
        """Write the prompt log as JSON; ``promptseg.replay`` makes the same masks from it."""
        return self.export("prompts", path)

    def close(self) -> None:
        """Free the server's memory; nothing is lost."""
        self._client.request("POST", f"{self._path}/close")

    def delete(self) -> None:
        """Delete the session for good."""
        self._client.request("DELETE", self._path)

    # --- whole body ---------------------------------------------------------------------------------------------

    def segment_whole_body(
        self, task: str | None = None, *, fast: bool = True, on_progress: OnProgress | None = None
    ) -> tuple[int, ...]:
        """Make every organ that the server's whole-body engine finds a label; return the new values.

        What is labelled already stays as it is. Without a task the one for the image's modality is taken.

        Raises:
            PromptError: no such task. RemoteError: weights are missing, or the image cannot be segmented.
        """
        body: dict[str, Any] = {"fast": fast} if task is None else {"task": task, "fast": fast}
        before = set(self.labels)
        self._follow("wholebody", body, on_progress)
        return tuple(value for value in self.labels if value not in before)

    def segment_text(self, text: str, *, fast: bool = True, on_progress: OnProgress | None = None) -> int:
        """Make the structure that a text names a label and select it; return its value.

        Raises:
            PromptError: nothing, or several structures, have this name; the message lists the choices.
            RemoteError: weights are missing, or the structure is not in the image.
        """
        self._follow("text", {"text": text, "fast": fast}, on_progress)
        return self.selected

    # --- inside -------------------------------------------------------------------------------------------------

    def _follow(self, verb: str, body: Mapping[str, Any], on_progress: OnProgress | None) -> Changed | None:
        """Start a job and take what it changed; an ``on_progress`` that raises ``Cancelled`` cancels it."""
        job = self._client.request("POST", f"{self._path}/{verb}", json=body).json()["id"]
        for event in self._client.events(job):
            if event["kind"] == "progress" and on_progress is not None:
                try:
                    on_progress(RemoteProgress(event["done"], event["total"], event["left_s"]))
                except Cancelled:
                    self._client.request("DELETE", f"/jobs/{job}")
            if event["kind"] == "done":
                return self._take(event["delta"])
            if event["kind"] == "cancelled":
                raise Cancelled("the job was cancelled; the session is as it was before")
            if event["kind"] == "failed":
                raise told_error(event)
        raise RemoteError("the server stopped before the job ended; the prompts are kept, start it again")

    def _do(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Changed | None:
        options: dict[str, Any] = {} if body is None else {"json": body}
        return self._take(self._client.request(method, f"{self._path}/{path}", **options).json())

    def _take(self, delta: Mapping[str, Any]) -> Changed | None:
        import numpy as np

        self._state.update({key: delta[key] for key in delta if key not in ("changed", "voxels", "seconds")})
        if delta["changed"] is None:
            return None
        low, high = (tuple(int(v) for v in corner) for corner in delta["changed"])
        raw = zlib.decompress(base64.b64decode(delta["voxels"]))
        shape = [b - a for a, b in zip(low, high, strict=True)]
        where = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        self._array[where] = np.frombuffer(raw, np.uint8).reshape(shape)
        return ((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    def _load(self) -> None:
        import numpy as np

        raw = self._client.request("GET", f"{self._path}/labels.nii").content
        self._array = np.frombuffer(raw, np.uint8, offset=NIFTI_HEADER_BYTES).reshape(self.shape).copy()

    def _value(self, label: int | str | None) -> int:
        if label is None:
            label = self.selected
        for known in self._state["labels"]:
            if label in (known["value"], known["name"]):
                return int(known["value"])
        names = ", ".join(known["name"] for known in self._state["labels"])
        raise PromptError(f"no label {label!r}; known: {names or 'none'}")


def _union(one: Changed | None, other: Changed | None) -> Changed | None:
    from promptseg.volume.label_voxels import union

    boxes = [box for box in (one, other) if box is not None]
    return union(boxes) if boxes else None
