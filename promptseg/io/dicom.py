"""DICOM files and folders to one image on one regular grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from promptseg.check.finding import Finding, Severity
from promptseg.check.header import burned_in_findings, modality_findings, padding_findings
from promptseg.io.dicom_directory import files_of_directory
from promptseg.io.dicom_header import Frame, is_directory, read_header
from promptseg.io.dicom_pixels import decode, inversion, padding_of
from promptseg.io.dicom_series import choose_series, files_below, find_series
from promptseg.io.dicom_stack import stack_frames
from promptseg.io.estimate import bytes_of_frames, free_memory, require_room
from promptseg.io.itk import RawImage
from promptseg.io.sniff import is_dicom
from promptseg.volume.intensity import Window

__all__ = ["DicomImage", "content_findings", "dicom_window", "files_of", "is_dicom_series", "read_dicom"]


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
    files, what, listing = files_of(source)
    info, findings = choose_series(find_series(files, what), series, what)
    stack = stack_frames(info.frames, what)
    count = len(stack.volumes)
    index = stack.choose(frame, what)
    notes = [*listing, *findings, *stack.findings]
    if count > 1 and frame is None:
        sentence = (
            f"the series holds {count} frames, told apart by {stack.split_by}; frame {index} was read, others by frame="
        )
        notes.append(Finding(sentence, "several-frames", Severity.INFO, "first frame read"))
    chosen = stack.volumes[index]
    require_room(bytes_of_frames(chosen), free_memory(), what)
    array = decode(chosen)
    padding = padding_of(chosen)
    notes += [*content_findings(chosen[0]), *padding_findings(array, padding)]
    raw = RawImage(array, stack.geometry, notes, padding=padding)
    return DicomImage(raw, info.modality or None, dicom_window(chosen))


def is_dicom_series(paths: Sequence[Path], series: str | None) -> bool:
    """Return True where the paths (one folder, one file, or files) hold one DICOM series of several placed slices."""
    if not all(path.is_dir() or is_dicom(path) for path in paths):
        return False
    files, what, _ = files_of(paths[0] if len(paths) == 1 else paths)
    info, _ = choose_series(find_series(files, what), series, what)
    return len(info.frames) > 1 and not info.frames[0].loop


def content_findings(frame: Frame) -> list[Finding]:
    """Return what a person should know of the pixels' meaning: inversion, dose, modality, burned-in text."""
    found = []
    if frame.photometric == "MONOCHROME1":
        sentence = "MONOCHROME1 (low values are white) was inverted, so that high values are bright"
        found.append(Finding(sentence, "inverted", Severity.INFO, "converted"))
    if frame.modality == "RTDOSE":
        sentence = "the values are radiation dose (RTDOSE), not an image of the patient"
        found.append(Finding(sentence, "dose", Severity.INFO))
    found += modality_findings(frame.modality, frame.sop_class)
    return found + burned_in_findings(frame.burned_in, frame.modality, frame.sop_class)


def files_of(source: Path | Sequence[Path]) -> tuple[list[Path], str, list[Finding]]:
    """Return the files to look at, how messages name them, and what is missing of a DICOMDIR's list."""
    if not isinstance(source, Path):
        return list(source), f"the list of {len(source)} files", []
    if source.is_dir():
        return files_below(source), str(source), []
    if is_directory(read_header(source)):
        listed, missing = files_of_directory(source)
        beside = listed or [path for path in files_below(source.parent) if path != source]
        if listed or (beside and source.name.upper() == "DICOMDIR"):
            return beside, str(source.parent), missing
    return [source], str(source), []


def dicom_window(frames: Sequence[Frame]) -> Window | None:
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
