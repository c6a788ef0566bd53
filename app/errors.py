"""What the server refuses, beside the package's own errors."""

from __future__ import annotations

from promptseg.errors import PromptsegError, ReadError

__all__ = [
    "BusyError",
    "ForbiddenError",
    "FrameError",
    "FullError",
    "HeldElsewhereError",
    "NotFoundError",
    "UnreadableBodyError",
    "UploadTooLargeError",
]


class NotFoundError(PromptsegError):
    """There is no such thing, or it belongs to somebody else: the answer is the same."""


class ForbiddenError(PromptsegError):
    """The thing may be looked at, but not changed, by whoever asks."""


class HeldElsewhereError(PromptsegError):
    """Another living process holds the session and is working on it."""


class BusyError(PromptsegError):
    """Too much is waiting: ``retry_after_s`` says when it is worth another try; ``own`` when it is the user's own."""

    def __init__(self, message: str, retry_after_s: float, *, own: bool) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.retry_after_s, self.own = retry_after_s, own


class UploadTooLargeError(ReadError):
    """More files or bytes than allowed: the fact ``limit``."""


class UnreadableBodyError(PromptsegError):
    """The request's body is neither of the two kinds."""


class FullError(PromptsegError):
    """As many viewers as there may be are drawing already."""


class FrameError(PromptsegError):
    """The bytes are no frame, or one that is too large."""
