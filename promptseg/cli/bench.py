"""``promptseg bench``: models and baselines on labelled images, with simulated prompts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptseg.cli.options import DeviceName
from promptseg.cli.terminal import mode, note, tell, wrote

if TYPE_CHECKING:
    from promptseg.bench.run import ProgressCallback

__all__ = ["bench"]

TABLE_WIDTH = 136  # characters; the widest table


def bench(
    cases: Annotated[
        Path, typer.Option(help="Case list (TOML), or a folder with images/ and labels/.", metavar="CASES")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for tables, CSV, JSON and plots.")] = Path(
        "out/bench"
    ),
    model: Annotated[
        list[str] | None, typer.Option(help="Model id, grabcut or box-fill; repeatable. Default: all four.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder that the list's paths start from.")] = None,
    dimension: Annotated[
        list[int] | None, typer.Option(help="2: slices, 3: volumes; repeatable. Default: 2.", min=2, max=3)
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many cases per protocol, evenly spread.", min=1)] = None,
    range_given: Annotated[
        bool, typer.Option("--range/--no-range", help="3D: the box says where the object ends.")
    ] = True,
    start: Annotated[
        str, typer.Option(help="3D: what comes before the clicks: box, click, or mask (a wrong one).")
    ] = "box",
    clicks: Annotated[int, typer.Option(help="3D: clicks after the start.", min=0)] = 5,
    engine: Annotated[str, typer.Option("--mode", help="3D: auto, volume or slices, as for segment.")] = "auto",
    show_cases: Annotated[bool, typer.Option("--show-cases", help="Print every case, not only means.")] = False,
    device: DeviceName = "auto",
) -> None:
    """Simulate clicks, boxes and scribbles on labelled images; print and write Dice, NSD, seconds, calibration."""
    from rich.console import Console

    from promptseg.bench.command import DEFAULT_MODELS, BenchOptions
    from promptseg.bench.command import bench as run_bench
    from promptseg.bench.protocol3d import Rounds3D
    from promptseg.bench.tables import calibration_table, case_table, mean_tables, skipped_table
    from promptseg.bench.writers import to_dict
    from promptseg.io.outputs import require_folder

    output = require_folder(output)
    options = BenchOptions(
        dimensions=tuple(dict.fromkeys(dimension or [2])),
        limit=limit,
        rounds_3d=Rounds3D(clicks, range_given, start),
        device=device,
        mode=engine,
    )
    with _progress() as progress:
        run = run_bench(cases, tuple(model or DEFAULT_MODELS), output, root=root, options=options, progress=progress)
    if mode().as_json:
        tell([], {**to_dict(run.result), "notes": run.notes, "files": wrote(run.files)})
        return
    console = Console()
    if console.width < TABLE_WIDTH:  # a narrow terminal wraps lines; columns cut to "0…" would help nobody
        console = Console(width=TABLE_WIDTH)
    tables = [case_table(run.result, d) for d in run.result.dimensions] if show_cases else []
    tables += mean_tables(run.result)
    if 2 in run.result.dimensions:
        tables.append(calibration_table(run.result))
    for table in [*tables, skipped_table(run.result)]:
        if table is not None:
            console.print(table)
    for sentence in run.notes:
        note(sentence)
    for name in wrote(run.files):
        typer.echo(f"wrote {name}")


@contextmanager
def _progress() -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from promptseg.bench.run import BenchProgress as Step

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    shown = console.is_terminal and not mode().quiet
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("starting", total=None)

        def on_progress(step: Step) -> None:
            bar.update(task, total=step.total, completed=step.done, description=f"{step.case} {step.model}".strip())

        yield on_progress
