"""Keep native libraries and pydicom from writing their own warnings to the terminal while a file is read or written."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_codec", "quiet_itk", "quiet_pydicom"]

# How lines of the C decoders inside GDCM (libjpeg, CharLS, OpenJPEG) begin; anything else is passed on.
CODEC_LINES = ("Corrupt JPEG", "Unsupported JPEG", "Premature end of JPEG", "Invalid ", "Marker handler", "Tile part")
DAMAGE = ("Corrupt JPEG", "Premature end of JPEG")
_redirect = threading.Lock()


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


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Ignore pydicom's warnings about values that break the standard's small rules; the readers check what they use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def quiet_codec() -> Iterator[list[str]]:
    """Catch what a C decoder prints to the process's standard error; give the lines that mean damaged data.

    The list is filled when the block ends. Lines that no decoder wrote (another thread's) are passed on afterwards.
    Used around GDCM's JPEG decoder only, which has no other way to be told, or to tell.
    """
    damage: list[str] = []
    with _redirect, tempfile.TemporaryFile() as caught:
        sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield damage
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                if line.startswith(DAMAGE):
                    damage.append(line.strip())
                elif not line.startswith(CODEC_LINES):
                    os.write(2, line.encode() + b"\n")
