"""From the places of single frames to one regular grid, or a sentence that says why there is none. Reads no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import GeometryError, ReadError
from promptseg.io.dicom_header import Frame
from promptseg.volume.geometry import Geometry

__all__ = ["Stack", "stack_frames"]

SAME_PLACE_MM = 1e-3  # positions nearer than this are one; DICOM writes at least three decimals
EVEN_GAP = 0.05  # of the median gap: a larger difference is refused; decimals in headers stay below 1e-3
EVEN_PLACE = 0.1  # of the median gap: how far a slice may lie from the regular grid
DRIFT_REFUSED = 0.5  # of a pixel: in-plane drift of the last slice against the first, beyond which a stack is sheared
DRIFT_TOLD = 0.1  # of a pixel
GAP_TOLD = 1.5  # of the slice thickness: a larger distance leaves tissue between slices that nobody has seen
RESAMPLE = "resample the series onto a regular grid first"


@dataclass(frozen=True)
class Stack:
    """A regular grid and the frames that fill it.

    Attributes:
        geometry: the grid, LPS mm.
        volumes: one tuple of frames per time, echo or direction; each sorted along the normal.
        split_by: the tag that tells the volumes apart, "" for one volume.
        findings: sentences about what was assumed.
    """

    geometry: Geometry
    volumes: tuple[tuple[Frame, ...], ...]
    split_by: str
    findings: tuple[str, ...]


def stack_frames(frames: Sequence[Frame], what: str) -> Stack:
    """Sort frames of one size and orientation along their normal and check that they make a regular grid.

    Args:
        frames: at least one.
        what: named in messages.

    Raises:
        ReadError: tilt, uneven gaps, several frames at one place, or places missing.
    """
    findings = list(dict.fromkeys(note for frame in frames for note in frame.notes))
    spacing = _pixel_spacing(frames, what, findings)
    if all(frame.loop for frame in frames):
        return _loop(frames, spacing, findings)
    if len(frames) == 1:
        return _single(frames[0], spacing, findings)
    _require_places(frames, what)
    row, column, normal = _axes(frames[0])
    places = np.asarray([frame.position for frame in frames])
    along = places @ normal
    order = np.argsort(along, kind="stable")
    ordered = [frames[i] for i in order]
    volumes, split_by = _split_places(ordered, along[order], what)
    first = volumes[0]
    points = np.asarray([frame.position for frame in first])
    if len(first) == 1:
        geometry = _grid(first[0], (row, column, normal), spacing, _single_step(first[0], findings), 1)
    else:
        step = _even_step(points, normal, min(spacing), what, findings)
        geometry = _grid(first[0], (row, column, normal), spacing, step, len(first))
        thickness = first[0].thickness
        if thickness and step > GAP_TOLD * thickness:
            findings.append(
                f"slices are {step:.3g} mm apart but only {thickness:.3g} mm thick: there are gaps between them"
            )
    return Stack(geometry, volumes, split_by, tuple(findings))


def _pixel_spacing(frames: Sequence[Frame], what: str, findings: list[str]) -> tuple[float, float]:
    """Return (row, column) mm, one for all frames."""
    found = [frame.spacing for frame in frames]
    if any(spacing is None for spacing in found):
        findings.append("PixelSpacing (0028,0030) is missing or malformed; 1 mm was assumed: lengths are in pixels")
        return (1.0, 1.0)
    known = np.asarray(found, dtype=np.float64)
    spread = float((known.max(axis=0) - known.min(axis=0)).max())
    if spread > 1e-3 * float(known.min()):
        low, high = float(known.min()), float(known.max())
        raise ReadError(
            f"cannot read {what} as one volume: its slices have pixel sizes from {low:.4g} to {high:.4g} mm; "
            "read slices of one pixel size"
        )
    return (float(known[0, 0]), float(known[0, 1]))


def _require_places(frames: Sequence[Frame], what: str) -> None:
    for name, tag, missing in (
        ("ImagePositionPatient", "(0020,0032)", sum(f.position is None for f in frames)),
        ("ImageOrientationPatient", "(0020,0037)", sum(f.orientation is None for f in frames)),
    ):
        if missing:
            raise ReadError(
                f"cannot read {what} as one volume: {name} {tag} is missing or malformed in {missing} of its "
                f"{len(frames)} images, so their place is unknown; give one file to read a single image"
            )


def _axes(frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
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


def _single(frame: Frame, spacing: tuple[float, float], findings: list[str]) -> Stack:
    if frame.position is None or frame.orientation is None:
        findings.append(
            "the file does not say where the image lies in the patient (no position or orientation): "
            "world coordinates start at its first pixel"
        )
        step = frame.between or frame.thickness or 1.0  # a picture without a place: nobody will read its depth
    else:
        step = _single_step(frame, findings)
    geometry = _grid(frame, _axes(frame), spacing, step, 1)
    return Stack(geometry, ((frame,),), "", tuple(findings))


def _single_step(frame: Frame, findings: list[str]) -> float:
    """Return the third spacing of a single slice, which no distance between positions can tell."""
    for value, name in ((frame.between, "SpacingBetweenSlices"), (frame.thickness, "SliceThickness")):
        if value:
            findings.append(f"one slice only: its thickness of {value:.3g} mm is taken from {name}")
            return value
    findings.append("one slice only, and the file states no thickness: 1 mm was assumed")
    return 1.0


def _loop(frames: Sequence[Frame], spacing: tuple[float, float], findings: list[str]) -> Stack:
    single = _single(frames[0], spacing, findings)
    return Stack(single.geometry, tuple((frame,) for frame in frames), "the frame number", single.findings)


def _split_places(
    ordered: Sequence[Frame], along: NDArray[np.float64], what: str
) -> tuple[tuple[tuple[Frame, ...], ...], str]:
    """Return one volume, or several where every place holds equally many frames that a tag tells apart.

    Raises:
        ReadError: several frames at one place and nothing in the header that sorts them.
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
    most = max(places, key=len)
    raise ReadError(
        f"cannot read {what} as one volume: its {len(ordered)} images lie at only {len(places)} "
        f"position{'s' * (len(places) > 1)} ({len(most)} of them at {along[most[0]]:.2f} mm along the slice normal), "
        "and no tag tells which belong together; remove the duplicates or give the files of one volume"
    )


def _names(frames: Sequence[Frame]) -> tuple[str, ...]:
    """Return what may tell frames of one place apart, the surest first."""
    tagged = dict.fromkeys(name for frame in frames for name, _ in frame.times)
    return (
        *(name for name in tagged if name != "TriggerTime"),
        "ImageType",
        *(["TriggerTime"] * ("TriggerTime" in tagged)),
    )


def _key(frame: Frame, name: str) -> float | tuple[str, ...] | None:
    if name == "ImageType":
        return frame.image_type or None
    return dict(frame.times).get(name)


def _one_set(keys: list[list[float | tuple[str, ...] | None]], name: str) -> bool:
    """Return True when each place has the same values; a trigger time differs a little from slice to slice."""
    return name == "TriggerTime" or all(set(key) == set(keys[0]) for key in keys)


def _even_step(
    points: NDArray[np.float64], normal: NDArray[np.float64], pixel: float, what: str, findings: list[str]
) -> float:
    """Return the distance between slices in mm.

    Raises:
        ReadError: the slices are shifted sideways (gantry tilt), or the gaps differ.
    """
    travel = points[-1] - points[0]
    steps = points @ normal
    gaps = np.diff(steps)
    middle = float(np.median(gaps))
    sideways = points - points[0] - np.outer(steps - steps[0], normal)
    drift = float(np.linalg.norm(sideways, axis=1).max())
    faults = []
    if drift > DRIFT_REFUSED * pixel:
        degrees = float(np.degrees(np.arccos(np.clip(abs(travel @ normal) / np.linalg.norm(travel), -1, 1))))
        faults.append(
            f"its slices are tilted by {degrees:.1f} degrees against their stacking direction "
            f"(gantry tilt: they shift sideways by {drift:.2f} mm)"
        )
    even = (steps[-1] - steps[0]) / (len(steps) - 1)
    off_grid = float(np.abs(steps - steps[0] - even * np.arange(len(steps))).max())
    if float(np.abs(gaps - middle).max()) > EVEN_GAP * middle or off_grid > EVEN_PLACE * middle:
        faults.append(
            f"the gaps between its {len(points)} slices are uneven, from {gaps.min():.2f} to {gaps.max():.2f} mm "
            f"(median {middle:.2f} mm; a slice may be missing)"
        )
    if faults:
        raise ReadError(f"cannot read {what} as one volume: {' and '.join(faults)}; {RESAMPLE}")
    if drift > DRIFT_TOLD * pixel:
        findings.append(f"slices drift sideways by up to {drift:.2f} mm against a straight stack; this was ignored")
    return float(even)
