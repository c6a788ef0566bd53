"""Studies in the store: taken in, found, listed, deleted; and what each one is made of."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import delete, func, or_, select

from promptseg.app.errors import BusyError, NotFoundError
from promptseg.app.settings import ServeSettings
from promptseg.app.store import Database, SessionRow, Share, Study
from promptseg.app.studies.dicomweb import DicomWeb
from promptseg.app.studies.quota import Quota
from promptseg.app.studies.series import Content, describe
from promptseg.app.studies.sharing import Role, Shares
from promptseg.app.studies.uploads import Intake, may_be_image
from promptseg.errors import ReadError
from promptseg.example import example_path

__all__ = ["Catalogue"]

MOST_LISTED = 5000  # entries of one folder
EXAMPLE = "Example: a torso in CT (synthetic)"


class Catalogue:
    """All studies.

    Args:
        settings: data folder, roots, limits.
        database: the store.
        dicomweb: other servers with studies.
        shares: who may do what.

    Attributes:
        quota: how much of the disk each user takes.
    """

    def __init__(self, settings: ServeSettings, database: Database, dicomweb: DicomWeb, shares: Shares) -> None:
        self._settings, self._database, self._dicomweb, self._shares = settings, database, dicomweb, shares
        self.quota = Quota(settings, database)

    def upload(self, owner: str, files: Iterable[tuple[str, BinaryIO]]) -> Study:
        """Take files in.

        Raises:
            UploadTooLargeError: too many files or bytes, here or in all of the owner's studies.
            ReadError: nothing of it is an image.
        """
        study_id = secrets.token_hex(16)
        folder = self._settings.data / "studies" / study_id
        folder.mkdir(parents=True)
        try:
            limits, left = self._settings.limits, self.quota.left_bytes(owner)
            # Nothing is written that may not stay.
            intake = Intake(folder, replace(limits, upload_bytes=min(limits.upload_bytes, left)))
            for name, file in files:
                intake.add(name, file)
            if not intake.names:
                raise ReadError("expected at least one file, got none")
            intake.finish()
            content = describe(folder, intake.names, voxels=self._settings.limits.voxels)
            names = [name.replace("\\", "/") for name in intake.names.values()]
            title = _title(content, names)
            return self._add(study_id, owner, title, folder, content, intake.digest, intake.bytes)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def refer(self, owner: str, path: str) -> Study:
        """Add a file or folder of this server, below one of its roots.

        Raises:
            ReadError: outside of every root, or no image.
        """
        found = self._below_roots(path)
        content = describe(found, {}, voxels=self._settings.limits.voxels)
        files = [found] if found.is_file() else sorted(f for f in found.rglob("*") if f.is_file())
        digest = hashlib.sha256()
        for file in files:
            facts = file.stat()
            digest.update(f"{file} {facts.st_size} {facts.st_mtime_ns}\n".encode())
        title = _title(content, [found.name])
        return self._add(secrets.token_hex(16), owner, title, found, content, digest.hexdigest(), 0)

    def fetch(self, owner: str, url: str) -> Study:
        """Copy a study or series of a configured DICOMweb server.

        Raises:
            ReadError: the address lies on no such server, the server does not answer, or no image is there.
            UploadTooLargeError: too many files or bytes, here or in all of the owner's studies.
        """
        place = self._dicomweb.place(url)
        study_id = secrets.token_hex(16)
        folder = self._settings.data / "studies" / study_id
        folder.mkdir(parents=True)
        try:
            size = self._dicomweb.fetch(place, folder)
            self.quota.require(owner, size)
            content = describe(folder, {}, voxels=self._settings.limits.voxels)
            digests = sorted(hashlib.sha256(file.read_bytes()).digest() for file in folder.iterdir())
            digest = hashlib.sha256(b"".join(digests)).hexdigest()
            return self._add(study_id, owner, _title(content, []), folder, content, digest, size)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def example(self, owner: str) -> Study:
        """Add the example that ships with the package."""
        path = example_path()
        content = describe(path, {}, voxels=self._settings.limits.voxels)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._add(secrets.token_hex(16), owner, EXAMPLE, path, content, digest, 0)

    def get(self, user: str, study_id: str, role: Role = Role.READER) -> Study:
        """Return a study to someone who may do what ``role`` may.

        Raises:
            NotFoundError: no such study, or none of this user's business.
            ForbiddenError: it may be looked at only.
        """
        self._shares.require(user, study_id, role)
        with self._database.transaction() as store:
            study = store.get(Study, study_id)
        if study is None:
            raise NotFoundError(f"no study {study_id!r}")
        return study

    def all(self, user: str) -> list[Study]:
        """Return all studies of a user, those that colleagues share among them, the newest first."""
        shared = select(Share.study_id).where(Share.user_id == user)
        mine = or_(Study.owner == user, Study.id.in_(shared))
        with self._database.transaction() as store:
            return list(store.scalars(select(Study).where(mine).order_by(Study.created.desc())))

    def remove(self, owner: str, study_id: str) -> None:
        """Delete a study and its files; files below a root stay.

        Raises:
            NotFoundError: no such study.
            BusyError: sessions still stand on it.
        """
        study = self.get(owner, study_id, Role.OWNER)
        with self._database.transaction() as store:
            sessions = store.scalar(select(func.count()).where(SessionRow.study_id == study_id))
            if sessions:
                raise BusyError(f"{sessions} session(s) stand on this study; delete them first", 1.0, own=True)
            store.execute(delete(Share).where(Share.study_id == study_id))
            store.execute(delete(Study).where(Study.id == study_id))
        if study.uploaded:
            shutil.rmtree(study.folder, ignore_errors=True)
        shutil.rmtree(self._settings.data / "cache" / study_id, ignore_errors=True)

    def listing(self, path: str) -> list[tuple[str, str, str]]:
        """Return (name, path, "folder" or "file") of what lies in a folder below the roots; of the roots for "".

        Raises:
            ReadError: outside of every root.
        """
        if not path:
            return [(root.name or str(root), str(number), "folder") for number, root in enumerate(self._settings.roots)]
        where = self._below_roots(path)
        if not where.is_dir():
            raise ReadError("there is no such folder below the folders that this server offers")
        found = sorted(one for one in where.iterdir() if one.is_dir() or may_be_image(one.name))
        found = [one for one in found if not one.name.startswith(".")]
        return [
            (one.name, f"{path.rstrip('/')}/{one.name}", "folder" if one.is_dir() else "file")
            for one in found[:MOST_LISTED]
        ]

    def _below_roots(self, path: str) -> Path:
        """Return what a path names: ``<number of a root>/<path below it>``, or a path below the only root there is."""
        roots = self._settings.roots
        if not roots:
            raise ReadError("this server offers no folders of its own; upload the files instead")
        number, _, rest = path.partition("/")
        tried = [(roots[int(number)], rest)] if number.isdecimal() and int(number) < len(roots) else []
        for root, below in [*tried, *((root, path) for root in roots)]:
            try:
                found = (root / below).resolve()
                if found.is_relative_to(root) and found.exists():
                    return found
            except (OSError, RuntimeError, ValueError):  # a loop of links, a name too long, a zero byte
                continue
        raise ReadError("there is no such file or folder below the folders that this server offers")

    def _add(
        self, study_id: str, owner: str, title: str, folder: Path, content: Content, digest: str, size: int
    ) -> Study:
        uploaded = folder.is_relative_to(self._settings.data / "studies")
        study = Study(
            id=study_id,
            owner=owner,
            title=title,
            folder=str(folder),
            uploaded=uploaded,
            bytes=size,
            hash=digest,
            content=content.to_dict(),
            created=time.time(),
        )
        with self._database.transaction() as store:
            store.add(study)
        return study


def _title(content: Content, names: list[str]) -> str:
    """Return what a person recognises: the file's or the folder's name, else the first series' title."""
    if len(names) == 1:
        return names[0].rstrip("/").split("/")[-1][:200]
    tops = {name.lstrip("/").split("/")[0] for name in names if "/" in name.lstrip("/")}
    if len(tops) == 1 and all("/" in name.lstrip("/") for name in names):
        return next(iter(tops))[:200]
    return content.series[0].title[:200]
