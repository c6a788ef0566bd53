"""What a person or a script sees: results as lines or JSON, notes, progress, the program's log, what Ctrl-C left."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

__all__ = ["COMMON", "Mode", "Stepped", "interrupted", "mode", "note", "progress", "tell", "using", "wrote"]

# Options that stand anywhere on the command line; main() takes them out before the command sees its own.
COMMON = {
    "--json": "Print the result as JSON.",
    "-q, --quiet": "Print errors and results only: no notes, no progress.",
    "-v, --verbose": "Say what is done: files opened, model, device, seconds.",
    "--debug": "Show all of that and the traceback of an error.",
}
LOG_FORMAT = "%(relativeCreated)6d ms  %(message)s"

Stepped = Callable[[Any], None]  # takes any progress value of ours: done, total


@dataclass(frozen=True)
class Mode:
    """How one command speaks; ``files`` are those it has written so far."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    files: list[str] = field(default_factory=list)

    @staticmethod
    def taken_from(arguments: Sequence[str]) -> tuple[Mode, list[str]]:
        """Split a command line into how to speak and what to do; everything behind ``--`` is left alone."""
        end = list(arguments).index("--") if "--" in arguments else len(arguments)
        known = {name: names for names in COMMON for name in names.split(", ")}
        asked = {known[word] for word in arguments[:end] if word in known}
        rest = [word for place, word in enumerate(arguments) if place >= end or word not in known]
        as_json, quiet, verbose, debug = (names in asked for names in COMMON)
        return Mode(as_json, quiet, verbose, debug), rest


_MODE: ContextVar[Mode] = ContextVar("promptseg.cli.mode")


def mode() -> Mode:
    """Return how the running command speaks."""
    return _MODE.get(None) or Mode()


@contextmanager
def using(chosen: Mode) -> Iterator[None]:
    """Speak in this way while the block runs, and send the program's log to standard error where that is asked for."""
    logger, handler = logging.getLogger("promptseg"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    level, before = logger.level, _MODE.set(chosen)
    if chosen.verbose or chosen.debug:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        _MODE.reset(before)


def tell(lines: Iterable[str], data: Any) -> None:
    """Print a result: lines for people, or ``data`` as JSON (paths and other values as text, no infinity)."""
    if mode().as_json:
        from promptseg.measure.tables import plain_json

        typer.echo(json.dumps(plain_json(data), indent=1, ensure_ascii=False, default=str))
        return
    for line in lines:
        typer.echo(line)


def note(text: object, kind: str = "note") -> None:
    """Say on standard error what a person should know besides the result."""
    if not mode().quiet:
        typer.echo(f"{kind}: {text}", err=True)


def wrote(paths: Iterable[Path]) -> list[str]:
    """Remember files that stand, whatever happens next; return their names."""
    names = [str(path) for path in paths]
    mode().files.extend(names)
    return names


def interrupted() -> str:
    """Return what Ctrl-C left behind: files appear whole or not at all."""
    files = mode().files
    return f"interrupted; these files stand: {', '.join(files)}" if files else "interrupted; nothing was written"


@contextmanager
def progress(what: str, unit: str = "slices") -> Iterator[tuple[Callable[[str], None], Stepped]]:
    """Show a bar on a terminal, and nothing elsewhere.

    Args:
        what: is done.
        unit: of what is counted.

    Yields:
        A function that takes another description, and one that takes a progress value with ``done`` and ``total``. The
        work may end early; the bar then jumps to its end.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn(f"{{task.completed:.0f}} {unit}"))
    shown = console.is_terminal and not mode().quiet
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not shown) as bar:
        task = bar.add_task(what, total=None)
        yield (
            lambda text: bar.update(task, description=text),
            lambda step: bar.update(task, total=step.total, completed=step.done),
        )
        bar.update(task, total=bar.tasks[0].completed or 1, completed=bar.tasks[0].completed or 1)
