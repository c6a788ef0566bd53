"""A session's labels as files to take away: every format that labels and sessions are written in."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from promptseg.app.live.aside import aside
from promptseg.app.live.served import Served
from promptseg.app.store import SessionRow, Study
from promptseg.app.studies.series import Content as StudyContent
from promptseg.errors import WriteError
from promptseg.export.formats import FORMATS, Content, Format
from promptseg.io.label_values import present_values

__all__ = ["EXPORTS", "ZIP", "ExportTurns", "export", "measured", "reads_the_log"]

MASKS = ("nii.gz", "nii", "nrrd", "seg.nrrd", "mha")
OFFERED = (*MASKS, "dicom-seg", "rtstruct", "stl", "obj", "png", "prompts", "csv", "json", "report.html", "report.pdf")
ZIP = "application/zip"


def _overlay(served: Served, path: Path) -> None:
    from promptseg.report.overlay import write_overlay_png

    write_overlay_png(served.session.volume, served.labelmap(), path)


def _report(served: Served, path: Path) -> None:
    from promptseg.report import session_report, write_report

    report = session_report(served.session)
    if path.suffix == ".pdf":  # it is laid out in Python alone, for a second or two
        aside(write_report, report, path, pause=lambda: None)
    else:
        write_report(report, path)


_OF_SESSIONS: tuple[Format[Served], ...] = (
    Format("png", ".png", "image/png", _overlay, "image", "overlay"),
    Format("prompts", ".json", "application/json", lambda s, path: s.session.export_prompts(path), "log", "prompts"),
    Format("report.html", ".html", "text/html; charset=utf-8", _report, "log", "report"),
    Format("report.pdf", ".pdf", "application/pdf", _report, "log", "report"),
)
AT_ONCE = 2
LARGE = 16_000_000  # voxels
ELSEWHERE = ("/tmp", "/dev/shm")  # where a file may wait when the data's own disk is full
SESSIONS = {one.name: one for one in _OF_SESSIONS}
EXPORTS: dict[str, Format[Content] | Format[Served]] = {
    name: SESSIONS[name] if name in SESSIONS else FORMATS[name] for name in OFFERED
}


class ExportTurns:
    """Whose turn it is to export: a person one file at a time, two in all. Who waits takes no thread."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(AT_ONCE)
        self._own: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def of(self, user: str) -> AsyncIterator[None]:
        """Hold a turn while open."""
        own = self._own.setdefault(user, asyncio.Lock())
        async with own, self._all:
            yield


def measured(served: Served) -> list[dict[str, Any]]:
    """Measure every label that has a voxel: rows as those of ``measure_masks``."""
    from promptseg.measure.rows import measure_masks

    labelmap = served.labelmap()
    if not labelmap.array.any():
        return []
    volume = None if served.session.volume.is_rgb else served.session.volume
    if labelmap.array.size < LARGE:
        return measure_masks(labelmap, volume)
    rows: list[dict[str, Any]] = aside(measure_masks, labelmap, volume, pause=lambda: None)
    return rows


def reads_the_log(kind: str) -> bool:
    """Return True for a format that reads the engine's session itself, which only its own thread may."""
    return EXPORTS[kind].needs in ("dicom", "log")


def export(
    served: Served, row: SessionRow, study: Study, kind: str, label: int | None, *, identity: bool = False
) -> tuple[str, bytes, str]:
    """Write the labels in one format. It takes a while for some: beside the models' threads, see ``ExportTurns``.

    Args:
        served: the session; for a format that ``reads_the_log`` with a twin of the engine's, see ``Served.beside``.
        row: its row in the store.
        study: its study.
        kind: one of ``EXPORTS``.
        label: only this one, for surfaces.
        identity: a DICOM object keeps the patient's name, id and dates, as a PACS needs them.

    Returns:
        File name (never one that came from outside), content, media type.

    Raises:
        WriteError: the format does not hold this mask.
    """
    room = _roomy(4 * served.array.nbytes)
    with tempfile.TemporaryDirectory(prefix="promptseg-", dir=room) as name:
        folder, wanted = Path(name), EXPORTS[kind]
        if kind in SESSIONS:
            SESSIONS[kind].write(served, folder / wanted.file_name())
        else:
            content = _content(served, row, study, FORMATS[kind], label)
            content = replace(content, keep_identity=identity)
            if served.array.size < LARGE or FORMATS[kind].needs == "dicom":
                _write(kind, content, folder)
            else:  # surfaces and measures hold Python's lock
                aside(_write, kind, content, folder, pause=lambda: None)
        files = sorted(file for file in folder.iterdir() if file.is_file())
        if len(files) == 1:
            return files[0].name, files[0].read_bytes(), wanted.media_type
        return f"{kind.replace('.', '-')}.zip", _zipped(files), ZIP


def _content(served: Served, row: SessionRow, study: Study, wanted: Format[Content], label: int | None) -> Content:
    only = () if label is None else (label,)
    if wanted.needs != "dicom":
        volume = None if served.session.volume.is_rgb else served.session.volume
        return Content(served.labelmap(), volume, only=only)
    from promptseg.export import provenance_of, read_source

    series = StudyContent.from_dict(study.content).get(row.series)
    images = None
    if series.dicom is not None:
        path = Path(study.folder) / series.file if series.file else Path(study.folder)
        images = read_source(path, series=series.dicom, frame=row.frame if series.frames > 1 else None)
    return Content(served.labelmap(), images=images, made=provenance_of(served.session.prompt_log()))


def _write(kind: str, content: Content, folder: Path) -> None:
    wanted = FORMATS[kind]
    if not wanted.single:
        _, *others = wanted.write(content, folder / wanted.file_name())
        if wanted.name in MASKS:
            for other in others:  # names and colours for ITK-SNAP; the other formats hold them inside
                other.unlink()
        return
    values = content.only or tuple(present_values(content.labelmap.array))
    if not values:
        raise WriteError("there is no label with a voxel, so there is no surface")
    for value in values:
        one = Content(content.labelmap, only=(value,))
        wanted.write(one, folder / wanted.file_name(f"label-{value}"))


def _roomy(needed: int) -> str | None:
    """Return a folder with so many bytes free, so that a full disk keeps nobody's mask in; None: the usual one."""
    for place in (tempfile.gettempdir(), *ELSEWHERE):
        with contextlib.suppress(OSError):
            if shutil.disk_usage(place).free > needed and os.access(place, os.W_OK):
                return place
    return None


def _zipped(files: list[Path]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.name)
    return buffer.getvalue()
