"""What a batch tells while it runs; ``promptseg.batch.progress`` shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

__all__ = ["BatchProgress", "CaseEnded", "Event", "Finished", "Listener", "Note", "Started", "event_dict"]


@dataclass(frozen=True)
class Started:
    """The batch begins: ``total`` cases, of which ``done`` and ``failed`` were finished by earlier runs."""

    total: int
    done: int
    failed: int
    lines: int


@dataclass(frozen=True)
class Note:
    """Something that a person should know."""

    text: str


@dataclass(frozen=True)
class CaseEnded:
    """An attempt at a case ended; ``state`` is "done", "failed", or "again" when it will be tried again.

    ``findings`` are sentences that a person should read of a case that is done.
    """

    id: str
    state: str
    attempt: int
    seconds: float
    peak_mib: float
    kind: str | None = None
    reason: str | None = None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class BatchProgress:
    """Where the batch stands, about once a second.

    Attributes:
        total, done, failed: cases.
        left_s: time left as the rate so far tells it; None while nothing tells it.
        lines: for each line number the cases on it: id to (step, seconds in it).
    """

    total: int
    done: int
    failed: int
    left_s: float | None
    lines: Mapping[int, Mapping[str, tuple[str, float]]]


@dataclass(frozen=True)
class Finished:
    """The run ends.

    Attributes:
        total, done, failed, pending: cases, all runs counted.
        seconds: of this run.
        interrupted: a person or the system stopped it.
        report: path of the HTML report; None where it could not be written.
        warned: cases that were done in this run and have findings.
    """

    total: int
    done: int
    failed: int
    pending: int
    seconds: float
    interrupted: bool
    report: str | None
    warned: int = 0


Event: TypeAlias = Started | Note | CaseEnded | BatchProgress | Finished
Listener: TypeAlias = Callable[[Event], None]
NAMES = {Started: "started", Note: "note", CaseEnded: "case", BatchProgress: "progress", Finished: "finished"}


def event_dict(event: Event) -> dict[str, Any]:
    """Return an event as JSON values, its kind under ``event``."""
    return {"event": NAMES[type(event)], **asdict(event)}
