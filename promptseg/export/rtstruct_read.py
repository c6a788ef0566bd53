"""Reading DICOM RT Structure Sets onto an image's grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import GeometryMismatchError, ReadError
from promptseg.export.dicom_seg_read import damage_told, open_dicom, require_frame_of_reference
from promptseg.export.segments import Segment, SegmentSet
from promptseg.io.dicom_header import numbers
from promptseg.measure.contours import mask_of_contours
from promptseg.volume.geometry import Geometry
from promptseg.volume.labelmap import Label

__all__ = ["RTSTRUCT_CLASS", "read_rtstruct"]

RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
BY_XOR = "CLOSEDPLANAR_XOR"
CLOSED = ("CLOSED_PLANAR", BY_XOR)
FLAT = 0.1  # slices: how far the points of one contour may leave their common slice
HALF_WAY = 1e-3  # slices: a contour as near to the middle between two slices goes the way that all such go
TOLD = 0.05  # slices
HELD = 0.9  # of the smaller of two areas: from here on it lies in the other one, and is a hole
SAME_PLANE = 1e-2  # slices: contours nearer than this are of one plane


@dataclass(frozen=True)
class _Contour:
    """One closed contour on the grid: its slice, its own continuous slice coordinate, its points, and its kind."""

    index: int
    z: float
    points: NDArray[np.float64]
    by_xor: bool


def read_rtstruct(path: str | Path, geometry: Geometry, *, frame_of_reference: str = "") -> SegmentSet:
    """Read the closed contours of an RT Structure Set as masks.

    A voxel belongs to a structure when its centre lies inside an odd number of the contours of its slice, which is
    right for keyholes, for XOR contours and for holes as plain contours; plain contours that cross are joined, and a
    contour that is there twice counts once. Contours go to the nearest slice.

    Args:
        path: the file.
        geometry: the grid of the image it was drawn on.
        frame_of_reference: the image's Frame of Reference UID; "" where it is not known, then it is not compared.

    Returns:
        All structures; they may overlap. Points and open contours are left out, with a finding.

    Raises:
        ReadError: no structure set, damaged, or drawn in another frame of reference.
        GeometryMismatchError: contours that do not lie in the image's slices.
    """
    path = Path(path).expanduser()
    findings: list[str] = []
    with damage_told(path, "an RTSTRUCT"):
        dataset = open_dicom(path)
        if str(dataset.get("SOPClassUID", "")) != RTSTRUCT_CLASS:
            raise ReadError(f"cannot read {path} as an RTSTRUCT: it is another kind of DICOM object")
        require_frame_of_reference(dataset, frame_of_reference, path)
        labels = _labels(dataset)
        drawn = {int(item.ReferencedROINumber): item for item in dataset.get("ROIContourSequence") or []}
        segments = [
            _segment(_colored(label, drawn.get(number)), drawn.get(number), geometry, findings)
            for number, label in labels.items()
        ]
    return SegmentSet(geometry, tuple(segments), tuple(dict.fromkeys(findings)))


def _labels(dataset: Any) -> dict[int, Label]:
    """Return ROI number to label; ROI numbers are the values where they can be, else 1, 2, 3 ..."""
    items = list(dataset.StructureSetROISequence)
    plain = [int(item.ROINumber) for item in items]
    usable = len(set(plain)) == len(plain) and all(1 <= number <= 65535 for number in plain)
    values = plain if usable else range(1, len(items) + 1)
    return {
        number: Label.default(value, str(item.get("ROIName", "") or "").strip() or None)
        for number, value, item in zip(plain, values, items, strict=True)
    }


def _colored(label: Label, item: Any) -> Label:
    color = numbers(item, "ROIDisplayColor", 3) if item is not None else None
    if color is None or not all(0 <= part <= 255 for part in color):
        return label
    return Label(label.value, label.name, (int(color[0]), int(color[1]), int(color[2])))


def _segment(label: Label, item: Any, geometry: Geometry, findings: list[str]) -> Segment:
    contours = _placed(label.name, item, geometry, findings)
    slices: dict[int, list[_Contour]] = {}
    for contour in contours:
        slices.setdefault(contour.index, []).append(contour)
    if not slices:
        findings.append(f"{label.name!r} has no closed contour on the image's slices: its mask is empty")
        return Segment(label, (0, 0, 0), np.zeros((0, 0, 0), np.bool_))
    low, high = min(slices), max(slices) + 1
    crop = np.zeros((high - low, *geometry.shape[1:]), np.bool_)
    for index, parts in slices.items():
        crop[index - low] = _slice_mask(parts, geometry.shape[1:], label.name, findings)
    gaps = sum(1 for index in range(low, high) if index not in slices)
    if gaps:
        findings.append(
            f"{label.name!r} has no contour on {gaps} of the {high - low} slices between its first and last"
        )
    return Segment(label, (low, 0, 0), crop)


def _slice_mask(parts: Sequence[_Contour], shape: tuple[int, int], name: str, findings: list[str]) -> NDArray[np.bool_]:
    """Combine the contours of one slice: within a plane as ``_plane_mask`` does, planes that fell together by or."""
    mask = np.zeros(shape, np.bool_)
    left = sorted(parts, key=lambda contour: contour.z)
    planes = 0
    while left:
        plane = [contour for contour in left if contour.z - left[0].z <= SAME_PLANE]
        left = left[len(plane) :]
        mask |= _plane_mask(plane, shape, name, findings)
        planes += 1
    if planes > 1:
        findings.append(f"{name!r} was drawn on finer slices than the image's; planes of one slice were joined")
    return mask


def _plane_mask(plane: Sequence[_Contour], shape: tuple[int, int], name: str, findings: list[str]) -> NDArray[np.bool_]:
    """Combine the contours of one plane.

    A contour inside another one is a hole, and what PS3.3 C.8.8.6.3 calls XOR is combined by exclusive or. A contour
    that is there twice counts once; plain contours that cross are joined: taking their overlap away is never meant.
    """
    areas: list[tuple[NDArray[np.bool_], bool]] = []
    repeated = crossing = 0
    for contour in plane:
        area = mask_of_contours([contour.points], shape)
        if any(np.array_equal(area, other) for other, _ in areas):
            repeated += int(area.any())
            continue
        for index, (other, by_xor) in enumerate(areas):
            if not by_xor and not contour.by_xor and _cross(area, other):
                area = area | other
                areas[index] = (np.zeros_like(other), by_xor)
                crossing += 1
        areas.append((area, contour.by_xor))
    if repeated:
        findings.append(f"{name!r}: contours that are there twice were counted once")
    if crossing:
        findings.append(f"{name!r}: contours that cross each other in one slice were joined")
    mask = np.zeros(shape, np.bool_)
    for area, _ in areas:
        mask ^= area
    return mask


def _cross(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> bool:
    """Return True where two areas share pixels and neither holds the other, a hole's ragged edge aside."""
    shared = int(np.count_nonzero(first & second))
    return 0 < shared < HELD * min(int(np.count_nonzero(first)), int(np.count_nonzero(second)))


def _placed(name: str, item: Any, geometry: Geometry, findings: list[str]) -> list[_Contour]:
    """Return the closed contours on the grid.

    Raises:
        GeometryMismatchError: a contour does not lie in one slice of the grid.
    """
    drawn: list[tuple[float, NDArray[np.float64], bool]] = []
    other = 0
    for contour in (item.get("ContourSequence") or []) if item is not None else []:
        data, kind = numbers(contour, "ContourData"), str(contour.get("ContourGeometricType", ""))
        if kind not in CLOSED or data is None or len(data) % 3:
            other += 1
            continue
        voxels = geometry.world_to_voxel(np.asarray(data).reshape(-1, 3))
        z = float(voxels[:, 0].mean())
        if float(np.abs(voxels[:, 0] - z).max()) > FLAT:
            raise GeometryMismatchError(
                f"the contours of {name!r} do not lie in the slices of this image (they cross up to "
                f"{np.ptp(voxels[:, 0]):.1f} of them); give the image they were drawn on"
            )
        drawn.append((z, voxels[:, 1:], kind == BY_XOR))
    if other:
        findings.append(f"{name!r}: {other} points or open or malformed contours were left out")
    indices = _nearest([z for z, _, _ in drawn])
    found = [
        _Contour(index, z, points, by_xor)
        for index, (z, points, by_xor) in zip(indices, drawn, strict=True)
        if 0 <= index < geometry.shape[0]
    ]
    _tell_where(name, found, len(drawn), geometry, findings)
    return found


def _nearest(places: Sequence[float]) -> list[int]:
    """Return the nearest slice of each place; halves go down all alike, or up where the lowest would fall off."""
    down = [math.ceil(z - 0.5 - HALF_WAY) for z in places]
    up = [math.floor(z + 0.5 + HALF_WAY) for z in places]
    return up if min(down, default=0) < 0 <= min(up, default=0) else down


def _tell_where(name: str, found: Sequence[_Contour], drawn: int, geometry: Geometry, findings: list[str]) -> None:
    """Say what lies beside the image's slices, outside of them, or beyond the image's edge."""
    if outside := drawn - len(found):
        findings.append(f"{name!r}: {outside} contours lie outside the image's slices and were left out")
    off = max((abs(contour.z - contour.index) for contour in found), default=0.0)
    if off > TOLD:
        findings.append(
            f"{name!r}: contours lie up to {off:.2f} slices beside the image's slices; the nearest was taken"
        )
    limits = np.asarray(geometry.shape[1:]) - 0.5
    if cut := sum(bool((c.points < -0.5 - TOLD).any() or (c.points > limits + TOLD).any()) for c in found):
        findings.append(f"{name!r}: {cut} contours reach beyond the image and were cut at its edge")
