"""Keep native libraries, pydicom and tifffile from writing their own warnings to the terminal."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar

__all__ = ["quiet_codec", "quiet_itk", "quiet_pydicom", "quiet_tifffile"]

# How lines of the C libraries inside ITK and GDCM begin (libjpeg, libpng, libtiff, CharLS, OpenJPEG, MetaIO, niftilib).
# A line of another origin, e.g. a log line of another thread, is passed on.
CODEC_LINES = re.compile(
    r"Corrupt JPEG|Premature end of JPEG|Not a JPEG|JPEG |Unsupported |Invalid |Bogus |Quantization table|Huffman table"
    r"|Warning: unknown|Marker handler|Tile part|Application transferred|Incomplete |lib/interface/|\tCAN NOT CONVERT"
    r"|libpng |PackBits|LZW|ZIP|_?TIFF|.*\.(tiff?|mha|mhd)\b|\w+: Warning|\*\* "
    r"|Meta(Object|Image|IO)|Uncompress|\w+ (required|defined prior)|\s*ideal = "
)
DAMAGE = ("Corrupt JPEG", "Premature end of JPEG")
_redirect = threading.Lock()
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Turn ITK's global warnings off inside the block; what was set before comes back afterwards.

    Errors are not hidden: ITK raises them as ``RuntimeError``, which the readers turn into ``ReadError``.
    """
    import SimpleITK as sitk

    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def quiet_pydicom() -> AbstractContextManager[None]:
    """Ignore pydicom's warnings about values that break the standard's small rules; the readers check what they use.

    pydicom logs each of them too, with the value, which may be a person's name: such records are dropped in the block.
    """
    return _without_remarks("pydicom")


def quiet_tifffile() -> AbstractContextManager[None]:
    """Ignore what tifffile warns of and logs about tags that break the format's small rules, in the same way."""
    return _without_remarks("tifffile")


@contextmanager
def _without_remarks(library: str) -> Iterator[None]:
    logging.getLogger(library).addFilter(_values_are_private)  # the same filter twice is one
    token = _quiet.set(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _quiet.reset(token)


def _values_are_private(record: logging.LogRecord) -> bool:
    """Return True for a record that may pass: one from outside our blocks."""
    return not _quiet.get()


@contextmanager
def quiet_codec() -> Iterator[list[str]]:
    """Catch what C libraries print to the process's standard output and error; give the lines that mean damaged data.

    The list is filled when the block ends. Lines that no such library wrote (another thread's) are passed on then.
    Used around decoders that have no other way to be told, or to tell.
    """
    damage: list[str] = []
    with _redirect, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        _flush()
        saved = os.dup(1), os.dup(2)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            yield damage
        finally:
            _flush()
            for number, before, caught in ((1, saved[0], out), (2, saved[1], err)):
                os.dup2(before, number)
                os.close(before)
                caught.seek(0)
                damage += _sort_out(caught.read(), number)


def _sort_out(text: bytes, number: int) -> list[str]:
    """Return the lines that tell of damage; pass on to a file descriptor those that no C library wrote."""
    lines = text.decode(errors="replace").splitlines()
    for line in lines:
        if line.strip() and not CODEC_LINES.match(line):
            os.write(number, line.encode() + b"\n")
    return [line for line in lines if line.startswith(DAMAGE)]


def _flush() -> None:
    """Empty Python's and the C library's buffers, so that each line lands on its own side of the redirection."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or None under pythonw
            stream.flush()
    with suppress(OSError, AttributeError, TypeError):  # no such C library to be found (Windows): nothing is buffered
        ctypes.CDLL(None).fflush(None)
