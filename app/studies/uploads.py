"""Files from outside onto the disk: counted, measured, under names of our own, never where they ask to go.

A file's own name decides nothing but its kind's ending: it is kept in a table beside, for the person who sent it. So a
name cannot leave the folder, overwrite anything, or carry a patient's name into a path.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, BinaryIO

from promptseg.app.errors import UploadTooLargeError
from promptseg.app.settings import Limits
from promptseg.errors import ReadError
from promptseg.io.archive import ZIP, is_archive, require_apart
from promptseg.io.sniff import READABLE

__all__ = ["Intake", "may_be_image"]

CHUNK = 1024**2
HEADER_LIMIT = 256 * 1024  # of a text header that names another file
SUFFIXES = sorted(
    {*READABLE.replace("/", " ").split(), ".nii.gz", ".raw", ".zraw", ".raw.gz", ".img.gz", ".hdr.gz", ".gz"}
    | {".label.txt", ".txt"},  # names and colours beside a mask
    key=len,
    reverse=True,
)
IMAGES = (*READABLE.replace("/", " ").split(), ".ima", ".dicom", ".zip")  # DICOM files often end with numbers
POINTER = re.compile(rb"(?im)^([ \t]*(?:ElementDataFile[ \t]*=|data[ \t]?file[ \t]*:)[ \t]*)([^\r\n]*)")
MISSING = b"missing.raw"  # where a header points to a file that was not sent
DEFLATED = b"1.2.840.10008.1.2.1.99"  # DICOM's transfer syntax whose data set is one deflate stream, PS3.5 A.5
DICOM_HEAD = 1024**2  # the file meta group lies in it, or the file is no honest one
GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"  # (0002,0000), which every DICOM file starts with after its preamble


class Intake:
    """Takes files into a folder.

    Args:
        folder: an existing, empty folder.
        limits: how much may come.

    Attributes:
        names: path below the folder to the name that the sender gave.
        bytes: taken so far.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._stems: dict[tuple[str, str], str] = {}
        self._folders: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.bytes = 0
        self._digests: list[bytes] = []

    @property
    def digest(self) -> str:
        """sha256 (hex) over the contents, in whatever order they came."""
        return hashlib.sha256(b"".join(sorted(self._digests))).hexdigest()

    def add(self, name: str, file: BinaryIO) -> None:
        """Take one file; a zip archive is taken apart.

        Raises:
            UploadTooLargeError: too many files or bytes.
            ReadError: a damaged archive, or one that is far larger inside than outside.
        """
        head = file.read(4)
        file.seek(0)
        if head == ZIP:
            self._unpack(name, file)
        else:
            self._store(name, file, self._limits.upload_bytes)

    def finish(self) -> None:
        """Make headers that name their data file name it as it is called here, and nothing else."""
        for stored, name in list(self.names.items()):
            path = self._folder / stored
            with path.open("rb") as file:
                head = file.read(HEADER_LIMIT)
            if head.startswith(b"NRRD") or b"ElementDataFile" in head or b"NDims" in head:
                self._repoint(path, name)

    def _store(self, name: str, file: IO[bytes], most: int) -> str:
        """Store a file; return its name below the folder."""
        if len(self.names) >= self._limits.upload_files:
            limit = self._limits.upload_files
            raise UploadTooLargeError(f"expected at most {limit} files at once, got more", limit=limit)
        stored = self._place(name)
        path = self._folder / stored
        path.parent.mkdir(exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with path.open("xb") as out:
            while chunk := file.read(CHUNK):
                size += len(chunk)
                if size > most or self.bytes + size > self._limits.upload_bytes:
                    raise UploadTooLargeError(
                        f"expected at most {self._limits.upload_bytes / 1024**2:,.0f} MiB at once, got more"
                        if self.bytes + size > self._limits.upload_bytes
                        else "the archive unpacks to far more than its size: it was not opened",
                        limit=self._limits.upload_bytes,
                    )
                digest.update(chunk)
                out.write(chunk)
        _require_honest_deflate(path, int(max(size, 1024) * self._limits.archive_ratio))
        self.bytes += size
        self.names[stored] = name
        self._digests.append(digest.digest())
        return stored

    def _unpack(self, name: str, file: BinaryIO) -> None:
        try:
            with zipfile.ZipFile(file) as archive:
                entries = [entry for entry in archive.infolist() if not entry.is_dir()]
                require_apart(entries)
                if len(self.names) + len(entries) > self._limits.upload_files:
                    raise UploadTooLargeError(
                        f"expected at most {self._limits.upload_files} files in an archive, got {len(entries)}",
                        limit=self._limits.upload_files,
                    )
                packed, told = (
                    sum(getattr(entry, size) for entry in entries) for size in ("compress_size", "file_size")
                )
                if packed > file.seek(0, os.SEEK_END):
                    raise ReadError("the archive's entries overlap: it was not opened")
                if self.bytes + told > self._limits.upload_bytes:
                    raise UploadTooLargeError(
                        f"expected at most {self._limits.upload_bytes / 1024**2:,.0f} MiB at once, unpacked, got more"
                    )
                for entry in entries:
                    most = int(max(entry.compress_size, 1024) * self._limits.archive_ratio)
                    with archive.open(entry) as inside:
                        stored = self._store(entry.filename, inside, most)
                    if is_archive(self._folder / stored):  # a reader would take it apart, past every limit here
                        raise ReadError("the archive holds another archive; unpack it first")
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as exc:
            raise ReadError("the archive is damaged, encrypted, or packed in a way not known here") from exc

    def _place(self, name: str) -> str:
        """Return a new path below the folder for a file; files of one stem in one folder share their new stem."""
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        last = parts[-1] if parts else "file"
        above = "/".join(parts[:-1])
        folder = self._folders.setdefault(above, f"d{len(self._folders) + 1:05d}")
        suffix = _suffix(last)
        stem = last[: len(last) - len(suffix)]
        number = self._stems.setdefault((above, stem.lower()), f"f{len(self._stems) + 1:06d}")
        stored, copy = f"{folder}/{number}{suffix}", 1
        while stored in self.names:
            copy += 1
            stored = f"{folder}/{number}-{copy}{suffix}"
        return stored

    def _repoint(self, path: Path, name: str) -> None:
        """Rewrite the line of a header that names its data file."""
        with path.open("rb") as file:
            raw = file.read(HEADER_LIMIT)
        end = len(raw)
        if raw.startswith(b"NRRD"):
            blank = re.search(rb"\r?\n\r?\n", raw)
            end = blank.start() + 1 if blank else len(raw)
        else:
            line = re.search(rb"(?m)^[ \t]*ElementDataFile[^\r\n]*", raw)
            end = line.end() if line else len(raw)
        above = "/".join(part for part in name.replace("\\", "/").split("/")[:-1] if part not in ("", ".", ".."))

        def target(match: re.Match[bytes]) -> bytes:
            value = match.group(2).strip()
            if value == b"LOCAL":
                return match.group(0)
            wanted = value.decode("utf-8", "replace")
            suffix = _suffix(wanted)
            stem = self._stems.get((above, wanted[: len(wanted) - len(suffix)].lower()))
            known = None if stem is None else f"{self._folders[above]}/{stem}{suffix}"
            return match.group(1) + (known.split("/")[1].encode() if known in self.names and known else MISSING)

        new = POINTER.sub(target, raw[:end])
        if new != raw[:end]:
            whole = path.read_bytes()
            path.write_bytes(new + whole[end:])


def may_be_image(name: str) -> bool:
    """Return False for a file whose name says that it is something else: README.md, table.csv."""
    ending = Path(name).suffix[1:]
    return name.lower().endswith(IMAGES) or not ending.isalpha()


def _suffix(name: str) -> str:
    lower = name.lower()
    return next((suffix for suffix in SUFFIXES if lower.endswith(suffix)), "")


def _require_honest_deflate(path: Path, most: int) -> None:
    """Refuse a deflated DICOM file that unpacks to more than ``most`` bytes: readers unpack it whole.

    Raises:
        UploadTooLargeError: it does. ReadError: its head does not say where the stream begins.
    """
    with path.open("rb") as file:
        head = file.read(DICOM_HEAD)
        if DEFLATED not in head:
            return
        if head[128:140] != b"DICM" + GROUP_LENGTH:
            raise ReadError("the deflated DICOM file does not begin as PS3.10 wants")
        file.seek(144 + int.from_bytes(head[140:144], "little"))
        inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        waiting = file.read(CHUNK)
        while waiting and not inflater.eof:
            try:
                total += len(inflater.decompress(waiting, CHUNK))
            except zlib.error:
                return  # damaged: the reader says so
            if total > most:
                raise UploadTooLargeError("the file unpacks to far more than its size: it was not opened")
            waiting = inflater.unconsumed_tail or file.read(CHUNK)
