"""The user's lock file: which files were checked, and which licences were accepted.

One JSON file beside the weights. A file that was checked once is believed again as long as its size and time of
change are the same; ``promptseg models verify`` always reads the content. In a folder that is read-only here, such as
a shared one, a file with a published or pinned hash is checked once in every process instead.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from promptseg.errors import ModelError

__all__ = ["Pin", "TrustFile", "write_atomically"]

FORMAT = 1


@dataclass(frozen=True)
class Pin:
    """One checked file.

    Attributes:
        sha256: of its content, lower-case hex.
        bytes: its size.
        mtime_ns: its time of change when it was checked.
        checked_by: "sha256", "xxh128", "git-blob" (the registry's), "trust-on-first-use" or "added by the user".
        date: ISO 8601, UTC.
    """

    sha256: str
    bytes: int
    mtime_ns: int
    checked_by: str
    date: str


def write_atomically(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class _UnwritableError(ModelError):
    """The lock file cannot be changed."""


_HELD: dict[tuple[Path, str], Pin] = {}
"""By lock file and file: what this process checked and could not write down."""


class TrustFile:
    """``<models folder>/trusted.json``; safe for several processes."""

    def __init__(self, models_dir: Path) -> None:
        self.path = models_dir / "trusted.json"

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"format": FORMAT, "files": {}, "licences": {}}
        except (OSError, ValueError) as exc:
            raise ModelError(
                f"the lock file {self.path} cannot be read ({exc}); move it away and run: promptseg models verify"
            ) from exc
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ModelError(f"expected format {FORMAT} in the lock file {self.path}, got {found!r:.80}")
        return found

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        from filelock import FileLock

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock"):
                content = self._read()
                yield content
                write_atomically(self.path, json.dumps(content, indent=1, sort_keys=True) + "\n")
        except OSError as exc:
            raise _UnwritableError(f"cannot write the lock file {self.path}: {exc.strerror or exc}") from exc

    def pin(self, model_id: str, name: str, path: Path, sha256: str, checked_by: str, *, must_last: bool = True) -> Pin:
        """Record a file that was just checked.

        Args:
            model_id: the model.
            name: the file's name in the model's row.
            path: the file.
            sha256: of its content.
            checked_by: see ``Pin``.
            must_last: False where the next process can check the file again: then this one alone remembers what it
                cannot write.

        Raises:
            ModelError: the lock file cannot be written, and it must be.
        """
        state = path.stat()
        made = Pin(sha256, state.st_size, state.st_mtime_ns, checked_by, _today())
        try:
            with self._changing() as content:
                content["files"][f"{model_id}/{name}"] = asdict(made)
        except _UnwritableError:
            if must_last:
                raise
            _HELD[self.path, f"{model_id}/{name}"] = made
        return made

    def pinned(self, model_id: str, name: str) -> Pin | None:
        """What was recorded for a file, or None."""
        entry = self._read()["files"].get(f"{model_id}/{name}")
        return _HELD.get((self.path, f"{model_id}/{name}")) if entry is None else Pin(**entry)

    def is_unchanged(self, model_id: str, name: str, path: Path) -> bool:
        """True when the file has the size and time of change that were recorded."""
        state = path.stat()
        pins = (self.pinned(model_id, name), _HELD.get((self.path, f"{model_id}/{name}")))
        return any(pin and (pin.bytes, pin.mtime_ns) == (state.st_size, state.st_mtime_ns) for pin in pins)

    def accept(self, model_id: str, licence: str) -> None:
        """Record that the user accepted a licence."""
        with self._changing() as content:
            content["licences"][model_id] = {"licence": licence, "date": _today()}

    def has_accepted(self, model_id: str, licence: str) -> bool:
        """True when this licence, by this name, was accepted."""
        entry = self._read()["licences"].get(model_id)
        return bool(entry) and entry["licence"] == licence

    def forget(self, model_id: str) -> None:
        """Drop a model's files; an accepted licence stays."""
        if not self.path.exists():
            return
        with self._changing() as content:
            content["files"] = {k: v for k, v in content["files"].items() if not k.startswith(f"{model_id}/")}


def _today() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
