"""Every error promptseg raises on purpose, in one tree.

    PromptsegError
    ├── ReadError               a file or folder cannot be read as an image
    │   └── SeriesChoiceError   a folder holds several image series; one must be chosen
    ├── WriteError              a result cannot be written
    ├── GeometryError           a frame is impossible (singular, non-finite, ...)
    │   └── GeometryMismatchError   two things that must share a grid do not
    ├── PromptError             a prompt is malformed or lies outside the image
    ├── ModelError              a model is unknown, broken, or cannot do what was asked
    │   └── UnknownModelError
    ├── TooLargeError           the work would not fit into memory
    ├── DeviceError             the device asked for is not there
    ├── MissingExtraError       an optional package is not installed
    ├── SettingsError           an option or PROMPTSEG_* variable has an impossible value
    ├── ReplayError             a prompt log does not fit the image or model
    └── Cancelled               the caller asked a long call to stop

A message says what was expected, what came, and what to do now. Faces (CLI, app, REST) turn these into
exit codes, HTTP statuses or dialogs; anything else that escapes is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "Cancelled",
    "DeviceError",
    "GeometryError",
    "GeometryMismatchError",
    "MissingExtraError",
    "ModelError",
    "PromptError",
    "PromptsegError",
    "ReadError",
    "ReplayError",
    "SeriesChoiceError",
    "SettingsError",
    "TooLargeError",
    "UnknownModelError",
    "WriteError",
    "did_you_mean",
]


class PromptsegError(Exception):
    """Base of all errors that promptseg raises on purpose."""


class ReadError(PromptsegError):
    """A file or folder cannot be read as an image."""


class SeriesChoiceError(ReadError):
    """A folder holds several image series and none was chosen; ``choices`` lists their ids."""

    def __init__(self, message: str, choices: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.choices = choices


class WriteError(PromptsegError):
    """A result cannot be written. Nothing is left under the final name."""


class GeometryError(PromptsegError):
    """A frame is impossible: singular direction, non-positive spacing, non-finite numbers."""


class GeometryMismatchError(GeometryError):
    """Two things that must lie on the same grid do not; both geometries are in the message."""


class PromptError(PromptsegError):
    """A prompt is malformed, empty, or lies outside the image."""


class ModelError(PromptsegError):
    """A model is broken or cannot do what was asked."""


class UnknownModelError(ModelError):
    """No model has this id; the message lists the near ones."""


class TooLargeError(PromptsegError):
    """The work would not fit into the memory that is free; the message says how much is missing."""


class DeviceError(PromptsegError):
    """The device asked for is not there. Never answered by a silent fallback."""


class MissingExtraError(PromptsegError):
    """An optional package is not installed; the message holds the exact install line."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package {package!r}, which is not installed; "
            f'install it with: pip install "promptseg[{extra}]"'
        )
        self.package = package
        self.extra = extra


class SettingsError(PromptsegError):
    """An option or a ``PROMPTSEG_*`` environment variable has an impossible value."""


class ReplayError(PromptsegError):
    """A prompt log does not fit the image, the model, or this version."""


class Cancelled(PromptsegError):  # noqa: N818 - an outcome, not a fault
    """The caller asked a long call to stop; the last consistent state was kept."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'a' or 'b'?"``, or ``""`` where nothing known is near ``name``."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
