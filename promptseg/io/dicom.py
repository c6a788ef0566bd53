"""DICOM files and folders to one image on one regular grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from promptseg.io.dicom_header import DIRECTORY, Frame, read_header
from promptseg.io.dicom_pixels import decode, inversion
from promptseg.io.dicom_series import choose_series, files_below, find_series
from promptseg.io.dicom_stack import stack_frames
from promptseg.io.itk import RawImage, check_frame
from promptseg.volume.intensity import Window

__all__ = ["DicomImage", "read_dicom"]


@dataclass(frozen=True)
class DicomImage:
    """Array and frame, with what only DICOM says: the modality and the window of its tags."""

    raw: RawImage
    modality: str | None
    window: Window | None


def read_dicom(source: Path | Sequence[Path], *, series: str | None = None, frame: int | None = None) -> DicomImage:
    """Read one series.

    Args:
        source: a file, a folder (searched with all folders in it), or the files of one or more series.
        series: which series, see ``choose_series``.
        frame: which volume of a 4D series or frame of a cine loop; None takes the first and says so.

    Raises:
        SeriesChoiceError: several series and no choice.
        ReadError: no image, damaged, or no regular grid.
    """
    files, what = _files(source)
    info, findings = choose_series(find_series(files, what), series, what)
    stack = stack_frames(info.frames, what)
    count = len(stack.volumes)
    index = check_frame(frame, count, what)
    notes = [*findings, *stack.findings]
    if count > 1 and frame is None:
        notes.append(
            f"the series holds {count} frames, told apart by {stack.split_by}; "
            "the first (frame 0) was read, others by frame="
        )
    chosen = stack.volumes[index]
    array = decode(chosen)
    if chosen[0].photometric == "MONOCHROME1":
        notes.append("MONOCHROME1 (low values are white) was inverted, so that high values are bright")
    if info.modality == "RTDOSE":
        notes.append("the values are radiation dose (RTDOSE), not an image of the patient")
    return DicomImage(RawImage(array, stack.geometry, notes), info.modality or None, _window(chosen))


def _files(source: Path | Sequence[Path]) -> tuple[list[Path], str]:
    """Return the files to look at, and how messages name them."""
    if not isinstance(source, Path):
        return list(source), f"the list of {len(source)} files"
    if source.is_dir():
        return files_below(source), str(source)
    if str(read_header(source).get("SOPClassUID", "")) == DIRECTORY:
        beside = [path for path in files_below(source.parent) if path != source]
        return (beside, str(source.parent)) if beside and source.name.upper() == "DICOMDIR" else ([source], str(source))
    return [source], str(source)


def _window(frames: Sequence[Frame]) -> Window | None:
    """Return one window for all slices: the median of theirs (MR and PET vary it slice by slice)."""
    windows = [frame.window for frame in frames if frame.window is not None]
    if not windows or frames[0].samples > 1 or frames[0].photometric.startswith("PALETTE"):
        return None
    low = float(np.median([window.low for window in windows]))
    high = float(np.median([window.high for window in windows]))
    if frames[0].photometric == "MONOCHROME1":
        top = inversion(frames[0])
        low, high = top - high, top - low
    return Window(low, high, "dicom") if high > low else None
