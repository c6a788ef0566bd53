"""Which images of a folder belong together: DICOM series, and what is mixed inside one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from promptseg.check.finding import Finding, Severity
from promptseg.check.header import SECONDARY_CAPTURE
from promptseg.errors import ReadError, SeriesChoiceError, did_you_mean
from promptseg.io.dicom_frames import read_frames
from promptseg.io.dicom_header import Frame
from promptseg.io.dicom_pixels import decode
from promptseg.io.dicom_stack import volume_names
from promptseg.io.sniff import is_dicom

__all__ = ["SeriesInfo", "choose_series", "find_series", "list_series", "matching_series", "mixed_finding"]

SCREENS = {"SCREEN SAVE", "SCREENSAVE", "SCREEN SHOT", "SCREENSHOT", "DOSE_INFO"}  # in ImageType, by vendors' habit
MAX_SHOWN = 6  # volumes of a 4D series in one line
SAME_AXIS = 5e-3  # of a direction cosine, 0.3 degrees: slices of one stack differ by rounding only


@dataclass(frozen=True)
class SeriesInfo:
    """Images that belong together: a DICOM series, or one part of a series that mixes sizes or orientations.

    Attributes:
        id: SeriesInstanceUID, with ``#1``, ``#2`` ... behind it for the parts of a mixed series.
        number: from 1, in the order listed.
        modality: e.g. "CT", "" where the files do not say.
        size: (columns, rows) in pixels.
        images: number of 2D images.
        localizer: True for scout images that only plan other series.
        secondary: True for secondary captures: screen shots and scanned paper.
        files: the files, sorted.
    """

    id: str
    number: int
    modality: str
    size: tuple[int, int]
    images: int
    localizer: bool
    files: tuple[Path, ...]
    frames: tuple[Frame, ...] = field(repr=False, default=())
    secondary: bool = False

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return self.id.split("#")[0]

    @cached_property
    def volumes(self) -> tuple[str, ...]:
        """What tells the volumes of a 4D series (or the frames of a loop) apart, in the order of ``frame=``.

        E.g. ``("DiffusionBValue 0", "DiffusionBValue 1000")``; empty for a plain series.
        """
        return volume_names(self.frames)

    def __str__(self) -> str:
        kind = "localizer, " if self.localizer else "secondary capture, " if self.secondary else ""
        images = "1 image" if self.images == 1 else f"{self.images} images"
        what = f"{kind}{self.modality or 'unknown modality'}, {self.size[0]} x {self.size[1]}, {images}"
        if self.volumes:
            shown = ", ".join(self.volumes[:MAX_SHOWN]) + ", ..." * (len(self.volumes) > MAX_SHOWN)
            what += f" in {len(self.volumes)} frames ({shown})"
        return f"[{self.number}] {what}, id {self.id}"


@dataclass(frozen=True)
class Found:
    """What a folder holds: its series, and a sentence for each kind of file that was left out."""

    series: tuple[SeriesInfo, ...]
    findings: tuple[Finding, ...]


def list_series(folder: str | Path) -> tuple[SeriesInfo, ...]:
    """List the DICOM image series of a folder and the folders in it. Files that are no DICOM images are passed over.

    Raises:
        ReadError: no such folder, or no DICOM image in it.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ReadError(f"cannot list {folder}: there is no such folder")
    return find_series(files_below(folder), str(folder)).series


def files_below(folder: Path) -> list[Path]:
    """Return all files of a folder and the folders in it, sorted; hidden ones are left out."""
    found: list[Path] = []
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(where) / name for name in sorted(names) if not name.startswith(".")]
    return found


def find_series(files: Iterable[Path], what: str) -> Found:
    """Group the DICOM images among ``files``.

    Args:
        files: any files.
        what: named in messages.

    Raises:
        ReadError: no image among them; where a single DICOM file was refused, its reason.
    """
    frames: list[Frame] = []
    refused: list[ReadError] = []
    seen = 0
    for path in files:
        seen += 1
        if not is_dicom(path):
            continue
        try:
            frames.extend(read_frames(path))
        except ReadError as exc:
            refused.append(exc)
    if not frames:
        if len(refused) == 1 or len({str(r).split(":", 1)[-1] for r in refused}) == 1:
            raise refused[0]
        held = f"{len(refused)} DICOM files that are no readable images" if refused else "no DICOM file"
        files_seen = "1 file" if seen == 1 else f"{seen} files"
        raise ReadError(f"cannot read {what}: expected DICOM images, found {held} among {files_seen}")
    kept, copies = _without_copies(frames)
    return Found(_infos(kept), (*_left_out(refused), *copies))


def _without_copies(frames: Sequence[Frame]) -> tuple[list[Frame], list[Finding]]:
    """Leave out files that hold an instance which another file holds too, pixel for pixel (an export done twice)."""
    first: dict[str, Frame] = {}
    left_out: set[Path] = set()
    for frame in frames:
        home = first.setdefault(frame.instance, frame) if frame.instance else frame
        if home.path != frame.path and frame.path not in left_out and _is_copy(home, frame):
            left_out.add(frame.path)
    if not left_out:
        return list(frames), []
    sentence = f"{len(left_out)} file(s) are copies of another one (same SOPInstanceUID and pixels) and were left out"
    kept = [frame for frame in frames if frame.path not in left_out]
    return kept, [Finding(sentence, "copies-left-out", Severity.WARNING, "left out")]


def _is_copy(one: Frame, other: Frame) -> bool:
    """Return True where two files of one SOPInstanceUID hold the same slices."""
    if replace(one, path=other.path, notes=()) != replace(other, notes=()):
        return False
    try:
        return all(
            np.array_equal(decode([replace(one, index=i)]), decode([replace(other, index=i)]))
            for i in range(one.count if one.tile is None else 1)
        )
    except ReadError:
        return False


def _left_out(refused: Sequence[ReadError]) -> tuple[Finding, ...]:
    """Say how many DICOM files were passed over: plain other objects, and those that could not be read."""
    plain = sum("as an image:" in str(exc) or "DICOMDIR" in str(exc) for exc in refused)
    broken = len(refused) - plain
    findings = []
    if plain:
        sentence = f"{plain} DICOM file(s) of the folder hold no image (reports, masks, contours) and were left out"
        findings.append(Finding(sentence, "non-images-left-out", Severity.INFO, "left out"))
    if broken:
        sentence = f"{broken} DICOM file(s) of the folder could not be read and were left out: slices may be missing"
        findings.append(Finding(sentence, "unreadable-left-out", Severity.WARNING, "left out"))
    return tuple(findings)


def _infos(frames: Sequence[Frame]) -> tuple[SeriesInfo, ...]:
    by_uid: dict[str, list[list[Frame]]] = {}
    for frame in frames:
        parts = by_uid.setdefault(frame.series, [])
        home = next((part for part in parts if _belongs(frame, part[0])), None)
        if home is None:
            parts.append([frame])
        else:
            home.append(frame)
    infos: list[SeriesInfo] = []
    for uid, parts in by_uid.items():
        for index, part in enumerate(parts, start=1):
            infos.append(
                SeriesInfo(
                    id=uid if len(parts) == 1 else f"{uid}#{index}",
                    number=len(infos) + 1,
                    modality=part[0].modality or "",
                    size=(part[0].shape[1], part[0].shape[0]),
                    images=len(part),
                    localizer=is_localizer(part[0]),
                    files=tuple(sorted({frame.path for frame in part})),
                    frames=tuple(part),
                    secondary=is_secondary(part[0]),
                )
            )
    return tuple(infos)


def is_localizer(frame: Frame) -> bool:
    """Return True for scout images, as ImageType says."""
    return "LOCALIZER" in frame.image_type


def is_secondary(frame: Frame) -> bool:
    """Return True for screen shots and the like, as the storage class or ImageType says."""
    return frame.sop_class.startswith(SECONDARY_CAPTURE) or bool(SCREENS & set(frame.image_type))


def _aside(frame: Frame) -> tuple[bool, bool]:
    return is_localizer(frame), is_secondary(frame)


def _belongs(frame: Frame, other: Frame) -> bool:
    """Return True when two frames of one series can lie in one stack."""
    if (frame.shape, frame.samples, _aside(frame)) != (other.shape, other.samples, _aside(other)):
        return False
    if frame.loop or other.loop:
        return frame.path == other.path
    if frame.orientation is None or other.orientation is None:
        return frame.orientation is other.orientation
    return float(np.abs(np.subtract(frame.orientation, other.orientation)).max()) < SAME_AXIS


def choose_series(found: Found, series: str | None, what: str) -> tuple[SeriesInfo, tuple[Finding, ...]]:
    """Return one series and findings about what was left out.

    Args:
        found: from ``find_series``.
        series: id, unique beginning or end of one, or number from 1; None where there is no choice.
        what: named in messages.

    Raises:
        SeriesChoiceError: several fit (or none), and which is for a person to say.
    """
    candidates = found.series if series is None else matching_series(found.series, series, what)
    if len(candidates) == 1:
        return candidates[0], found.findings
    images = [info for info in candidates if not info.localizer and not info.secondary]
    if len(images) == 1:
        return images[0], (*found.findings, *_set_aside(candidates))
    raise SeriesChoiceError(_choice_message(candidates, what), tuple(info.id for info in candidates))


def _set_aside(infos: Sequence[SeriesInfo]) -> list[Finding]:
    """Say how many localizers and secondary captures were left out."""
    localizers = sum(info.images for info in infos if info.localizer)
    screens = sum(info.images for info in infos if info.secondary and not info.localizer)
    found = []
    if localizers:
        sentence = f"{localizers} localizer image(s) were left out"
        found.append(Finding(sentence, "localizers-left-out", Severity.INFO, "left out"))
    if screens:
        sentence = f"{screens} secondary capture(s) (screen shots and the like) were left out"
        found.append(Finding(sentence, "secondary-captures-left-out", Severity.INFO, "left out"))
    return found


def matching_series(infos: Sequence[SeriesInfo], series: str, what: str) -> tuple[SeriesInfo, ...]:
    """Return the series, or the parts of one, that a number, id, or end of an id names.

    Raises:
        SeriesChoiceError: none, or several.
    """
    wanted = series.strip()
    if wanted.isdigit() and 1 <= int(wanted) <= len(infos):
        return (infos[int(wanted) - 1],)
    whole = wanted.split("#")[0]  # a part alone is the whole of its own list of files
    for fits in (
        [info for info in infos if wanted in (info.id, info.uid)],
        [info for info in infos if info.id == whole],
        [info for info in infos if wanted and (info.id.startswith(wanted) or info.id.endswith(wanted))],
    ):
        if len(fits) == 1 or (fits and len({info.uid for info in fits}) == 1):
            return tuple(fits)
        if fits:
            raise SeriesChoiceError(
                f"series {series!r} fits {len(fits)} of the series in {what}: {_listed(fits)}",
                tuple(info.id for info in fits),
            )
    raise SeriesChoiceError(
        f"no series {series!r} in {what}{did_you_mean(wanted, [info.id for info in infos])}; "
        f"choose one of: {_listed(infos)}",
        tuple(info.id for info in infos),
    )


def _choice_message(infos: Sequence[SeriesInfo], what: str) -> str:
    if len({info.uid for info in infos}) > 1:
        return f"{what} holds {len(infos)} image series; choose one by number or id: {_listed(infos)}"
    (mixed,) = mixed_finding(infos)
    return f"cannot read {what} as one volume: {mixed}; choose one part by number or id: {_listed(infos)}"


def mixed_finding(parts: Sequence[SeriesInfo]) -> list[Finding]:
    """Return an error where one series (the parts that share its UID) mixes orientations, sizes or kinds."""
    if len(parts) < 2:
        return []
    degrees = _widest_angle(parts)
    turned = degrees > 0.3
    why = f"orientations up to {degrees:.0f} degrees apart (a localizer?)" if turned else "sizes or kinds"
    counts = ", ".join(str(info.images) for info in parts)
    sentence = f"its one series mixes images of different {why}, in {len(parts)} parts of {counts} images"
    return [Finding(sentence, "mixed-orientations" if turned else "mixed-sizes", Severity.ERROR, "refused")]


def _widest_angle(infos: Sequence[SeriesInfo]) -> float:
    """Return the largest angle between the slice normals of two parts, degrees."""
    axes = [info.frames[0].orientation for info in infos]
    normals = [np.cross(axis[:3], axis[3:]) for axis in axes if axis is not None]
    cosines = [abs(float(a @ b)) for a in normals for b in normals]
    return float(np.degrees(np.arccos(np.clip(min(cosines, default=1.0), 0, 1))))


def _listed(infos: Sequence[SeriesInfo]) -> str:
    return "; ".join(str(info) for info in infos)
