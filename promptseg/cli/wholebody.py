"""``promptseg wholebody``: organs, bones, muscles and vessels, automatically."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptseg.cli.options import IMAGE_HELP, DeviceName, Frame, KeepIdentity, Series, read_image
from promptseg.cli.segment import NOT_ALL_WRITTEN
from promptseg.cli.terminal import note, progress, tell, wrote

if TYPE_CHECKING:
    from promptseg.export.outputs import OutputPlan, Written
    from promptseg.volume import Labelmap, Volume
    from promptseg.wholebody import WholeBody, WholeBodyResult

__all__ = ["wholebody"]


@dataclass(frozen=True)
class Beside:
    """What is written besides the outputs; ``None`` and False: nothing."""

    radiomics: bool = False
    preview: bool = False
    report: Path | None = None
    cropped: Path | None = None


def wholebody(
    image: Annotated[Path | None, typer.Argument(help=IMAGE_HELP, metavar="IMAGE")] = None,
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
    robust_crop: Annotated[
        bool, typer.Option("--robust-crop", help="Find the region of a subset with the 3 mm model, not the 6 mm one.")
    ] = False,
    body_seg: Annotated[
        bool, typer.Option("--body-seg", help="Find the body first and leave the rest of a large image out (CT).")
    ] = False,
    force_split: Annotated[
        bool, typer.Option("--force-split", help="In three pieces along the body's length, for less memory.")
    ] = False,
    resampling_order: Annotated[int, typer.Option(help="Of the spline that resamples the image.", min=0, max=5)] = 1,
    higher_order_resampling: Annotated[
        bool, typer.Option("--higher-order-resampling", help="Bring scores back to the grid, not classes: smoother.")
    ] = False,
    threads: Annotated[int, typer.Option("--resampling-threads", help="Threads that resample.", min=1)] = 1,
    remove_small_blobs: Annotated[
        float | None, typer.Option(help="Remove pieces of a class below this (200, say).", metavar="MM3")
    ] = None,
    model_size: Annotated[str, typer.Option(help="big, or small for the task total_v3.")] = "big",
    statistics_extra: Annotated[
        bool, typer.Option("--statistics-extra", help="Statistics also of spread, centre and box; 1.5 mm model.")
    ] = False,
    stats_aggregation: Annotated[str, typer.Option(help="Of intensities in the statistics: mean or median.")] = "mean",
    stats_include_incomplete: Annotated[
        bool, typer.Option("--stats-include-incomplete", help="Statistics also of classes that the border cuts off.")
    ] = False,
    save_probabilities: Annotated[
        Path | None, typer.Option(help="Folder for each network's probabilities and their grid.", metavar="DIR")
    ] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Also write a picture of three cuts.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Also write a report of the run for programs.", metavar="FILE.json")
    ] = None,
    cropped: Annotated[
        Path | None, typer.Option(help="Also write the image around what was found (--task body: to the body).")
    ] = None,
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
    from promptseg.io.outputs import require_output
    from promptseg.io.write import IMAGE_EXTENSIONS
    from promptseg.wholebody.options import RunOptions
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
    run_options = RunOptions(
        robust_crop=robust_crop,
        body_seg=body_seg,
        force_split=force_split,
        resampling_order=resampling_order,
        higher_order_resampling=higher_order_resampling,
        resampling_threads=threads,
        remove_small_blobs_mm3=remove_small_blobs,
        model_size=model_size,
        statistics_extra=statistics_extra,
        statistics_aggregation=stats_aggregation,
        statistics_incomplete=stats_include_incomplete,
        probabilities=save_probabilities,
    )
    plan = plan_outputs(output, image, OutputRequest(kind, keep_identity, per_class), series=series, frame=frame)
    beside = Beside(
        radiomics=radiomics,
        preview=preview,
        report=None if report is None else require_output(report, (".json",), inputs=[image]),
        cropped=None if cropped is None else require_output(cropped, IMAGE_EXTENSIONS, inputs=[image]),
    )
    subset = [name.strip() for part in roi_subset or () for name in part.split(",") if name.strip()]
    statistics = statistics or statistics_extra or stats_include_incomplete
    options: dict[str, Any] = {"fast": fast, "fastest": fastest, "statistics": statistics, "options": run_options}
    options["model_folder"] = model_folder
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
    _warn(engine, volume)
    result, load_s = _run(engine, volume)
    labelmap = _kept(result.labelmap, only)
    started = time.perf_counter()
    done = _write(plan, labelmap, volume, result, engine, beside)
    steps = {"read": read_s, "load": load_s, **result.seconds, "write": time.perf_counter() - started}
    if session is not None:
        done.files.append(_land(image, session, labelmap))
    _say(labelmap, volume, done, engine, steps, beside.report)


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


def _warn(engine: WholeBody, volume: Volume) -> None:
    """Say what a person should know before the networks are loaded: another modality, and what it will cost."""
    from promptseg.io.estimate import free_memory
    from promptseg.wholebody.cost import GIB, cost_of
    from promptseg.wholebody.modality import misfit

    if warning := misfit(volume, engine.task):
        note(warning, "warning")
    if engine.model_folder is not None:
        return
    cost = cost_of(engine, volume)
    note(cost, "plan")
    if cost.bytes > (free := free_memory()):
        less = "--fast, --body-seg, --force-split or a --roi-subset takes less"
        note(f"only {free / GIB:.1f} GiB of memory are free; {less}", "warning")


def _write(
    plan: OutputPlan, labelmap: Labelmap, volume: Volume, result: WholeBodyResult, engine: WholeBody, beside: Beside
) -> Written:
    """Write everything that can be written; what cannot keeps nothing else back."""
    from promptseg.errors import PromptsegError
    from promptseg.export.provenance import Provenance
    from promptseg.report.overlay import write_overlay_png
    from promptseg.wholebody.outputs import side_path, write_cropped, write_json, write_radiomics

    done = plan.write(labelmap, volume, Provenance(algorithm="AUTOMATIC", model_id=engine.made_by))
    first = plan.paths[0]
    wanted: list[Callable[[], Path]] = []
    if (statistics := result.statistics) is not None:
        wanted.append(lambda: write_json(statistics, side_path(first, "statistics.json")))
    if beside.radiomics:
        wanted.append(lambda: write_radiomics(volume, labelmap, side_path(first, "statistics_radiomics.json")))
    if beside.preview:
        wanted.append(lambda: write_overlay_png(volume, labelmap, side_path(first, "preview.png")))
    if (cropped := beside.cropped) is not None:
        wanted.append(lambda: write_cropped(volume, labelmap, cropped))
    for write in wanted:
        try:
            done.files.append(write())
        except PromptsegError as exc:
            done.missed.append(str(exc))
    return done


def _say(
    labelmap: Labelmap, volume: Volume, done: Written, engine: WholeBody, steps: dict[str, float], report: Path | None
) -> None:
    from promptseg.wholebody.outputs import report_of, write_json

    files = wrote([*done.files, *([report] if report is not None else [])])
    data = {**report_of(engine, volume, labelmap), "files": files, "missed": done.missed, "seconds": steps}
    if report is not None:
        write_json(data, report)
    lines = [f"{len(data['found'])} of {len(labelmap.labels)} classes found", *(f"wrote {name}" for name in files)]
    lines.append(f"on {engine.device}: " + ", ".join(f"{step} {seconds:.1f} s" for step, seconds in steps.items()))
    tell(lines, data)
    for sentence in done.missed:
        note(sentence, "error")
    if done.missed or not data["found"]:
        raise typer.Exit(NOT_ALL_WRITTEN)
