"""Every error promptseg raises on purpose, in one tree.

    PromptsegError
    ├── ReadError               a file or folder cannot be read as an image
    │   └── SeriesChoiceError   a folder holds several image series; one must be chosen
    ├── WriteError              a result cannot be written
    ├── GeometryError           a frame is impossible (singular, non-finite, ...)
    │   └── GeometryMismatchError   two things that must share a grid do not
    ├── PromptError             a prompt is malformed or lies outside the image
    │   └── UnknownNameError    no label or structure has this name, or several have
    ├── ModelError              a model is unknown, broken, or cannot do what was asked
    │   └── UnknownModelError
    ├── TooLargeError           the work would not fit into memory
    ├── DeviceError             the device asked for is not there
    ├── MissingExtraError       an optional package is not installed
    ├── SettingsError           an option or PROMPTSEG_* variable has an impossible value
    ├── ReplayError             a prompt log or journal cannot be read, or is of another version
    │   └── ChangedError        the image, the weights or the masks are not those that it was written with
    ├── StartError              a worker process cannot start
    ├── RemoteError             a server refused, or cannot be reached
    └── Cancelled               the caller asked a long call to stop

A message says what was expected, what came, and what to do now; ``code`` and ``facts`` say it to programs. Faces (CLI,
app, REST) turn these into exit codes, HTTP statuses or dialogs; anything else that escapes is a bug.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar

__all__ = [
    "Cancelled",
    "ChangedError",
    "DeviceError",
    "GeometryError",
    "GeometryMismatchError",
    "MissingExtraError",
    "ModelError",
    "PromptError",
    "PromptsegError",
    "ReadError",
    "RemoteError",
    "ReplayError",
    "SeriesChoiceError",
    "SettingsError",
    "StartError",
    "TooLargeError",
    "UnknownModelError",
    "UnknownNameError",
    "WriteError",
    "did_you_mean",
    "error_of",
]


class PromptsegError(Exception):
    """Base of all errors that promptseg raises on purpose.

    Args:
        message: one sentence for a person.
        facts: what a program needs to go on, as plain JSON types: ``choices``, ``limit``, ...

    Attributes:
        code: the class's name for programs: "series_choice" of ``SeriesChoiceError``.
        facts: as given.
    """

    code: ClassVar[str] = "promptseg"

    def __init__(self, message: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.facts = facts

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.__name__.startswith("_"):  # a module's own kind is its base to everybody else
            cls.code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__.removesuffix("Error")).lower()

    def __reduce__(self) -> tuple[Any, ...]:  # pickled between processes, whatever a subclass's arguments are
        return _made, (type(self), str(self), self.facts)

    @property
    def choices(self) -> tuple[str, ...]:
        """What can be named or done instead; () where that is not known."""
        return tuple(self.facts.get("choices", ()))


class ReadError(PromptsegError):
    """A file or folder cannot be read as an image."""


class SeriesChoiceError(ReadError):
    """A folder holds several image series and none was chosen; ``choices`` lists their ids."""

    def __init__(self, message: str, choices: Iterable[str] = ()) -> None:
        super().__init__(message, choices=tuple(choices))


class WriteError(PromptsegError):
    """A result cannot be written. Nothing is left under the final name."""


class GeometryError(PromptsegError):
    """A frame is impossible: singular direction, non-positive spacing, non-finite numbers."""


class GeometryMismatchError(GeometryError):
    """Two things that must lie on the same grid do not; both geometries are in the message."""


class PromptError(PromptsegError):
    """A prompt is malformed, empty, or lies outside the image."""


class UnknownNameError(PromptError):
    """No label or structure has this name, or several have; ``choices`` lists those that may be meant."""


class ModelError(PromptsegError):
    """A model is broken or cannot do what was asked."""


class UnknownModelError(ModelError):
    """No model has this id; the message lists the near ones."""


class TooLargeError(PromptsegError):
    """The work would not fit into the memory that is free; the message says how much is missing."""


class DeviceError(PromptsegError):
    """The device asked for is not there. Never answered by a silent fallback."""


class MissingExtraError(PromptsegError):
    """An optional package is not installed; the message holds the exact install line.

    Args:
        package: what is missing; the fact ``package``.
        extra: which of our extras brings it; the fact ``extra``.
        message: what to say instead, where no extra brings it.
    """

    def __init__(self, package: str, extra: str, message: str = "") -> None:
        usual = (
            f"this needs the package {package!r}, which is not installed; "
            f'install it with: pip install "promptseg[{extra}]"'
        )
        super().__init__(message or usual, package=package, extra=extra)


class SettingsError(PromptsegError):
    """An option or a ``PROMPTSEG_*`` environment variable has an impossible value."""


class ReplayError(PromptsegError):
    """A prompt log or a session's journal cannot be read, or is of another version."""


class ChangedError(ReplayError):
    """The image, the weights or the masks are not those that a log or journal was written with.

    ``choices`` says what can be done: "stored" (open the labels as they were stored), "again" (take what the prompts
    give now), "new" (begin anew).
    """


class StartError(PromptsegError):
    """A worker process cannot start at all: weights, device or options are wrong for every case."""


class RemoteError(PromptsegError):
    """A server refused, or cannot be reached.

    Args:
        message: its sentence.
        status: the answer's HTTP status, 0 where there was none.
        facts: what else it said.
    """

    def __init__(self, message: str, status: int = 0, **facts: Any) -> None:
        super().__init__(message, status=status, **facts)

    @property
    def status(self) -> int:
        """The answer's HTTP status, 0 where there was none."""
        return int(self.facts.get("status", 0))


class Cancelled(PromptsegError):  # noqa: N818 - an outcome, not a fault
    """The caller asked a long call to stop; the last consistent state was kept."""


def error_of(code: str, message: str, facts: Mapping[str, Any]) -> PromptsegError | None:
    """Return the error that another process told of by its code; None where this package has no such error."""
    kind = next((kind for kind in _all(PromptsegError) if kind.code == code and kind.__module__ == __name__), None)
    return None if kind is None else _made(kind, message, facts)


def _all(kind: type[PromptsegError]) -> Iterator[type[PromptsegError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _all(below)


def _made(kind: type[PromptsegError], message: str, facts: Mapping[str, Any]) -> PromptsegError:
    made = kind.__new__(kind)
    PromptsegError.__init__(made, message, **facts)
    return made


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'a' or 'b'?"``, or ``""`` where nothing known is near ``name``."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
