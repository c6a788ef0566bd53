"""The images and labels that MONAI Label's clients leave with the server, by names of their own choice.

A name is free text of somebody else's, often a patient's, so it is never a path and stands nowhere in clear. Each
object has a folder named by a hash, and a small table in it that holds the name sealed with the data folder's own key.
Files are stored as ``Intake`` stores them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from promptseg.app.settings import Limits
from promptseg.app.studies.quota import hashed
from promptseg.app.studies.uploads import Intake
from promptseg.errors import ReadError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

__all__ = ["Datastore", "Stored"]

TABLE = "object.json"
ORIGINAL = "original"  # MONAI Label's tags: as it was sent, and as a person left it
FINAL = "final"


@dataclass(frozen=True)
class Stored:
    """A file of the datastore: where it lies, and what the sender called its kind."""

    path: Path
    ending: str


class Datastore:
    """One user's images and labels.

    Args:
        folder: of all users.
        user: the owner's id.
        limits: of uploads.
        require_room: raises where all that the user stores is too much by now.
    """

    def __init__(
        self, folder: Path, user: str, limits: Limits, require_room: Callable[[], None] = lambda: None
    ) -> None:
        self._folder, self._limits, self._require_room = folder / hashed(user), limits, require_room
        self._key = folder / "names.key"
        self._lock = threading.Lock()

    def put(
        self, name: str, filename: str, file: BinaryIO, *, tag: str | None = None, info: Any = None, known: bool = False
    ) -> None:
        """Keep an image (``tag`` None), or a label of an image, in place of an older one.

        ``known`` says that a label's image lies elsewhere: in a folder of the server, on a DICOMweb server.

        Raises:
            ReadError: the name or the file is empty, or a label is for no known image.
            UploadTooLargeError: too large.
        """
        if not name.strip():
            raise ReadError("expected a name for the image; it is empty")
        home = self._folder / hashed(name)
        if tag is not None and not known and self.image(name) is None:
            raise ReadError(f"expected a label of a known image; there is no image {name!r}")
        home.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(dir=home))
        try:
            intake = Intake(place, self._limits)
            intake.add(Path(filename.replace("\\", "/")).name or "file", file)
            intake.finish()
            if len(intake.names) != 1 or intake.bytes == 0:
                raise ReadError("expected one file with something in it")
            self._require_room()
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        stored = next(iter(intake.names))
        row = {"file": f"{place.name}/{stored}", "ending": "".join(Path(stored).suffixes), "info": info or {}}
        with self._lock:
            table = self._table(home) or {"name": self._sealed(name), "image": None, "labels": {}}
            old = table["image"] if tag is None else table["labels"].get(tag)
            if tag is None:
                table["image"] = row
            else:
                table["labels"][tag] = row
            _write(home / TABLE, table)
        if old is not None:
            shutil.rmtree((home / old["file"]).parent, ignore_errors=True)

    def image(self, name: str) -> Stored | None:
        """Return an image; None where there is none of this name."""
        home = self._folder / hashed(name)
        table = self._table(home)
        return None if table is None or table["image"] is None else _stored(home, table["image"])

    def label(self, name: str, tag: str) -> Stored | None:
        """Return an image's label; None where there is none of this tag."""
        home = self._folder / hashed(name)
        row = (self._table(home) or {"labels": {}})["labels"].get(tag)
        return None if row is None else _stored(home, row)

    def delete(self, name: str, tag: str | None = None) -> bool:
        """Delete an image with its labels, or one label; return whether there was one."""
        home = self._folder / hashed(name)
        with self._lock:
            table = self._table(home)
            if table is None or (tag is not None and tag not in table["labels"]):
                return False
            if tag is None:
                shutil.rmtree(home, ignore_errors=True)
            else:
                row = table["labels"].pop(tag)
                _write(home / TABLE, table)
                shutil.rmtree((home / row["file"]).parent, ignore_errors=True)
        return True

    def objects(self) -> dict[str, Any]:
        """Return everything by name, as ``GET /datastore/?output=all`` tells it."""
        tables = [table for home in sorted(self._folder.glob("*/")) if (table := self._table(home)) is not None]
        return {
            self._opened(table["name"]): {
                "image": {"ext": table["image"]["ending"], "info": table["image"]["info"]},
                "labels": {
                    tag: {"ext": row["ending"], "info": row["info"]} for tag, row in sorted(table["labels"].items())
                },
            }
            for table in tables
            if table["image"] is not None
        }

    def _sealed(self, name: str) -> str:
        return self._seal().encrypt(name.encode("utf-8", "surrogatepass")).decode("ascii")

    def _opened(self, sealed: str) -> str:
        from cryptography.fernet import InvalidToken

        try:
            return self._seal().decrypt(sealed.encode()).decode("utf-8", "surrogatepass")
        except InvalidToken:  # kept by a version that wrote names in clear
            return sealed

    def _seal(self) -> Fernet:
        """Return what seals names; its key is made once, for all users of the data folder."""
        from cryptography.fernet import Fernet

        if not self._key.exists():
            self._key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError), self._key.open("xb") as file:
                self._key.chmod(0o600)
                file.write(Fernet.generate_key())
        return Fernet(self._key.read_bytes())

    @staticmethod
    def _table(home: Path) -> dict[str, Any] | None:
        try:
            table: dict[str, Any] = json.loads((home / TABLE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return table


def _stored(home: Path, row: dict[str, Any]) -> Stored:
    return Stored(home / row["file"], row["ending"])


def _write(path: Path, table: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(table, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
