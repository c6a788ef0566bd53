"""``promptseg segment``: one object from prompts into masks, DICOM objects, surfaces and measurements."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from promptseg.cli.options import Again, DeviceName, Frame, Image, KeepIdentity, Series, WindowText, read_image
from promptseg.cli.terminal import mode, note, progress, tell, wrote

if TYPE_CHECKING:
    from promptseg.export.outputs import OutputPlan
    from promptseg.prompts import Prompt
    from promptseg.session.session import Session
    from promptseg.volume import Labelmap

__all__ = ["NOT_ALL_WRITTEN", "label_rows", "save_folder", "segment"]

NOT_ALL_WRITTEN = 5  # exit code: the work was done, and some of its outputs could not be written
FOLDER_NAMES = ("mask.nii.gz", "prompts.json", "overlay.png")
Parsed = TypeVar("Parsed")


def segment(
    image: Image,
    output: Annotated[
        list[Path],
        typer.Option(
            "-o",
            "--output",
            help="Mask (.nii.gz, .nrrd, .seg.nrrd, .mha, ...), .dcm for a DICOM object of a DICOM image, .stl, .obj, "
            ".csv or .json measurements; or a folder for mask, prompt log and overlay. Repeatable.",
        ),
    ],
    point: Annotated[
        list[str] | None, typer.Option(help="Positive click, voxels Z,Y,X. Repeatable.", metavar="Z,Y,X")
    ] = None,
    not_point: Annotated[
        list[str] | None, typer.Option(help="Negative click, voxels Z,Y,X. Repeatable.", metavar="Z,Y,X")
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            help="Half-open box in voxels. One slice thick: a 2D box, then propagated. Repeatable.",
            metavar="Z0,Y0,X0,Z1,Y1,X1",
        ),
    ] = None,
    recist: Annotated[
        list[str] | None,
        typer.Option(help="Longest diameter on an axial slice, voxels; becomes a box.", metavar="Z,Y0,X0,Y1,X1"),
    ] = None,
    scribble: Annotated[
        list[str] | None,
        typer.Option(help="Stroke through corners, voxels. Repeatable.", metavar="Z,Y,X/Z,Y,X/..."),
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="A mask on the image's grid to refine.", metavar="FILE")] = None,
    text: Annotated[
        str | None, typer.Option(help="A structure by name, e.g. 'left kidney' (needs the extra wholebody).")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Prompt log, or a JSON list of prompts.", metavar="FILE.json")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Name of the label.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Model id; see `promptseg models list`. Without it a log's own, or builtin.")
    ] = None,
    device: DeviceName = "auto",
    window: WindowText = None,
    mask_label: Annotated[
        str | None, typer.Option("--mask-label", help="Which object of --mask, by name or value.", metavar="LABEL")
    ] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Put --mask onto the image's grid (nearest neighbour) if they differ.")
    ] = False,
    series: Series = None,
    frame: Frame = None,
    propagate: Annotated[bool, typer.Option(help="Carry the mask to the other slices.")] = True,
    mode: Annotated[
        str | None,
        typer.Option(help="volume: a 3D network answers; slices: masks are walked; auto: volume where the model can."),
    ] = None,
    fuse: Annotated[
        str | None,
        typer.Option(help="auto: walk in every plane that is fine enough, and let the planes vote; or off."),
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(help="Also write how probably each voxel is the object's, 0 to 1 (3D network).", metavar="FILE"),
    ] = None,
    kind: Annotated[str, typer.Option("--as", help="What a .dcm becomes: seg, labelmap or rtstruct.")] = "seg",
    keep_identity: KeepIdentity = False,
    again: Again = False,
) -> None:
    """Segment one object from clicks, boxes, a RECIST line, scribbles, a mask or a name.

    Coordinates are voxels z, y, x, from 0. Exit code 5: some outputs could not be written.
    """
    from dataclasses import replace

    from promptseg.engine.options import EngineOptions
    from promptseg.export.outputs import OutputRequest, plan_outputs
    from promptseg.export.read import mask_prompt
    from promptseg.io import write_volume
    from promptseg.io.foreign import recist_box
    from promptseg.io.prompt_text import parse_box, parse_line, parse_point, parse_scribble
    from promptseg.models.loading import load_predictor
    from promptseg.prompts import TextPrompt
    from promptseg.session.prompt_log import PromptLog, logged_prompts, read_log
    from promptseg.session.restoring import DEFAULT_MODEL, restore
    from promptseg.volume import Volume, Window, parse_window

    started = time.perf_counter()
    given: list[Prompt] = [
        *_parsed(point, "--point", parse_point),
        *_parsed(not_point, "--not-point", lambda text: parse_point(text, positive=False)),
        *_parsed(box, "--box", parse_box),
        *_parsed(scribble, "--scribble", parse_scribble),
    ]
    lines = _parsed(recist, "--recist", parse_line)
    if not given and not lines and mask is None and text is None and prompts is None:
        raise typer.BadParameter(
            "expected at least one of --point, --box, --recist, --scribble, --mask, --text and --prompts, got none"
        )
    log = read_log(prompts) if prompts is not None else PromptLog(())
    listed = logged_prompts(log.entries) if log.is_list else []
    model = model or log.model_id or DEFAULT_MODEL
    log = replace(log, entries=()) if log.is_list else log
    if any(asked is not None for asked in (window, mode, fuse)):  # on purpose otherwise than logged
        options = log.options or EngineOptions()
        log = replace(
            log.prompts_alone(),
            window=log.window if window is None else parse_window(window),
            options=replace(options, mode=mode or options.mode, fuse=fuse or options.fuse),
        )
    request = OutputRequest(kind, keep_identity, names=FOLDER_NAMES)
    read = [path for path in (mask, prompts) if path is not None]
    plan = plan_outputs(output, image, request, series=series, frame=frame, inputs=read)
    if text is not None:
        _require_text_engine()
    predictor = load_predictor(model, device)  # what is missing is said before the image is read
    volume = read_image(image, series, frame)
    given += [recist_box((z, y0, x0), (z, y1, x1), volume.geometry) for z, y0, x0, y1, x1 in lines]
    told: list[str] = []
    wanted = int(mask_label) if mask_label is not None and mask_label.isdigit() else mask_label
    start = mask_prompt(mask, volume, wanted, resample=resample, notes=told) if mask is not None else None
    for sentence in told:
        note(sentence)
    with progress("segmenting") as (_, on_progress):
        session = restore(volume, log, predictor, strict=not again, on_progress=on_progress)
        if label is not None:
            session.new_label(label)
        if start is not None:
            session.add(start)
        if text is not None:
            session.add(TextPrompt(text), on_progress=on_progress)
        for step in (listed, given):
            if step:
                session.add(*step, propagate=propagate, on_progress=on_progress)
    if probabilities is not None:
        image_of_them = Volume(session.probabilities(), volume.geometry, Window(0.0, 1.0))
        wrote(write_volume(image_of_them, probabilities))
    _save(session, plan, time.perf_counter() - started)


def _parsed(texts: Sequence[str] | None, option: str, parse: Callable[[str], Parsed]) -> list[Parsed]:
    """Return what the values of one option say; a value that cannot be read is bad usage of that option."""
    from promptseg.errors import PromptError

    found = []
    for text in texts or ():
        try:
            found.append(parse(text))
        except PromptError as exc:
            if "numbers with commas" not in str(exc):
                raise
            raise typer.BadParameter(str(exc), param_hint=option) from None
    return found


def _require_text_engine() -> None:
    """Say before the work that nobody here can find a structure by its name."""
    from importlib.metadata import entry_points

    from promptseg.session.text_engines import GROUP
    from promptseg.wholebody.totalseg import all_tasks

    if len(entry_points(group=GROUP)) <= 1:  # ours alone, whose extra may be missing
        all_tasks()


def _save(session: Session, plan: OutputPlan, seconds: float) -> None:
    from promptseg.export.provenance import provenance_of

    made = provenance_of(session.prompt_log())
    done = plan.write(session.labelmap, session.volume, made, lambda path: save_folder(session, path))
    rows = label_rows(session.labelmap)
    wrote(done.files)
    files = mode().files
    lines = [f"{row['name']}: {row['text']}" for row in rows] + [f"wrote {name}" for name in files]
    data = {"labels": rows, "files": files, "missed": done.missed, "model": session.model_id, "seconds": seconds}
    tell(lines, data)
    for sentence in done.missed:
        note(sentence, "error")
    if done.missed:
        raise typer.Exit(NOT_ALL_WRITTEN)


def label_rows(labelmap: Labelmap) -> list[dict[str, Any]]:
    """Return name, voxels and size of every label: ml, of one slice mm², or pixels where the file states no size."""
    from promptseg.measure.size import size_in_words, size_of

    rows = []
    for label in labelmap.labels.values():
        count = int(labelmap.mask(label.value).sum())
        ml = labelmap.geometry.volume_ml(count)
        text = size_in_words(size_of(count, labelmap.geometry))
        rows.append({"value": label.value, "name": label.name, "voxels": count, "volume_ml": ml, "text": text})
    return rows


def save_folder(session: Session, folder: Path) -> list[Path]:
    """Write mask, prompt log and overlay of a session into a folder; return every file."""
    from promptseg.report.overlay import write_overlay_png
    from promptseg.session.prompt_log import logged_prompts

    mask, log, overlay = (folder / name for name in FOLDER_NAMES)
    written = [*session.save(mask), session.export_prompts(log)]
    write_overlay_png(session.volume, session.labelmap, overlay, prompts=logged_prompts(session.log))
    return [*written, overlay]
