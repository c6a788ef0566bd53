"""``promptseg wholebody``: organs, bones, muscles and vessels, automatically."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptseg.cli.options import DeviceName, Frame, KeepIdentity, Series, read_image
from promptseg.cli.segment import NOT_ALL_WRITTEN
from promptseg.cli.terminal import note, progress, tell, wrote

if TYPE_CHECKING:
    from promptseg.export.outputs import OutputPlan, Written
    from promptseg.volume import Labelmap, Volume
    from promptseg.wholebody import WholeBody, WholeBodyResult

__all__ = ["wholebody"]


def wholebody(
    image: Annotated[
        Path | None, typer.Argument(help="Image file, or a folder with one DICOM series.", metavar="IMAGE")
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "-o",
            "--output",
            help="Mask file (.seg.nrrd, .nii.gz, ...), .dcm for a DICOM object of a DICOM image, .csv or .json for "
            "measurements, or a folder. Repeatable.",
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="What to segment; see --tasks. total without it.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="The 3 mm model.")] = False,
    fastest: Annotated[bool, typer.Option("--fastest", help="The 6 mm model.")] = False,
    roi_subset: Annotated[
        list[str] | None,
        typer.Option(help="Only these classes, with spaces or commas. Tasks total, total_mr, total_v3."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="Only this structure, by any of its names: 'left kidney', Kidney_L, 左肾. Repeatable."),
    ] = None,
    session: Annotated[
        Path | None,
        typer.Option(help="Also make a session there, every class a label to correct with clicks (promptseg.resume)."),
    ] = None,
    device: DeviceName = "auto",
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
    kind: Annotated[
        str,
        typer.Option(
            "--as",
            help="What a .dcm becomes: seg (one bit per class, read everywhere), labelmap (newer, small and quick) or "
            "rtstruct.",
            metavar="KIND",
        ),
    ] = "seg",
    per_class: Annotated[
        bool,
        typer.Option("--per-class", help="A folder gets one file a class (liver.nii.gz), as TotalSegmentator's does."),
    ] = False,
    keep_identity: KeepIdentity = False,
    series: Series = None,
    frame: Frame = None,
    tasks: Annotated[bool, typer.Option("--tasks", help="List all tasks and exit.")] = False,
    classes: Annotated[str | None, typer.Option(help="List the classes of a task and exit.", metavar="TASK")] = None,
) -> None:
    """Segment organs, bones, muscles and vessels automatically (TotalSegmentator), on the image's own grid.

    Exit code 5: some outputs could not be written, or no class was found.
    """
    from promptseg.export.outputs import OutputRequest, plan_outputs
    from promptseg.wholebody.modality import misfit
    from promptseg.wholebody.outputs import require_radiomics

    if tasks or classes:
        _list(classes)
        return
    if image is None or not output:
        raise typer.BadParameter("expected an IMAGE and at least one -o OUT (or --tasks, or --classes TASK)")
    if radiomics:
        require_radiomics()
    if session is not None and (series is not None or frame is not None):
        raise typer.BadParameter("a session is opened from a path: not together with --series or --frame")
    request = OutputRequest(kind, keep_identity, per_class)
    plan = plan_outputs(output, image, request, series=series, frame=frame)
    subset = [name.strip() for part in roi_subset or () for name in part.split(",") if name.strip()]
    options: dict[str, Any] = {"fast": fast, "fastest": fastest, "statistics": statistics, "model_folder": model_folder}
    if not text:  # with a text the image decides on the task
        _licence(task or "total", licence_number, model_folder)
        _engine(task or "total", subset, device, options).require()
    started = time.perf_counter()
    volume = read_image(image, series, frame)
    read_s = time.perf_counter() - started
    chosen, only = _named(text, task, volume) if text else (task or "total", [])
    _licence(chosen, licence_number, model_folder)
    engine = _engine(chosen, subset or _subset(chosen, only), device, options)
    engine.require()
    if warning := misfit(volume, engine.task):
        note(warning, "warning")
    result, load_s = _run(engine, volume)
    labelmap = _kept(result.labelmap, only)
    started = time.perf_counter()
    done = _write(plan, labelmap, volume, result, engine, radiomics)
    steps = {"read": read_s, "load": load_s, **result.seconds, "write": time.perf_counter() - started}
    if session is not None:
        done.files.append(_land(image, session, labelmap))
    _say(labelmap, done, engine, steps)


def _list(classes: str | None) -> None:
    from promptseg.errors import ModelError, did_you_mean
    from promptseg.wholebody.totalseg import all_tasks

    known = all_tasks()
    if classes is None:
        lines = []
        for task in known.values():
            licence = "licence number" if task.needs_licence else "open"
            speeds = " ".join(name for name, has in (("fast", task.has_fast), ("fastest", task.has_fastest)) if has)
            row = f"{task.name:28} {task.modality}  {licence:14} {len(task.classes):4} classes  {speeds}"
            lines.append(row.rstrip())
        tell(lines, [vars(task) for task in known.values()])
        return
    if classes not in known:
        raise ModelError(f"no whole-body task {classes!r}{did_you_mean(classes, known)}; see --tasks")
    found = dict(sorted(known[classes].classes.items()))
    tell([f"{value:4} {name}" for value, name in found.items()], found)


def _named(texts: Sequence[str], task: str | None, volume: Volume) -> tuple[str, list[str]]:
    """Return the task and classes that texts mean."""
    from promptseg.errors import PromptError
    from promptseg.wholebody.by_name import anatomy_of

    found = [anatomy_of(text, volume, task) for text in texts]
    homes = sorted({anatomy.task for anatomy in found})
    if len(homes) > 1:
        said = ", ".join(f"{anatomy.text!r} to {anatomy.task}" for anatomy in found)
        raise PromptError(f"the texts belong to different tasks ({said}); run one task at a time")
    for anatomy in found:
        note(f"{anatomy.class_name} of the task {anatomy.task}", anatomy.text)
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


def _engine(task: str, subset: Sequence[str], device: str, options: dict[str, Any]) -> WholeBody:
    from promptseg.wholebody import WholeBody

    return WholeBody(task, roi_subset=subset, device=device, **options)


def _subset(task: str, only: Sequence[str]) -> Sequence[str]:
    """The classes that TotalSegmentator itself can be told to leave out others for; () where it cannot."""
    from promptseg.wholebody.totalseg import all_tasks

    known = all_tasks().get(task)
    return only if known is not None and known.takes_subset else ()


def _run(engine: WholeBody, volume: Volume) -> tuple[WholeBodyResult, float]:
    with progress("loading", "tiles") as (describe, on_progress):
        started = time.perf_counter()
        engine.load()
        load_s = time.perf_counter() - started
        describe("segmenting")
        return engine.run(volume, on_progress=on_progress), load_s


def _kept(labelmap: Labelmap, only: Sequence[str]) -> Labelmap:
    """Return the labelmap with these classes only; all when none is named."""
    if not only:
        return labelmap
    import numpy as np

    labels = {value: label for value, label in labelmap.labels.items() if label.name in only}
    kept = np.isin(labelmap.array, list(labels))
    return type(labelmap)(np.where(kept, labelmap.array, 0).astype(labelmap.array.dtype), labelmap.geometry, labels)


def _land(image: Path, folder: Path, labelmap: Labelmap) -> Path:
    from promptseg.api import open_session
    from promptseg.wholebody.by_name import land

    values = land(open_session(image, folder=folder), labelmap, missing_ok=True)
    note(f"{len(values)} labels in the session {folder}")
    return folder


def _write(
    plan: OutputPlan, labelmap: Labelmap, volume: Volume, result: WholeBodyResult, engine: WholeBody, radiomics: bool
) -> Written:
    """Write everything that can be written; what cannot keeps nothing else back."""
    from promptseg.errors import PromptsegError
    from promptseg.export.provenance import Provenance
    from promptseg.wholebody.outputs import side_path, write_radiomics, write_statistics

    done = plan.write(labelmap, volume, Provenance(algorithm="AUTOMATIC", model_id=engine.made_by))
    first = plan.paths[0]
    try:
        if result.statistics is not None:
            done.files.append(write_statistics(result.statistics, side_path(first, "statistics.json")))
        if radiomics:
            done.files.append(write_radiomics(volume, labelmap, side_path(first, "statistics_radiomics.json")))
    except PromptsegError as exc:
        done.missed.append(str(exc))
    return done


def _say(labelmap: Labelmap, done: Written, engine: WholeBody, steps: dict[str, float]) -> None:
    from promptseg.io.label_values import present_values

    present = [value for value in present_values(labelmap.array) if value]
    files = wrote(done.files)
    lines = [f"{len(present)} of {len(labelmap.labels)} classes found", *(f"wrote {name}" for name in files)]
    lines.append(f"on {engine.device}: " + ", ".join(f"{step} {seconds:.1f} s" for step, seconds in steps.items()))
    data = {
        "task": engine.task.name,
        "made_by": engine.made_by,
        "device": engine.device,
        "found": [labelmap.labels[value].name for value in present],
        "not_found": [label.name for value, label in labelmap.labels.items() if value not in present],
        "files": files,
        "missed": done.missed,
        "seconds": steps,
    }
    tell(lines, data)
    for sentence in done.missed:
        note(sentence, "error")
    if done.missed or not present:
        raise typer.Exit(NOT_ALL_WRITTEN)
