"""Reading DICOM Segmentation objects: BINARY (bit-packed), FRACTIONAL and LABELMAP, overlapping or sparse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import PromptsegError, ReadError
from promptseg.export.planes import Plane2D, grid_of_planes, place_plane
from promptseg.export.provenance import MANUFACTURER
from promptseg.export.segments import Segment, SegmentSet
from promptseg.io.dicom_header import first_item, numbers, whole
from promptseg.io.quiet import quiet_pydicom
from promptseg.volume.geometry import Geometry
from promptseg.volume.labelmap import Label

__all__ = ["SEG_CLASSES", "damage_told", "labels_of", "open_dicom", "read_dicom_seg", "require_frame_of_reference"]

SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # Segmentation, Label Map Segmentation
BACKGROUND = ("125040", "DCM")  # Segmented Property Type of a LABELMAP's background (PS3.16)
FRACTION = 0.5  # of Maximum Fractional Value: from here on a voxel of a FRACTIONAL object belongs to the segment


@dataclass(frozen=True)
class _Patch:
    """The part of one frame that belongs to one segment: bool (rows, columns), and its first row and column."""

    plane: Plane2D
    corner: tuple[int, int]
    pixels: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Block:
    """Voxels (z, y, x) of a grid from ``start`` on; it may reach beyond the grid."""

    start: NDArray[np.intp]
    voxels: NDArray[np.bool_]

    def inside(self, shape: tuple[int, int, int]) -> _Block | None:
        """Return the part that lies on a grid of this shape; None where there is none."""
        low = np.maximum(self.start, 0)
        high = np.minimum(self.start + self.voxels.shape, shape)
        if bool((high <= low).any()):
            return None
        cut = tuple(slice(a, b) for a, b in zip(low - self.start, high - self.start, strict=True))
        return _Block(low, self.voxels[cut])


def read_dicom_seg(path: str | Path, geometry: Geometry | None = None, *, frame_of_reference: str = "") -> SegmentSet:
    """Read a DICOM SEG.

    Args:
        path: the file.
        geometry: the image's grid; each frame must lie on it exactly. None: the smallest grid that holds all frames.
        frame_of_reference: the image's Frame of Reference UID; "" where it is not known, then it is not compared.

    Returns:
        All segments; they may overlap.

    Raises:
        ReadError: no SEG, damaged, or drawn in another frame of reference.
        GeometryMismatchError: frames that are not on the grid.
    """
    path = Path(path).expanduser()
    with damage_told(path, "a DICOM SEG"):
        dataset = open_dicom(path)
        if str(dataset.get("SOPClassUID", "")) not in SEG_CLASSES:
            raise ReadError(f"cannot read {path} as a DICOM SEG: it is another kind of DICOM object")
        require_frame_of_reference(dataset, frame_of_reference, path)
        labels = _labels(dataset)
        findings: list[str] = []
        planes = _planes(dataset, geometry, findings)
        patches = _patches(dataset, planes, labels, findings)
        grid = geometry or grid_of_planes(planes, _between(dataset), str(path))
        return SegmentSet(grid, tuple(_assemble(labels, patches, grid, findings)), tuple(findings))


def labels_of(path: Path) -> dict[int, Label]:
    """Return segment number to label of a SEG file, in the file's order.

    Raises:
        ReadError: damaged, or no SEG.
    """
    with damage_told(path, "a DICOM SEG"):
        return _labels(open_dicom(path))


@contextmanager
def damage_told(path: Path, what: str) -> Iterator[None]:
    """Turn whatever pydicom and NumPy raise on a damaged object into a ``ReadError``; our own errors pass.

    Raises:
        ReadError: anything but a ``PromptsegError`` was raised inside the block.
    """
    try:
        with quiet_pydicom():
            yield
    except PromptsegError:
        raise
    except Exception as exc:
        raise ReadError(f"cannot read {path} as {what}: the file is damaged or lacks a required part") from exc


def open_dicom(path: Path) -> Any:
    """Return the whole data set. As with images, the preamble and the file meta information may be missing.

    Raises:
        ReadError: no such file, or no DICOM file.
    """
    import pydicom

    try:
        with quiet_pydicom():
            dataset = pydicom.dcmread(path, force=True)
            _ = dataset.SOPClassUID  # text of any kind parses by chance, but has none
            return dataset
    except OSError as exc:
        raise ReadError(f"cannot read {path}: {exc.strerror or 'it is no file'}") from exc
    except Exception as exc:
        raise ReadError(f"cannot read {path}: it is no DICOM file, or damaged") from exc


def require_frame_of_reference(dataset: Any, wanted: str, path: Path) -> None:
    """Raise where object and image say that their coordinates have different origins.

    Raises:
        ReadError: they do.
    """
    found = str(dataset.get("FrameOfReferenceUID", "") or "")
    if not found:
        found = str(first_item(dataset, "ReferencedFrameOfReferenceSequence").get("FrameOfReferenceUID", "") or "")
    if wanted and found and wanted != found:
        raise ReadError(
            f"cannot read {path} on this image: they name different frames of reference, so it was drawn on another "
            "scan and its coordinates mean other places; give the image it belongs to"
        )


def _labels(dataset: Any) -> dict[int, Label]:
    """Return segment number to label, without the background of a LABELMAP object."""
    found: dict[int, Label] = {}
    items = [item for item in dataset.SegmentSequence if not _is_background(item, dataset)]
    values = _own_values(dataset, items)
    for item, value in zip(items, values, strict=True):
        number = int(item.SegmentNumber)
        name = str(item.get("SegmentLabel", "") or f"segment {number}").strip()
        found[number] = Label(value, name, _color(item) or Label.default(value).color)
    return found


def _is_background(item: Any, dataset: Any) -> bool:
    code = first_item(item, "SegmentedPropertyTypeCodeSequence")
    if (str(code.get("CodeValue", "")), str(code.get("CodingSchemeDesignator", ""))) == BACKGROUND:
        return True
    return str(dataset.get("SegmentationType", "")) == "LABELMAP" and int(item.SegmentNumber) == 0


def _own_values(dataset: Any, items: list[Any]) -> list[int]:
    """Return label values: the segment numbers, or in our own objects the values they had before."""
    plain = [int(item.SegmentNumber) for item in items]
    if str(dataset.get("Manufacturer", "")) != MANUFACTURER:
        return plain
    values = []
    for item in items:
        parameters = str(
            first_item(item, "SegmentationAlgorithmIdentificationSequence").get("AlgorithmParameters", "") or ""
        )
        match = re.match(r"label_value=(\d{1,5})\b", parameters)
        values.append(int(match[1]) if match else 0)
    return values if len(set(values)) == len(values) and all(values) else plain


def _color(item: Any) -> tuple[int, int, int] | None:
    lab = numbers(item, "RecommendedDisplayCIELabValue", 3)
    if lab is None:
        return None
    from highdicom.color import CIELabColor

    r, g, b = CIELabColor.from_dicom_value([int(v) for v in lab]).to_rgb(clip=True)
    return round(r), round(g), round(b)


def _planes(dataset: Any, geometry: Geometry | None, findings: list[str]) -> list[Plane2D]:
    """Return where each frame lies.

    Raises:
        ReadError: no positions, unless there is one frame of each segment and one slice.
    """
    shape = (whole(dataset, "Rows"), whole(dataset, "Columns"))
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    planes, unplaced = [], []
    for group in groups:
        position = numbers(_group(group, shared, "PlanePositionSequence"), "ImagePositionPatient", 3)
        orientation = numbers(_group(group, shared, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
        spacing = numbers(_group(group, shared, "PixelMeasuresSequence"), "PixelSpacing", 2)
        if position is not None and orientation is not None and spacing is not None and min(spacing) > 0:
            planes.append(Plane2D(position, orientation, (spacing[0], spacing[1]), shape))
        else:
            planes.append(_plane_without_place(shape, geometry))
            identification = _group(group, shared, "SegmentIdentificationSequence")
            unplaced.append(whole(identification, "ReferencedSegmentNumber"))
    if len(set(unplaced)) < len(unplaced):
        raise ReadError(
            f"the SEG does not say where {len(unplaced)} of its {len(groups)} frames lie (no ImagePositionPatient), so "
            "slices cannot be told apart; write it with the position of every frame"
        )
    if unplaced:
        findings.append("the SEG does not say where it lies: it was taken for a mask of a single picture")
    return planes


def _plane_without_place(shape: tuple[int, int], geometry: Geometry | None) -> Plane2D:
    """Return the place of a frame that states none: a picture's only slice.

    Raises:
        ReadError: the image has several slices, so any could be meant.
    """
    grid = geometry or Geometry((1, *shape))
    if grid.shape != (1, *shape):
        raise ReadError(
            "the SEG does not say where its frames lie (no ImagePositionPatient), and the image has another shape: "
            f"{shape} against {grid.shape}"
        )
    axes = np.asarray(grid.direction).reshape(3, 3)
    return Plane2D(grid.origin, (*axes[:, 0], *axes[:, 1]), (grid.spacing[1], grid.spacing[0]), shape)


def _group(group: Any, shared: Any, keyword: str) -> Any:
    return first_item(group, keyword) if keyword in group else first_item(shared, keyword)


def _between(dataset: Any) -> float | None:
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    group = dataset.PerFrameFunctionalGroupsSequence[0]
    measures = _group(group, shared, "PixelMeasuresSequence")
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        found = numbers(measures, keyword, 1)
        if found and found[0] > 0:
            return found[0]
    return None


def _patches(
    dataset: Any, planes: list[Plane2D], labels: dict[int, Label], findings: list[str]
) -> dict[int, list[_Patch]]:
    """Return for each segment number its parts, frame by frame."""
    kind = str(dataset.get("SegmentationType", "BINARY"))
    patches: dict[int, list[_Patch]] = {number: [] for number in labels}
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    threshold = FRACTION * (whole(dataset, "MaximumFractionalValue") or 255) if kind == "FRACTIONAL" else 0
    if kind == "FRACTIONAL":
        findings.append("the SEG holds fractions; voxels of at least one half of the maximum were taken")
    for index, frame in enumerate(_frames(dataset)):
        group = dataset.PerFrameFunctionalGroupsSequence[index]
        if kind == "LABELMAP":
            members = [(number, frame == number) for number in labels if number <= int(frame.max())]
        else:
            identification = _group(group, shared, "SegmentIdentificationSequence")
            number = whole(identification, "ReferencedSegmentNumber") or (next(iter(labels)) if len(labels) == 1 else 0)
            members = [(number, frame >= threshold if kind == "FRACTIONAL" else frame > 0)]
        for number, pixels in members:
            if number in patches and (patch := _cropped(planes[index], pixels)) is not None:
                patches[number].append(patch)
    return patches


def _frames(dataset: Any) -> Iterator[NDArray[Any]]:
    """Yield one frame (rows, columns) after the other.

    Raises:
        ReadError: pixels are missing, or fewer than the header says.
    """
    count = whole(dataset, "NumberOfFrames") or 1
    if count != len(dataset.PerFrameFunctionalGroupsSequence):
        raise ReadError(
            f"the SEG announces {count} frames but describes {len(dataset.PerFrameFunctionalGroupsSequence)}"
        )
    if whole(dataset, "BitsAllocated") == 1 and not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        yield from _bit_frames(dataset, count)
        return
    from pydicom.pixels.utils import iter_pixels

    yield from iter_pixels(dataset)


def _bit_frames(dataset: Any, count: int) -> Iterator[NDArray[np.uint8]]:
    """Yield frames of single bits: packed from the lowest bit on, and without padding between frames (PS3.5 8.1.1)."""
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    size = rows * columns
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    if packed.size * 8 < size * count:
        raise ReadError(f"the SEG holds {packed.size} bytes of pixels, expected {-(-size * count // 8)}")
    for index in range(count):
        first, last = index * size, (index + 1) * size
        bits = np.unpackbits(packed[first // 8 : -(-last // 8)], bitorder="little")
        yield bits[first % 8 : first % 8 + size].reshape(rows, columns)


def _cropped(plane: Plane2D, pixels: NDArray[np.bool_]) -> _Patch | None:
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if rows.size == 0:
        return None
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return _Patch(plane, (int(rows[0]), int(columns[0])), pixels[box].copy())


def _assemble(
    labels: dict[int, Label], patches: dict[int, list[_Patch]], grid: Geometry, findings: list[str]
) -> Iterator[Segment]:
    for number, label in labels.items():
        yield _segment(label, [_placed(patch, grid) for patch in patches[number]], grid, findings)


def _placed(patch: _Patch, grid: Geometry) -> _Block:
    """Return a patch as a block of the grid's voxels, one voxel thick."""
    start, row_step, column_step = place_plane(patch.plane, grid)
    corner = start + patch.corner[0] * row_step + patch.corner[1] * column_step
    last = corner + (patch.pixels.shape[0] - 1) * row_step + (patch.pixels.shape[1] - 1) * column_step
    row_axis, column_axis = int(np.flatnonzero(row_step)[0]), int(np.flatnonzero(column_step)[0])
    pixels = patch.pixels[:: int(row_step[row_axis]), :: int(column_step[column_axis])]
    if row_axis > column_axis:
        pixels = pixels.T
    block = np.expand_dims(pixels, 3 - row_axis - column_axis)
    return _Block(np.minimum(corner, last), block)


def _segment(label: Label, blocks: list[_Block], grid: Geometry, findings: list[str]) -> Segment:
    kept = [clipped for block in blocks if (clipped := block.inside(grid.shape)) is not None]
    total = sum(int(np.count_nonzero(block.voxels)) for block in blocks)
    outside = total - sum(int(np.count_nonzero(block.voxels)) for block in kept)
    if outside:
        findings.append(f"{outside} of {total} voxels of {label.name!r} lie outside the image and were left out")
    if not kept:
        return Segment(label, (0, 0, 0), np.zeros((0, 0, 0), np.bool_))
    low = np.min([block.start for block in kept], axis=0)
    high = np.max([block.start + block.voxels.shape for block in kept], axis=0)
    crop = np.zeros(high - low, np.bool_)
    for block in kept:
        crop[tuple(slice(a, a + n) for a, n in zip(block.start - low, block.voxels.shape, strict=True))] |= block.voxels
    return Segment(label, (int(low[0]), int(low[1]), int(low[2])), crop)
