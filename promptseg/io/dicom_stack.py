"""From the places of single frames to one regular grid, or a sentence that says why there is none. Reads no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from promptseg.check.finding import Finding, Severity
from promptseg.check.stack import SAME_PLACE_MM, measure_stack, stack_findings, thickness_findings
from promptseg.errors import GeometryError, ReadError
from promptseg.io.dicom_header import Frame
from promptseg.io.frames import check_frame
from promptseg.volume.geometry import Geometry

__all__ = ["Stack", "examine_frames", "layers", "pixel_spacing_of", "slice_axes", "stack_frames", "volume_names"]

UNEVEN = ("TriggerTime", "AcquisitionTime")  # times that differ from slice to slice of one volume
FIX = "promptseg check PATH --fix OUT"
RESAMPLE = f"resample the series onto a regular grid first: {FIX}"


@dataclass(frozen=True)
class Stack:
    """A regular grid and the frames that fill it.

    Attributes:
        geometry: the grid, LPS mm.
        volumes: one tuple of frames per time, echo or direction; each sorted along the normal. Some may lack slices.
        split_by: the tag that tells the volumes apart, "" for one volume.
        findings: sentences about what was assumed.
    """

    geometry: Geometry
    volumes: tuple[tuple[Frame, ...], ...]
    split_by: str
    findings: tuple[Finding, ...]

    def choose(self, frame: int | None, what: str) -> int:
        """Return which volume to read: ``frame``, or where it is None the first one that lacks no slice.

        Raises:
            ReadError: there is no such volume, or it lacks slices.
        """
        slices = self.geometry.shape[0]
        whole = [index for index, volume in enumerate(self.volumes) if len(volume) == slices]
        index = whole[0] if frame is None else check_frame(frame, len(self.volumes), what)
        if index not in whole:
            raise ReadError(
                f"cannot read frame {index} of {what}: it has {len(self.volumes[index])} of {slices} slices; whole are "
                f"the frames {', '.join(map(str, whole))}"
            )
        return index


class _NoGridError(Exception):
    """Frames make no regular grid: the faults, and what a person can do now."""

    def __init__(self, faults: Sequence[Finding], advice: str) -> None:
        super().__init__()
        self.faults, self.advice = tuple(faults), advice

    def message(self, what: str) -> str:
        return f"cannot read {what} as one volume: {' and '.join(self.faults)}; {self.advice}"


def stack_frames(frames: Sequence[Frame], what: str) -> Stack:
    """Sort frames of one size and orientation along their normal and check that they make a regular grid.

    Args:
        frames: at least one.
        what: named in messages.

    Raises:
        ReadError: tilt, uneven gaps, several frames at one place, or places missing.
    """
    try:
        return _stack(frames, [])
    except _NoGridError as exc:
        raise ReadError(exc.message(what)) from None


def examine_frames(frames: Sequence[Frame]) -> tuple[Stack | None, tuple[Finding, ...]]:
    """Do what ``stack_frames`` does without raising: return the stack (or None) and all findings, faults among them."""
    findings: list[Finding] = []
    try:
        stack = _stack(frames, findings)
    except _NoGridError as exc:
        return None, (*findings, *exc.faults)
    return stack, stack.findings


def _stack(frames: Sequence[Frame], findings: list[Finding]) -> Stack:
    findings += dict.fromkeys(note for frame in frames for note in frame.notes)
    spacing = _pixel_spacing(frames, findings)
    if all(frame.loop for frame in frames):
        return _loop(frames, spacing, findings)
    if len(frames) == 1:
        return _single(frames[0], spacing, findings)
    volumes, split_by = _layers(frames)
    axes = slice_axes(frames[0])
    first = max(volumes, key=len)  # the first one that lacks no slice
    findings += _gap_findings(volumes, len(first))
    if len(first) == 1:
        geometry = _grid(first[0], axes, spacing, _single_step(first[0], findings), 1)
    else:
        points = np.asarray([frame.position for frame in first])
        facts = measure_stack(points, axes[2], min(spacing))
        findings += (told := stack_findings(facts))
        if faults := [finding for finding in told if finding.severity is Severity.ERROR]:
            del findings[-len(told) :]
            raise _NoGridError(faults, RESAMPLE)
        geometry = _grid(first[0], axes, spacing, facts.step_mm, len(first))
        findings += thickness_findings(facts.step_mm, first[0].thickness)
    return Stack(geometry, volumes, split_by, tuple(findings))


def _gap_findings(volumes: Sequence[Sequence[Frame]], slices: int) -> list[Finding]:
    """Say which volumes of a 4D series lack slices."""
    short = [index for index, volume in enumerate(volumes) if len(volume) < slices]
    if not short:
        return []
    listed = ", ".join(str(index) for index in short)
    sentence = f"frame(s) {listed} of {len(volumes)} lack some of the {slices} slices and cannot be read"
    return [Finding(sentence, "slices-missing-in-frames", Severity.WARNING, "left out")]


def layers(frames: Sequence[Frame], what: str) -> tuple[tuple[tuple[Frame, ...], ...], str]:
    """Return the volumes that frames make, each sorted along the normal, and the tag that tells them apart.

    Raises:
        ReadError: places missing, or several frames at one place and nothing that sorts them.
    """
    try:
        return _layers(frames)
    except _NoGridError as exc:
        raise ReadError(exc.message(what)) from None


def pixel_spacing_of(frames: Sequence[Frame], what: str) -> tuple[float, float]:
    """Return (row, column) mm, one for all frames; 1 mm where the files do not say.

    Raises:
        ReadError: frames of different pixel size.
    """
    try:
        return _pixel_spacing(frames, [])
    except _NoGridError as exc:
        raise ReadError(exc.message(what)) from None


def _layers(frames: Sequence[Frame]) -> tuple[tuple[tuple[Frame, ...], ...], str]:
    _require_places(frames)
    _require_one_scale(frames)
    along = np.asarray([frame.position for frame in frames]) @ slice_axes(frames[0])[2]
    order = np.argsort(along, kind="stable")
    return _split_places([frames[i] for i in order], along[order])


def _pixel_spacing(frames: Sequence[Frame], findings: list[Finding]) -> tuple[float, float]:
    """Return (row, column) mm, one for all frames."""
    found = [frame.spacing for frame in frames]
    if any(spacing is None for spacing in found):
        sentence = "PixelSpacing (0028,0030) is missing or malformed; 1 mm was assumed: lengths are in pixels"
        findings.append(Finding(sentence, "assumed-pixel-spacing", Severity.WARNING, "assumed"))
        return (1.0, 1.0)
    known = np.asarray(found, dtype=np.float64)
    spread = float((known.max(axis=0) - known.min(axis=0)).max())
    if spread > 1e-3 * float(known.min()):
        low, high = float(known.min()), float(known.max())
        sentence = f"its slices have pixel sizes from {low:.4g} to {high:.4g} mm"
        fault = Finding(sentence, "pixel-spacing-differs", Severity.ERROR, "refused")
        raise _NoGridError([fault], "read slices of one pixel size")
    return (float(known[0, 0]), float(known[0, 1]))


def _require_places(frames: Sequence[Frame]) -> None:
    for name, tag, missing in (
        ("ImagePositionPatient", "(0020,0032)", sum(f.position is None for f in frames)),
        ("ImageOrientationPatient", "(0020,0037)", sum(f.orientation is None for f in frames)),
    ):
        if missing:
            sentence = (
                f"{name} {tag} is missing or malformed in {missing} of its {len(frames)} images, "
                "so their place is unknown"
            )
            fault = Finding(sentence, "no-position", Severity.ERROR, "refused")
            raise _NoGridError([fault], "give one file to read a single image")


def _require_one_scale(frames: Sequence[Frame]) -> None:
    """Raise where some slices state how stored values become units, and others do not."""
    bare = [frame for frame in frames if not frame.rescaled and not frame.lut]
    told = next((f for f in frames if f.rescaled and (f.slope, f.intercept) != (1.0, 0.0)), None)
    if not bare or told is None:
        return
    sentence = (
        f"{len(bare)} of its {len(frames)} images lack RescaleSlope (0028,1053) and RescaleIntercept (0028,1052), "
        f"which are {told.slope:g} and {told.intercept:g} in others: their values would not compare"
    )
    fault = Finding(sentence, "rescale-missing", Severity.ERROR, "refused")
    raise _NoGridError([fault], "complete the tags, or give the files that have them")


def slice_axes(frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the unit vectors (LPS) along rows, along columns, and normal to both."""
    orientation = np.asarray(frame.orientation or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    return orientation[:3], orientation[3:], np.cross(orientation[:3], orientation[3:])


def _grid(
    start: Frame,
    axes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    spacing: tuple[float, float],
    step: float,
    slices: int,
) -> Geometry:
    origin = start.position or (0.0, 0.0, 0.0)
    try:
        return Geometry(
            shape=(slices, *start.shape),
            spacing=(spacing[1], spacing[0], step),
            origin=(origin[0], origin[1], origin[2]),
            direction=tuple(np.stack(axes, axis=1).ravel().tolist()),
        )
    except GeometryError as exc:
        raise ReadError(f"cannot read {start.path}: {exc}") from exc


def _single(frame: Frame, spacing: tuple[float, float], findings: list[Finding]) -> Stack:
    if frame.position is None or frame.orientation is None:
        sentence = (
            "the file does not say where the image lies in the patient (no position or orientation): "
            "world coordinates start at its first pixel"
        )
        findings.append(Finding(sentence, "no-place", Severity.WARNING, "assumed"))
        step = frame.between or frame.thickness or 1.0  # a picture without a place: nobody will read its depth
    else:
        step = _single_step(frame, findings)
    geometry = _grid(frame, slice_axes(frame), spacing, step, 1)
    return Stack(geometry, ((frame,),), "", tuple(findings))


def _single_step(frame: Frame, findings: list[Finding]) -> float:
    """Return the third spacing of a single slice, which no distance between positions can tell."""
    for value, name in ((frame.between, "SpacingBetweenSlices"), (frame.thickness, "SliceThickness")):
        if value:
            sentence = f"one slice only: its thickness of {value:.3g} mm is taken from {name}"
            findings.append(Finding(sentence, "single-slice", Severity.INFO))
            return value
    sentence = "one slice only, and the file states no thickness: 1 mm was assumed"
    findings.append(Finding(sentence, "assumed-thickness", Severity.WARNING, "assumed"))
    return 1.0


def _loop(frames: Sequence[Frame], spacing: tuple[float, float], findings: list[Finding]) -> Stack:
    single = _single(frames[0], spacing, findings)
    return Stack(single.geometry, tuple((frame,) for frame in frames), "the frame number", single.findings)


def _split_places(ordered: Sequence[Frame], along: NDArray[np.float64]) -> tuple[tuple[tuple[Frame, ...], ...], str]:
    """Return one volume, or several where every place holds equally many frames that a tag tells apart.

    Raises:
        _NoGridError: several frames at one place and nothing in the header that sorts them.
    """
    breaks = np.flatnonzero(np.diff(along) > SAME_PLACE_MM) + 1
    places = [list(group) for group in np.split(np.arange(len(ordered)), breaks)]
    counts = {len(place) for place in places}
    if counts == {1}:
        return (tuple(ordered),), ""
    if len(places) > 1 and len(counts) == 1:
        for name in _names(ordered):
            keys = [[_key(ordered[i], name) for i in place] for place in places]
            if all(len(set(key)) == len(key) and None not in key for key in keys) and _one_set(keys, name):
                ranked = [
                    [place[j] for j in sorted(range(len(place)), key=key.__getitem__)]  # type: ignore[arg-type]
                    for place, key in zip(places, keys, strict=True)
                ]
                volumes = zip(*ranked, strict=True)
                return tuple(tuple(ordered[i] for i in volume) for volume in volumes), name
        if numbered := _by_number([[ordered[i] for i in place] for place in places]):
            return numbered, "InstanceNumber"
    if sorted_out := _with_gaps(ordered, places):
        return sorted_out
    most = max(places, key=len)
    sentence = (
        f"its {len(ordered)} images lie at only {len(places)} position{'s' * (len(places) > 1)} "
        f"({len(most)} of them at {along[most[0]]:.2f} mm along the slice normal), "
        "and no tag tells which belong together"
    )
    fault = Finding(sentence, "duplicate-slices", Severity.ERROR, "refused")
    raise _NoGridError([fault], f"give the files of one volume, or let repeated images be left out: {FIX}")


def _with_gaps(
    ordered: Sequence[Frame], places: Sequence[Sequence[int]]
) -> tuple[tuple[tuple[Frame, ...], ...], str] | None:
    """Return volumes of which some, but not all, lack a few slices, where a tag sorts the frames; else None."""
    if len(places) < 2:  # images of one place are no volumes
        return None
    at = {index: number for number, place in enumerate(places) for index in place}
    for name in _names(ordered):
        keys = [_key(frame, name) for frame in ordered]
        if name in UNEVEN or None in keys:
            continue
        groups = [[i for i, key in enumerate(keys) if key == one] for one in sorted(set(keys))]  # type: ignore[type-var]
        sizes = [len(group) for group in groups]
        alone = all(len({at[i] for i in group}) == len(group) for group in groups)
        if len(groups) > 1 and alone and max(sizes) == len(places) and min(sizes) * 2 >= len(places):
            return tuple(tuple(ordered[i] for i in group) for group in groups), name
    return None


def _by_number(places: Sequence[Sequence[Frame]]) -> tuple[tuple[Frame, ...], ...] | None:
    """Return volumes by InstanceNumber: the k-th image of every place, or None where the numbers give no clear order.

    Clear is: no number twice, and either all of one volume come before all of the next, or all of one place do.
    """
    ranked = [sorted(place, key=lambda frame: frame.number) for place in places]
    numbers = np.asarray([[frame.number for frame in place] for place in ranked])
    if len(np.unique(numbers)) != numbers.size or numbers.min() < 1:
        return None
    by_volume = bool((numbers.max(axis=0)[:-1] < numbers.min(axis=0)[1:]).all())
    spans = sorted(zip(numbers.min(axis=1), numbers.max(axis=1), strict=True))
    by_place = all(before[1] < after[0] for before, after in pairwise(spans))
    return tuple(zip(*ranked, strict=True)) if by_volume or by_place else None


def volume_names(frames: Sequence[Frame]) -> tuple[str, ...]:
    """Return a name for each volume of a 4D series or frame of a loop; empty where there is one, or no clear order.

    Times of day are not shown: volumes told apart by them are numbered.
    """
    if len(frames) < 2:
        return ()
    if all(frame.loop for frame in frames):
        return tuple(f"frame {index}" for index in range(len(frames)))
    try:
        volumes, split_by = _layers(frames)
    except _NoGridError:
        return ()
    if len(volumes) == 1:
        return ()
    return tuple(f"{split_by} {_shown(volume[0], split_by, index)}" for index, volume in enumerate(volumes))


def _shown(frame: Frame, name: str, index: int) -> str:
    value = _key(frame, name)
    if name in (*UNEVEN, "DiffusionGradient") or value is None:
        return f"#{index}"
    return "/".join(value) if isinstance(value, tuple) else f"{value:g}"


def _names(frames: Sequence[Frame]) -> tuple[str, ...]:
    """Return what may tell frames of one place apart, the surest first."""
    tagged = dict.fromkeys(name for frame in frames for name, _ in frame.times)
    return (
        *(name for name in tagged if name not in UNEVEN),
        "ImageType",
        *(name for name in UNEVEN if name in tagged),
    )


def _key(frame: Frame, name: str) -> float | tuple[str, ...] | None:
    if name == "ImageType":
        return frame.image_type or None
    return dict(frame.times).get(name)


def _one_set(keys: list[list[float | tuple[str, ...] | None]], name: str) -> bool:
    """Return True when each place has the same values; times differ from slice to slice."""
    return name in UNEVEN or all(set(key) == set(keys[0]) for key in keys)
