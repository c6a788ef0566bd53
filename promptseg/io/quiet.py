"""Keep native libraries from writing their own warnings to the terminal while a file is read or written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_itk"]


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
