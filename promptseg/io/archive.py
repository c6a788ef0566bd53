"""Zip archives of images, as PACS export them: looked through before anything is unpacked."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from promptseg.errors import ReadError

__all__ = ["ZIP", "is_archive", "require_apart", "unpacked"]

ZIP = b"PK\x03\x04"
LOCAL_HEADER_BYTES = 30  # before an entry's name (APPNOTE 4.3.7)
NUMPY = ".npz"  # a zip archive that is read as it is


def is_archive(path: Path) -> bool:
    """Return True for a zip archive."""
    if path.suffix.lower() == NUMPY or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(ZIP)) == ZIP


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Give an archive's files as a folder, or its only file, which goes when the block ends.

    Entries get names of our own: what an archive calls them leads nowhere.

    Raises:
        ReadError: a damaged or encrypted archive, one whose entries overlap, or more than the disk has room for.
    """
    with tempfile.TemporaryDirectory(prefix="promptseg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        try:
            with zipfile.ZipFile(path) as archive:
                entries = [entry for entry in archive.infolist() if not entry.is_dir()]
                require_apart(entries)
                _require_room(sum(entry.file_size for entry in entries), folder, path)
                for number, entry in enumerate(entries, start=1):
                    with archive.open(entry) as inside, (folder / _name(number, entry.filename)).open("wb") as out:
                        shutil.copyfileobj(inside, out)  # zipfile ends an entry at the size that it states
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as exc:
            raise ReadError(f"cannot read {path}: the archive is damaged or encrypted ({exc})") from exc
        made = sorted(folder.iterdir())
        if any(is_archive(file) for file in made):
            raise ReadError(f"cannot read {path}: it holds another archive; unpack it first")
        yield made[0] if len(made) == 1 else folder


def require_apart(entries: Sequence[zipfile.ZipInfo]) -> None:
    """Raise where two entries of an archive share bytes: a few kilobytes could then unpack to terabytes.

    Raises:
        ReadError: two do.
    """
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise ReadError("the archive's entries overlap: it was not opened")
        end = entry.header_offset + LOCAL_HEADER_BYTES + len(entry.orig_filename) + entry.compress_size


def _require_room(needed: int, folder: Path, path: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ReadError(
            f"cannot unpack {path}: its files take {needed / 1024**3:.1f} GiB, and {folder.parent} has "
            f"{free / 1024**3:.1f} GiB left; set TMPDIR to a folder with more room"
        )


def _name(number: int, told: str) -> str:
    """Return a file's name: a number, and what may say its format."""
    last = told.replace("\\", "/").rpartition("/")[2]
    kept = "".join(c for c in last if c.isascii() and (c.isalnum() or c in "._-")).lstrip(".")
    return f"{number:06}-{kept[-60:]}"
