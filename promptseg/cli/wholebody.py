"""``promptseg wholebody``: organs, bones, muscles and vessels, automatically."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from promptseg.volume import Labelmap, Volume
    from promptseg.wholebody import OnStep, WholeBody, WholeBodyResult

__all__ = ["wholebody"]

DICOM_KINDS = {"seg": "binary", "labelmap": "labelmap"}


def wholebody(
    image: Annotated[
        Path | None, typer.Argument(help="Image file, or a folder with one DICOM series.", metavar="IMAGE")
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "-o",
            "--output",
            help="Mask file (.seg.nrrd, .nii.gz, ...), .dcm for a DICOM SEG of a DICOM image, or a folder. Repeatable.",
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="What to segment; see --tasks. total without it.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="The 3 mm model.")] = False,
    fastest: Annotated[bool, typer.Option("--fastest", help="The 6 mm model.")] = False,
    roi_subset: Annotated[
        list[str] | None, typer.Option(help="Only these classes, with commas. Tasks total, total_mr, total_v3.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="Only this structure, by any of its names: 'left kidney', Kidney_L, 左肾. Repeatable."),
    ] = None,
    session: Annotated[
        Path | None,
        typer.Option(help="Also make a session there, every class a label to correct with clicks (promptseg.resume)."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Also write volume (mm³) and mean intensity of each class.")
    ] = False,
    radiomics: Annotated[
        bool, typer.Option("--radiomics", help="Also write radiomics features; needs pyradiomics.")
    ] = False,
    model_folder: Annotated[
        Path | None,
        typer.Option(help="Your own trained nnU-Net instead of a task. It is loaded as code: only if you trust it."),
    ] = None,
    licence_number: Annotated[
        str | None, typer.Option(help="Of TotalSegmentator's licensed tasks; asked for once, then remembered.")
    ] = None,
    dicom_kind: Annotated[
        str,
        typer.Option(
            "--as",
            help="What a .dcm becomes: seg (one bit per class, read everywhere) or labelmap (newer, small and quick).",
            metavar="KIND",
        ),
    ] = "seg",
    keep_identity: Annotated[
        bool, typer.Option("--keep-identity", help="Copy the patient's name, id and dates into a DICOM SEG.")
    ] = False,
    series: Annotated[
        str | None, typer.Option(help="Which DICOM series of a folder (number, or part of its UID).")
    ] = None,
    frame: Annotated[int | None, typer.Option(help="Which frame of a 4D image, from 0.")] = None,
    tasks: Annotated[bool, typer.Option("--tasks", help="List all tasks and exit.")] = False,
    classes: Annotated[str | None, typer.Option(help="List the classes of a task and exit.", metavar="TASK")] = None,
) -> None:
    """Segment organs, bones, muscles and vessels automatically (TotalSegmentator), on the image's own grid."""
    from promptseg.io import read_volume
    from promptseg.wholebody.modality import misfit
    from promptseg.wholebody.outputs import check_outputs, require_radiomics

    if tasks or classes:
        _list(classes)
        return
    if image is None or not output:
        raise typer.BadParameter("expected an IMAGE and at least one -o OUT (or --tasks, or --classes TASK)")
    if dicom_kind not in DICOM_KINDS:
        raise typer.BadParameter(f"expected --as {' or '.join(DICOM_KINDS)}, got {dicom_kind!r}")
    if radiomics:
        require_radiomics()
    if session is not None and (series is not None or frame is not None):
        raise typer.BadParameter("a session is opened from a path: not together with --series or --frame")
    source = check_outputs(output, image, series)
    started = time.perf_counter()
    volume = read_volume(image, series=series, frame=frame)
    read_s = time.perf_counter() - started
    subset = [name.strip() for part in roi_subset or () for name in part.split(",") if name.strip()]
    chosen, only = _named(text, task, volume) if text else (task or "total", [])
    _licence(chosen, licence_number, model_folder)
    engine = _engine(chosen, subset or _subset(chosen, only), model_folder, fast, fastest, device, statistics)
    warning = misfit(volume, engine.task)
    if warning:
        typer.echo(f"warning: {warning}", err=True)
    result, load_s = _run(engine, volume)
    labelmap = _kept(result.labelmap, only)
    kind = DICOM_KINDS[dicom_kind]
    lines, write_s = _write(labelmap, volume, output, source, result, engine, kind, keep_identity, radiomics)
    if session is not None:
        lines.append(_land(image, session, labelmap))
    for line in lines:
        typer.echo(line)
    steps = {"read": read_s, "load": load_s, **result.seconds, "write": write_s}
    typer.echo(f"on {engine.device}: " + ", ".join(f"{step} {seconds:.1f} s" for step, seconds in steps.items()))


def _list(classes: str | None) -> None:
    from promptseg.errors import ModelError, did_you_mean
    from promptseg.wholebody.totalseg import all_tasks

    known = all_tasks()
    if classes is None:
        for task in known.values():
            licence = "licence number" if task.needs_licence else "open"
            speeds = " ".join(name for name, has in (("fast", task.has_fast), ("fastest", task.has_fastest)) if has)
            typer.echo(f"{task.name:28} {task.modality}  {licence:14} {len(task.classes):4} classes  {speeds}".rstrip())
        return
    if classes not in known:
        raise ModelError(f"no whole-body task {classes!r}{did_you_mean(classes, known)}; see --tasks")
    for value, name in sorted(known[classes].classes.items()):
        typer.echo(f"{value:4} {name}")


def _named(texts: Sequence[str], task: str | None, volume: Volume) -> tuple[str, list[str]]:
    """Return the task and classes that texts mean."""
    from promptseg.errors import PromptError
    from promptseg.wholebody.modality import guess_modality
    from promptseg.wholebody.names import resolve

    modality = guess_modality(volume)
    found = [resolve(text, task=task, modality=modality if modality in ("CT", "MR") else None) for text in texts]
    homes = sorted({anatomy.task for anatomy in found})
    if len(homes) > 1:
        said = ", ".join(f"{anatomy.text!r} to {anatomy.task}" for anatomy in found)
        raise PromptError(f"the texts belong to different tasks ({said}); run one task at a time")
    for anatomy in found:
        typer.echo(f"{anatomy.text}: {anatomy.class_name} of the task {anatomy.task}", err=True)
    return homes[0], [anatomy.class_name for anatomy in found]


def _licence(task: str, number: str | None, model_folder: Path | None) -> None:
    """Remember the number given; ask for it where a person sits and the task needs one."""
    from promptseg.wholebody.tasks import LICENCE_PAGE
    from promptseg.wholebody.totalseg import all_tasks
    from promptseg.wholebody.weights import licence_number, remember_licence

    if number is not None:
        remember_licence(number)
        return
    wanted = all_tasks().get(task)
    if model_folder is None and wanted is not None and wanted.needs_licence and not licence_number():
        if not sys.stdin.isatty():
            return  # the engine says what is missing
        typer.echo(f"The task {task!r} needs a licence number, free for non-commercial use: {LICENCE_PAGE}", err=True)
        remember_licence(typer.prompt("licence number", err=True))


def _engine(
    task: str,
    subset: Sequence[str],
    model_folder: Path | None,
    fast: bool,
    fastest: bool,
    device: str,
    statistics: bool,
) -> WholeBody:
    from promptseg.wholebody import WholeBody

    return WholeBody(
        task,
        fast=fast,
        fastest=fastest,
        roi_subset=subset,
        device=device,
        statistics=statistics,
        model_folder=model_folder,
    )


def _subset(task: str, only: Sequence[str]) -> Sequence[str]:
    """The classes that TotalSegmentator itself can be told to leave out others for; () where it cannot."""
    from promptseg.wholebody.totalseg import all_tasks

    known = all_tasks().get(task)
    return only if known is not None and known.takes_subset else ()


def _run(engine: WholeBody, volume: Volume) -> tuple[WholeBodyResult, float]:
    with _progress("loading") as (describe, on_progress):
        started = time.perf_counter()
        engine.load()
        load_s = time.perf_counter() - started
        describe("segmenting")
        return engine.run(volume, on_progress=on_progress), load_s


@contextmanager
def _progress(what: str) -> Iterator[tuple[Any, OnStep]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} tiles"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield (
            lambda description: bar.update(task, description=description),
            lambda progress: bar.update(task, total=progress.total, completed=progress.done),
        )


def _kept(labelmap: Labelmap, only: Sequence[str]) -> Labelmap:
    """Return the labelmap with these classes only; all when none is named."""
    if not only:
        return labelmap
    import numpy as np

    labels = {value: label for value, label in labelmap.labels.items() if label.name in only}
    kept = np.isin(labelmap.array, list(labels))
    return type(labelmap)(np.where(kept, labelmap.array, 0).astype(labelmap.array.dtype), labelmap.geometry, labels)


def _land(image: Path, folder: Path, labelmap: Labelmap) -> str:
    from promptseg.api import open_session

    values = open_session(image, folder=folder).import_labels(labelmap)
    return f"{len(values)} labels in the session {folder}"


def _write(
    labelmap: Labelmap,
    volume: Volume,
    outputs: Sequence[Path],
    source: Any,
    result: WholeBodyResult,
    engine: WholeBody,
    kind: str,
    keep_identity: bool,
    radiomics: bool,
) -> tuple[list[str], float]:
    import numpy as np

    from promptseg.wholebody.outputs import side_path, write_outputs, write_radiomics, write_statistics

    started = time.perf_counter()
    present = set(np.unique(labelmap.array).tolist()) - {0}
    made_by = engine.made_by
    written = write_outputs(labelmap, outputs, source, made_by=made_by, kind=kind, keep_identity=keep_identity)
    if result.statistics is not None:
        written.append(write_statistics(result.statistics, side_path(outputs[0], "statistics.json")))
    if radiomics:
        written.append(write_radiomics(volume, labelmap, side_path(outputs[0], "statistics_radiomics.json")))
    lines = [f"{len(present)} of {len(labelmap.labels)} classes found", *(f"wrote {path}" for path in written)]
    return lines, time.perf_counter() - started
