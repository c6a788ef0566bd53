"""A typed client of a promptseg server, with the verbs of the local ``Session``. Needs httpx and numpy, no torch.

A script switches by one line::

    session = promptseg.open_session("scan.nii.gz")                                        # this machine
    session = Client("https://seg.example", key="ps_...").open_session("scan.nii.gz")      # a server

    session.add(Point(voxel=(20, 75, 60)))
    session.save("liver.nii.gz")
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from promptseg.errors import MissingExtraError, ReadError, RemoteError
from promptseg.remote.connection import refusal_of
from promptseg.remote.session import RemoteSession

if TYPE_CHECKING:
    import httpx

__all__ = ["Client", "RemoteError", "RemoteSession"]

RETRIES = 8  # of a request that a busy server refused before it began
LONGEST_WAIT_S = 10.0


class Client:
    """A connection to a server.

    Args:
        url: e.g. ``http://127.0.0.1:7860``.
        key: an API key, where the server knows users.
        timeout_s: longest silence of one answer.

    Raises:
        MissingExtraError: httpx is not installed.
    """

    def __init__(self, url: str, key: str | None = None, *, timeout_s: float = 300.0) -> None:
        try:
            import httpx
        except ModuleNotFoundError as exc:
            raise MissingExtraError("httpx", "client") from exc
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=f"{url.rstrip('/')}/api/v1", headers=headers, timeout=timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; sessions stay on the server."""
        self._http.close()

    def health(self) -> dict[str, str]:
        """Return {"status", "version"}."""
        return dict(self.request("GET", "/health").json())

    def models(self) -> list[dict[str, Any]]:
        """Return the models that the server offers."""
        return list(self.request("GET", "/models").json())

    def studies(self) -> list[dict[str, Any]]:
        """Return your studies, the newest first."""
        return list(self.request("GET", "/studies").json())

    def add_study(self, source: str | Path) -> dict[str, Any]:
        """Upload a file, or a folder with everything in it; return the study.

        Raises:
            ReadError: there is no such file, or the server finds no image in it.
        """
        path = Path(source).expanduser()
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        if not files:
            raise ReadError(f"cannot read {path}: there is no such file, or the folder is empty")
        with ExitStack() as stack:
            parts = [
                ("files", (file.relative_to(path.parent).as_posix(), stack.enter_context(file.open("rb"))))
                for file in files
            ]
            return dict(self.request("POST", "/studies", files=parts, retry=False).json())

    def server_study(self, path: str | None = None) -> dict[str, Any]:
        """Name a study below a root of the server; the example without a path."""
        body: dict[str, Any] = {"example": True} if path is None else {"path": path}
        return dict(self.request("POST", "/studies", json=body).json())

    def dicomweb_study(self, url: str) -> dict[str, Any]:
        """Name a study or series of a DICOMweb server that the server was started with."""
        return dict(self.request("POST", "/studies", json={"dicomweb": url}).json())

    def delete_study(self, study_id: str) -> None:
        """Delete a study; its sessions must go first."""
        self.request("DELETE", f"/studies/{study_id}")

    def open_session(
        self,
        volume: str | Path,
        model: str = "builtin",
        *,
        series: str | None = None,
        frame: int | None = None,
    ) -> RemoteSession:
        """Upload an image and open a session on it, as ``promptseg.open_session`` does here."""
        return self.session_on(self.add_study(volume)["id"], model, series=series, frame=frame)

    def session_on(
        self, study_id: str, model: str = "builtin", *, series: str | None = None, frame: int | None = None
    ) -> RemoteSession:
        """Open a session on a study that the server has."""
        wanted = {"study": study_id, "model": model, "series": series, "frame": frame}
        body = {name: value for name, value in wanted.items() if value is not None}
        return RemoteSession(self, self.request("POST", "/sessions", json=body).json())

    def sessions(self) -> list[dict[str, Any]]:
        """Return your sessions, the last used first."""
        return list(self.request("GET", "/sessions").json())

    def resume(self, session_id: str, *, changed: Literal["refuse", "again", "stored"] = "refuse") -> RemoteSession:
        """Return a session as it stands on the server; ``changed`` is as in ``promptseg.resume``.

        Raises:
            ChangedError: its image, weights or masks are not those of then; ``choices`` says what can be done.
        """
        if changed != "refuse":
            state = self.request("POST", f"/sessions/{session_id}/restore", json={"how": changed}).json()
            return RemoteSession(self, state)
        return RemoteSession(self, self.request("GET", f"/sessions/{session_id}").json())

    def request(self, method: str, path: str, *, retry: bool = True, **options: Any) -> httpx.Response:
        """Send a request; one that a busy server refused before it began is sent again.

        Raises:
            RemoteError: the server refused, or cannot be reached. PromptError, ReadError, ...: what it says.
        """
        import httpx

        for attempt in range(RETRIES):
            try:
                answer = self._http.request(method, path, **options)
            except httpx.HTTPError as exc:
                raise RemoteError(f"the server does not answer: {type(exc).__name__}") from exc
            if answer.status_code not in (429, 503) or not retry or attempt == RETRIES - 1:
                break
            time.sleep(min(float(answer.headers.get("Retry-After", 1)), LONGEST_WAIT_S))
        if answer.is_success:
            return answer
        raise refusal_of(answer)

    def events(self, job_id: str) -> Iterator[dict[str, Any]]:
        """Give a job's events until it ends."""
        with self._http.stream("GET", f"/jobs/{job_id}/events") as stream:
            if not stream.is_success:
                stream.read()
                raise refusal_of(stream)
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    yield dict(json.loads(line[5:]))
