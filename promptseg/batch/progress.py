"""Showing a batch: bars on a terminal, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from promptseg.batch.events import BatchProgress, CaseEnded, Event, Finished, Listener, Note, Started, event_dict

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

__all__ = ["json_lines", "plain_lines", "sentence", "shown"]

PLAIN_S = 30.0  # seconds between two lines on how far it is


@contextmanager
def shown(*, as_json: bool, write: Callable[[str], None]) -> Iterator[Listener]:
    """Give the listener that fits: JSON when asked, bars when standard error is a terminal, else plain lines.

    Args:
        as_json: one JSON object per event.
        write: takes a line.
    """
    if as_json:
        yield json_lines(write)
    elif sys.stderr.isatty():
        with _bars() as listener:
            yield listener
    else:
        yield plain_lines(write)


def json_lines(write: Callable[[str], None]) -> Listener:
    """Return a listener that writes every event as one line of JSON."""
    return lambda event: write(json.dumps(event_dict(event)))


def plain_lines(write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> Listener:
    """Return a listener that writes a line per ended case, and now and then how far it is."""
    last = [clock()]

    def listen(event: Event) -> None:
        if isinstance(event, BatchProgress):
            if clock() - last[0] < PLAIN_S:
                return
            last[0] = clock()
        text = sentence(event)
        if text:
            write(text)

    return listen


def sentence(event: Event) -> str:
    """Return an event in words."""
    if isinstance(event, Started):
        before = f", {event.done} done and {event.failed} failed before" if event.done or event.failed else ""
        return f"{event.total} cases{before}; {event.lines} worker(s)"
    if isinstance(event, Note):
        return f"note: {event.text}"
    if isinstance(event, CaseEnded):
        word = {"done": "done", "failed": "FAILED", "again": "will try again"}[event.state]
        why = f": {event.reason}" if event.reason else f", {event.seconds:.1f} s, {event.peak_mib:.0f} MiB"
        more = f" (and {len(event.findings) - 1} more)" if len(event.findings) > 1 else ""
        warning = f"; warning: {event.findings[0]}{more}" if event.findings else ""
        return f"{event.id} {word}{why}{warning}"
    if isinstance(event, BatchProgress):
        ended = event.done + event.failed
        left = f", about {_duration(event.left_s)} left" if event.left_s is not None else ""
        return f"{ended} of {event.total}{left}, {event.failed} failed"
    return _summary(event)


def _summary(event: Finished) -> str:
    stopped = "interrupted: " if event.interrupted else ""
    waiting = f", {event.pending} not done (go on with --resume)" if event.pending else ""
    warned = f" ({event.warned} with warnings)" if event.warned else ""
    where = f"; report: {event.report}" if event.report else ""
    return (
        f"{stopped}{event.done} of {event.total} done{warned}, {event.failed} failed{waiting}, "
        f"in {_duration(event.seconds)}{where}"
    )


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@contextmanager
def _bars() -> Iterator[Listener]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("{task.fields[more]}"))  # fmt: skip
    with Bars(*columns, console=console) as bars:
        whole = bars.add_task("batch", total=None, more="")
        rows: dict[int, TaskID] = {}

        def listen(event: Event) -> None:
            if isinstance(event, Started):
                bars.update(whole, total=event.total, completed=event.done + event.failed)
            elif isinstance(event, BatchProgress):
                _show(bars, whole, rows, event)
            elif isinstance(event, CaseEnded):
                if event.state != "again":
                    bars.advance(whole)
                if event.state != "done":
                    console.print(escape(sentence(event)), highlight=False)
            else:
                console.print(escape(sentence(event)), highlight=False)

        yield listen


def _show(bars: Bars, whole: TaskID, rows: dict[int, TaskID], event: BatchProgress) -> None:
    left = f"{_duration(event.left_s)} left" if event.left_s is not None else ""
    bars.update(whole, completed=event.done + event.failed, more=f"{left}  {event.failed} failed".strip())
    for number, cases in sorted(event.lines.items()):
        if number not in rows:
            rows[number] = bars.add_task(f"worker {number + 1}", total=None, more="")
        active = [f"{step} {case_id[:8]} {seconds:.0f} s" for case_id, (step, seconds) in cases.items()
                  if not step.startswith("waits")]  # fmt: skip
        bars.update(rows[number], more=", ".join(active) or "idle")
