"""A promptseg server's sessions with the standard library alone: what 3D Slicer's Python needs for clicks."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["ServerSession", "lps_of"]

POLL_S = 0.2
TIMEOUT_S = 300.0
RUNNING = ("waiting", "running")


def lps_of(ras: Sequence[float]) -> list[float]:
    """Return a place that Slicer states (RAS mm) as promptseg takes it (LPS mm)."""
    return [-float(ras[0]), -float(ras[1]), float(ras[2])]


class ServerSession:
    """One person's clicks on one image, on a server.

    Args:
        url: of ``promptseg serve``.
        image: file that is uploaded (NRRD, NIfTI, ...), read whole.
        model: id of a model.
        key: API key, where the server knows users.

    Raises:
        RuntimeError: what the server says, for a person; or it does not answer.
    """

    def __init__(self, url: str, image: str | Path, model: str = "builtin", key: str = "") -> None:
        self._api, self._key = f"{url.rstrip('/')}/api/v1", key
        study = json.loads(self._upload(Path(image)))
        self.id: str = self._ask("POST", "/sessions", {"study": study["id"], "model": model})["id"]
        self._path = f"/sessions/{self.id}"

    def click(self, ras: Sequence[float], *, positive: bool = True, through: bool = True) -> None:
        """Take a click at a place in RAS mm, on its slice, or through the volume as one step to undo."""
        prompt = {"type": "point", "world": lps_of(ras), "positive": positive}
        if not through:
            self._ask("POST", f"{self._path}/prompts", {"prompts": [prompt]})
            return
        job = self._ask("POST", f"{self._path}/segment", {"prompts": [prompt], "propagate": True, "predict": True})
        while job["state"] in RUNNING:
            time.sleep(POLL_S)
            job = self._ask("GET", f"/jobs/{job['id']}")
        if job["state"] != "done":
            raise RuntimeError(str(job.get("detail") or job["state"]))

    def undo(self) -> None:
        """Take the last step back."""
        self._ask("POST", f"{self._path}/undo")

    def write_labels(self, path: str | Path) -> Path:
        """Write all labels as they are now; the extension (.seg.nrrd, .nii.gz, ...) says how."""
        path = Path(path)
        kind = next(end for end in ("seg.nrrd", "nii.gz", path.suffix[1:]) if path.name.endswith(end))
        path.write_bytes(self._send("GET", f"{self._path}/export?format={kind}"))
        return path

    def close(self) -> None:
        """Free the server's memory; nothing is lost."""
        self._ask("POST", f"{self._path}/close")

    def _upload(self, image: Path) -> bytes:
        edge, name = uuid.uuid4().hex, f"image{''.join(image.suffixes)}"  # a file's own name may hold a patient's
        head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + image.read_bytes() + f"\r\n--{edge}--\r\n".encode()
        return self._send("POST", "/studies", body, f"multipart/form-data; boundary={edge}")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        answer = self._send(method, path, content, "application/json")
        return json.loads(answer) if answer else {}

    def _send(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        headers = {"Content-Type": kind} if body is not None else {}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        asked = urllib.request.Request(f"{self._api}{path}", body, headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as exc:
            raise RuntimeError(_sentence(exc)) from exc
        except OSError as exc:
            raise RuntimeError(f"the server at {self._api} does not answer: {exc}") from exc


def _sentence(refusal: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(refusal.read())["detail"])
    except (ValueError, KeyError):
        return f"the server refused: {refusal.code}"
