"""Reading DICOM RT Structure Sets onto an image's grid."""

from __future__ import annotations

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
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
FLAT = 0.1  # slices: how far the points of one contour may leave their common slice
FAR = 0.5  # slices: a contour farther from every slice lies between or outside the images
TOLD = 0.05  # slices
SAME_PLANE = 1e-2  # slices: contours nearer than this are of one plane, and combined by exclusive or


@dataclass(frozen=True)
class _Contour:
    """One closed contour on the grid: the slice it goes to, its own continuous slice coordinate, its points."""

    index: int
    z: float
    points: NDArray[np.float64]


def read_rtstruct(path: str | Path, geometry: Geometry, *, frame_of_reference: str = "") -> SegmentSet:
    """Read the closed contours of an RT Structure Set as masks.

    A voxel belongs to a structure when its centre lies inside an odd number of the contours of its slice, which is
    right for keyholes, for XOR contours and for holes as plain contours. Contours go to the nearest slice.

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
    """Combine the contours of one slice: by exclusive or within a plane, by or where several planes fell together."""
    mask = np.zeros(shape, np.bool_)
    left = sorted(parts, key=lambda contour: contour.z)
    planes = 0
    while left:
        plane = [contour for contour in left if contour.z - left[0].z <= SAME_PLANE]
        left = left[len(plane) :]
        mask |= mask_of_contours([contour.points for contour in plane], shape)
        planes += 1
    if planes > 1:
        findings.append(f"{name!r} was drawn on finer slices than the image's; planes of one slice were joined")
    return mask


def _placed(name: str, item: Any, geometry: Geometry, findings: list[str]) -> list[_Contour]:
    """Return the closed contours on the grid.

    Raises:
        GeometryMismatchError: a contour does not lie in one slice of the grid.
    """
    found: list[_Contour] = []
    outside = other = 0
    off = 0.0
    for contour in (item.get("ContourSequence") or []) if item is not None else []:
        data = numbers(contour, "ContourData")
        if str(contour.get("ContourGeometricType", "")) not in CLOSED or data is None or len(data) % 3:
            other += 1
            continue
        voxels = geometry.world_to_voxel(np.asarray(data).reshape(-1, 3))
        z = float(voxels[:, 0].mean())
        if float(np.abs(voxels[:, 0] - z).max()) > FLAT:
            raise GeometryMismatchError(
                f"the contours of {name!r} do not lie in the slices of this image (they cross up to "
                f"{np.ptp(voxels[:, 0]):.1f} of them); give the image they were drawn on"
            )
        index = round(z)
        if abs(z - index) > FAR or not 0 <= index < geometry.shape[0]:
            outside += 1
            continue
        off = max(off, abs(z - index))
        found.append(_Contour(index, z, voxels[:, 1:]))
    if other:
        findings.append(f"{name!r}: {other} points or open or malformed contours were left out")
    if outside:
        findings.append(f"{name!r}: {outside} contours lie outside the image's slices and were left out")
    if off > TOLD:
        findings.append(
            f"{name!r}: contours lie up to {off:.2f} slices beside the image's slices; the nearest was taken"
        )
    return found
