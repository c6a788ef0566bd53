"""Which 3D frame of a 4D file is read."""

from __future__ import annotations

from promptseg.check.finding import Finding, Severity
from promptseg.errors import ReadError

__all__ = ["check_frame", "frame_finding"]


def check_frame(frame: int | None, count: int, path: object) -> int:
    """Return the zero-based frame to read.

    Raises:
        ReadError: ``frame`` is not one of 0 ... count - 1.
    """
    if frame is not None and not 0 <= frame < count:
        raise ReadError(f"cannot read frame {frame} of {path}: expected a frame from 0 to {count - 1}")
    return frame or 0


def frame_finding(count: int, what: str = "time, phase or direction") -> Finding:
    """Return the sentence that says that only the first of several frames was read."""
    sentence = f"the file holds {count} frames ({what}); the first (frame 0) was read, others by frame="
    return Finding(sentence, "several-frames", Severity.INFO, "first frame read")
