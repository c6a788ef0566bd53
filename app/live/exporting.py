"""A session's labels as files to take away: every format that the engine writes."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from promptseg.app.live.served import Served
from promptseg.app.store import SessionRow, Study
from promptseg.app.studies.series import Content, Series
from promptseg.errors import WriteError

__all__ = ["FORMATS", "OF_THE_ENGINE", "export"]

LABELMAPS = ("nii.gz", "nii", "nrrd", "seg.nrrd", "mha")
FORMATS = (
    *LABELMAPS,
    "dicom-seg",
    "rtstruct",
    "stl",
    "obj",
    "png",
    "prompts",
    "csv",
    "json",
    "report.html",
    "report.pdf",
)
OF_THE_ENGINE = ("dicom-seg", "rtstruct", "prompts", "report.html", "report.pdf")  # they read the log itself
KINDS = {
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".stl": "model/stl",
    ".dcm": "application/dicom",
    ".zip": "application/zip",
}


def export(served: Served, row: SessionRow, study: Study, kind: str, label: int | None) -> tuple[str, bytes, str]:
    """Write the labels in one format.

    Args:
        served: the session.
        row: its row in the store.
        study: its study.
        kind: one of ``FORMATS``.
        label: only this one, for surfaces.

    Returns:
        File name (never one that came from outside), content, media type.

    Raises:
        WriteError: the format does not hold this mask.
    """
    with tempfile.TemporaryDirectory(prefix="promptseg-") as name:
        folder = Path(name)
        if kind in LABELMAPS:
            from promptseg.io import write_labelmap

            _, *others = write_labelmap(served.labelmap(), folder / f"labels.{kind}")
            for other in others:  # names and colours for ITK-SNAP; the other formats hold them inside
                other.unlink()
        else:
            source = _Source(served, study, Content.from_dict(study.content).get(row.series), row.frame)
            WRITERS[kind](source, folder, label)
        files = sorted(file for file in folder.iterdir() if file.is_file())
        if len(files) == 1:
            file = files[0]
            return file.name, file.read_bytes(), KINDS.get(file.suffix, "application/octet-stream")
        return f"{kind.replace('.', '-')}.zip", _zipped(files), KINDS[".zip"]


class _Source:
    """What the writers need."""

    def __init__(self, served: Served, study: Study, series: Series, frame: int | None) -> None:
        self.served, self.session, self.labelmap = served, served.session, served.labelmap()
        self.series, self.frame = series, frame
        self.path = Path(study.folder) / series.file if series.file else Path(study.folder)


def _zipped(files: list[Path]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.name)
    return buffer.getvalue()


def _dicom(source: _Source, target: Path, *, contours: bool) -> None:
    from promptseg.export import provenance_of, read_source, write_dicom_seg, write_rtstruct
    from promptseg.session.prompt_log import read_log

    if source.series.dicom is None:
        raise WriteError("a DICOM object refers to DICOM images, and this image came as another kind of file")
    images = read_source(
        source.path, series=source.series.dicom, frame=source.frame if source.series.frames > 1 else None
    )
    log = source.session.export_prompts(target.with_suffix(".log.json"))
    made = provenance_of(read_log(log))
    log.unlink()
    if contours:
        write_rtstruct(source.labelmap, target, images, provenance=made)
    else:
        write_dicom_seg(source.labelmap, target, images, provenance=made)


def _stl(source: _Source, folder: Path, label: int | None) -> None:
    from promptseg.export import write_mesh

    present = [v for v in source.labelmap.labels if bool((source.labelmap.array == v).any())]
    wanted = present if label is None else [label]
    if not wanted:
        raise WriteError("there is no label with a voxel, so there is no surface")
    for value in wanted:
        write_mesh(source.labelmap, folder / f"label-{value}.stl", labels=[value])


def _obj(source: _Source, folder: Path, label: int | None) -> None:
    from promptseg.export import write_mesh

    write_mesh(source.labelmap, folder / "labels.obj", labels=None if label is None else [label])


def _png(source: _Source, folder: Path, _: int | None) -> None:
    from promptseg.report.overlay import write_overlay_png

    write_overlay_png(source.session.volume, source.labelmap, folder / "overlay.png")


def _prompts(source: _Source, folder: Path, _: int | None) -> None:
    source.session.export_prompts(folder / "prompts.json")


def _table(source: _Source, target: Path) -> None:
    from promptseg.measure.rows import measure_masks
    from promptseg.measure.tables import write_table

    volume = None if source.session.volume.is_rgb else source.session.volume
    write_table(measure_masks(source.labelmap, volume), target)


def _report(source: _Source, target: Path) -> None:
    from promptseg.report import session_report, write_report

    write_report(session_report(source.session), target)


WRITERS: dict[str, Callable[[_Source, Path, int | None], None]] = {
    "dicom-seg": lambda source, folder, _: _dicom(source, folder / "segmentation.dcm", contours=False),
    "rtstruct": lambda source, folder, _: _dicom(source, folder / "structures.dcm", contours=True),
    "stl": _stl,
    "obj": _obj,
    "png": _png,
    "prompts": _prompts,
    "csv": lambda source, folder, _: _table(source, folder / "measurements.csv"),
    "json": lambda source, folder, _: _table(source, folder / "measurements.json"),
    "report.html": lambda source, folder, _: _report(source, folder / "report.html"),
    "report.pdf": lambda source, folder, _: _report(source, folder / "report.pdf"),
}
