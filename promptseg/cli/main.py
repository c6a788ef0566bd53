"""The command line: parse, call, format. Errors become one paragraph and an exit code here and nowhere else.

Exit codes: 0 success; 2 bad usage; 3 `check` found errors; 4 `batch` ended with failed cases; 130 interrupted;
1 anything else that went wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptseg.cli.app import app_command
from promptseg.cli.batch import batch
from promptseg.cli.bench import bench
from promptseg.cli.check import check, deidentify
from promptseg.cli.grand_challenge import grand_challenge
from promptseg.cli.masks import register as register_measure
from promptseg.cli.mcp import mcp
from promptseg.cli.models import cache_app, models_app
from promptseg.cli.report import report
from promptseg.cli.serve import serve, users_app
from promptseg.cli.wholebody import wholebody
from promptseg.errors import PromptsegError

if TYPE_CHECKING:
    from promptseg.engine.progress import OnProgress
    from promptseg.prompts import Prompt
    from promptseg.volume import Volume, Window

__all__ = ["app", "main"]

RESEARCH_ONLY = "Research use only: not a medical device."
app = typer.Typer(
    name="promptseg",
    help=f"Promptable segmentation of medical images: clicks, boxes and scribbles into 3D masks.\n\n{RESEARCH_ONLY}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(models_app, name="models")
app.add_typer(cache_app, name="cache")
app.command()(batch)
app.add_typer(users_app, name="users")
app.command("app")(app_command)
app.command()(bench)
app.command()(check)
app.command()(deidentify)
app.command()(mcp)
app.command()(report)
app.command("grand-challenge")(grand_challenge)
app.command()(serve)
register_measure(app)
app.command()(wholebody)

Image = Annotated[Path, typer.Argument(help="Image file, or a folder with one DICOM series.", metavar="IMAGE")]
Series = Annotated[str | None, typer.Option(help="Which DICOM series of a folder (number, or part of its UID).")]
Frame = Annotated[int | None, typer.Option(help="Which frame of a 4D image, from 0.")]
WindowText = Annotated[
    str | None,
    typer.Option("--window", help="Intensity window: a CT preset (soft-tissue, lung, bone, ...) or LEVEL,WIDTH."),
]
Model = Annotated[str, typer.Option(help="Model id; see `promptseg models list`.")]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]


def _version(value: bool) -> None:
    if value:
        import promptseg

        typer.echo(f"promptseg {promptseg.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version_flag: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # read in main
) -> None:
    """Parse the options that stand before the command."""


def _numbers(text: str, count: int, option: str, form: str) -> tuple[float, ...]:
    parts = text.split(",")
    try:
        values = tuple(float(part) for part in parts)
    except ValueError:
        values = ()
    if len(values) != count:
        raise typer.BadParameter(f"expected {form} ({count} numbers with commas), got {text!r}", param_hint=option)
    return values


def _points(texts: list[str], option: str, positive: bool) -> list[Prompt]:
    from promptseg.prompts import Point

    found: list[Prompt] = []
    for text in texts:
        z, y, x = _numbers(text, 3, option, "Z,Y,X")
        found.append(Point(voxel=(z, y, x), positive=positive))
    return found


def _boxes(texts: list[str]) -> list[Prompt]:
    from promptseg.prompts import Box

    found: list[Prompt] = []
    for text in texts:
        z0, y0, x0, z1, y1, x1 = _numbers(text, 6, "--box", "Z0,Y0,X0,Z1,Y1,X1")
        found.append(Box(voxel=((z0, y0, x0), (z1, y1, x1))))
    return found


def _parsed_window(text: str | None) -> Window | None:
    if text is None:
        return None
    from promptseg.volume import parse_window

    return parse_window(text)


def _read(image: Path, series: str | None, frame: int | None, window: str | None = None) -> Volume:
    from promptseg.io import read_volume

    return read_volume(image, series=series, frame=frame, window=_parsed_window(window))


@contextmanager
def _progress(what: str) -> Iterator[OnProgress]:
    """Show a bar on a terminal; the walk may end early, so the bar then jumps to its end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} slices"))
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(what, total=None)

        def on_progress(progress: Any) -> None:
            bar.update(task, total=progress.total, completed=progress.done)

        yield on_progress
        bar.update(task, total=bar.tasks[0].completed or 1, completed=bar.tasks[0].completed or 1)


@app.command()
def segment(
    image: Image,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="Mask file (.nii.gz, .nrrd, .seg.nrrd, .mha, ...), or a folder for mask, prompt log and overlay.",
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
    mask: Annotated[Path | None, typer.Option(help="A mask on the image's grid to refine.", metavar="FILE")] = None,
    text: Annotated[
        str | None, typer.Option(help="A structure by name, e.g. 'left kidney' (needs the extra wholebody).")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Prompt log, or a JSON list of prompts.", metavar="FILE.json")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Name of the label.")] = None,
    model: Model = "builtin",
    device: DeviceName = "auto",
    window: WindowText = None,
    series: Series = None,
    frame: Frame = None,
    propagate: Annotated[bool, typer.Option(help="Carry the mask to the other slices.")] = True,
    fuse: Annotated[
        str | None, typer.Option(help="auto: walk in every plane that is fine enough, and let the planes vote; or off.")
    ] = None,
) -> None:
    """Segment one object from prompts and write its mask."""
    from dataclasses import replace

    from promptseg.api import apply_log, open_session
    from promptseg.cli.commands import save_results
    from promptseg.engine.options import EngineOptions
    from promptseg.export.read import mask_prompt
    from promptseg.io.foreign import recist_box
    from promptseg.prompts import TextPrompt
    from promptseg.session.prompt_log import read_log

    given = _points(point or [], "--point", True) + _points(not_point or [], "--not-point", False) + _boxes(box or [])
    lines = [_numbers(text, 5, "--recist", "Z,Y0,X0,Y1,X1") for text in recist or []]
    if not given and not lines and mask is None and text is None and prompts is None:
        raise typer.BadParameter(
            "expected at least one of --point, --box, --recist, --mask, --text and --prompts, got none"
        )
    log = read_log(prompts) if prompts is not None else None
    volume = _read(image, series, frame, window)
    for finding in volume.findings:
        typer.echo(f"note: {finding}", err=True)
    logged = log if log is not None and window is None else None
    engine = (log.options if log else None) or EngineOptions()
    session = open_session(
        volume,
        model,
        device,
        window=logged.window if logged else None,
        options=engine if fuse is None else replace(engine, fuse=fuse),
    )
    if label is not None:
        session.new_label(label)
    given += [recist_box((z, y0, x0), (z, y1, x1), volume.geometry) for z, y0, x0, y1, x1 in lines]
    start = mask_prompt(mask, volume) if mask is not None else None
    with _progress("segmenting") as on_progress:
        if start is not None:
            session.add(start)
        if text is not None:
            session.add(TextPrompt(text), on_progress=on_progress)
        if log is not None:
            apply_log(session, log, on_progress=on_progress)
        if given:
            session.add(*given, propagate=propagate, on_progress=on_progress)
    for line in save_results(session, output):
        typer.echo(line)


@app.command()
def info(image: Image, series: Series = None, frame: Frame = None, window: WindowText = None) -> None:
    """Say what an image is: size, geometry, modality, window, findings. A folder of several series is listed."""
    from promptseg.cli.commands import describe
    from promptseg.errors import SeriesChoiceError
    from promptseg.io import list_series

    try:
        lines = describe(_read(image, series, frame, window))
    except SeriesChoiceError:
        if series is not None or not image.is_dir():
            raise
        found = list_series(image)
        lines = [f"{len(found)} DICOM series; choose one with --series", *(str(item) for item in found)]
    for line in lines:
        typer.echo(line)


@app.command()
def convert(
    image: Annotated[Path, typer.Argument(help="Image file or DICOM folder.", metavar="IN")],
    output: Annotated[Path, typer.Argument(help="File to write; its extension says the format.", metavar="OUT")],
    series: Series = None,
    frame: Frame = None,
    mask: Annotated[bool, typer.Option("--mask", help="IN is a mask: keep labels, names and colours.")] = False,
) -> None:
    """Convert an image (or, with --mask, a mask) to another format on the same grid."""
    from promptseg.io import read_labelmap, write_labelmap, write_volume

    if mask:
        written = write_labelmap(read_labelmap(image), output)
    else:
        written = write_volume(_read(image, series, frame), output)
    for path in written:
        typer.echo(f"wrote {path}")


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path("out"),
    model: Model = "builtin",
    device: DeviceName = "auto",
) -> None:
    """Segment the example volume from prompts and compare with its known truth."""
    from promptseg.cli.commands import run_demo

    with _progress("segmenting the example") as on_progress:
        lines = run_demo(output, model, device, on_progress)
    for line in lines:
        typer.echo(line)


@app.command()
def doctor() -> None:
    """Say what is installed, which device is really used, and what to do about what is missing."""
    from promptseg.cli.doctor import examine

    findings = examine()
    for finding in findings:
        typer.echo(f"{finding.state:7} {finding.topic:15} {finding.text}")
        if finding.remedy:
            typer.echo(f"{'':23} -> {finding.remedy}")
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code. This is the program's entry point. ``--debug`` may stand anywhere."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    try:
        app(args=[argument for argument in given if argument != "--debug"], prog_name="promptseg")
    except SystemExit as exc:  # how typer ends: 0, 2 for bad usage, or the code of typer.Exit
        return exc.code if isinstance(exc.code, int) else 0
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except PromptsegError as exc:
        if debug:
            raise
        return _fail(str(exc), 1)
    except Exception as exc:  # the last line of defence: a person gets a sentence, never a traceback
        if debug:
            raise
        return _fail(f"unexpected {type(exc).__name__}: {exc} (this is a bug; add --debug to see where)", 1)
    return 0


def _fail(message: str, code: int) -> int:
    typer.echo(f"promptseg: {message}", err=True)
    return code
