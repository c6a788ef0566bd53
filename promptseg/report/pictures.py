"""The report's pictures: the whole image in three planes, and each structure near by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from promptseg.prompts import Prompt
from promptseg.report.overlay import PlanePicture, render_planes
from promptseg.report.parts import Thumbnail
from promptseg.volume import Geometry, Label, Labelmap, Volume

__all__ = ["Box", "label_boxes", "near", "overview"]

Box = tuple[slice, slice, slice]
OVERVIEW_PX = (1560, 620)  # (width, height) of all planes side by side: about 220 dots per inch on paper
NEAR_PX = (780, 300)
MARGIN = 0.6  # of a structure's extent, left around it on each side
SMALLEST_MM = 24.0  # around a tiny structure at least this much is shown


def label_boxes(array: NDArray[np.unsignedinteger]) -> dict[int, Box]:
    """Return the smallest box of voxels around each value above 0 that is there."""
    from scipy.ndimage import find_objects

    found = find_objects(array.astype(np.int32, copy=False))
    return {value: box for value, box in enumerate(found, start=1) if box is not None}


def overview(volume: Volume, labelmap: Labelmap, prompts: Sequence[Prompt]) -> tuple[Thumbnail, ...]:
    """Draw the whole image through the slices that show most of the labels."""
    planes = render_planes(volume, labelmap, prompts=prompts, room=OVERVIEW_PX)
    return tuple(_thumbnail(plane, "all structures") for plane in planes)


def near(volume: Volume, labelmap: Labelmap, label: Label, box: Box) -> tuple[Thumbnail, ...]:
    """Draw the surroundings of one structure; each plane goes through the slice with most of it."""
    mask = labelmap.array[box] == label.value
    center = [
        part.start + int(np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis)).argmax())
        for axis, part in enumerate(box)
    ]
    around = _around(box, volume.geometry)
    geometry = _cropped(volume.geometry, around)
    part = replace(volume, array=volume.array[around], geometry=geometry)
    labels = Labelmap(labelmap.array[around], geometry, labelmap.labels)
    place = [c - p.start for c, p in zip(center, around, strict=True)]
    planes = render_planes(part, labels, center=place, room=NEAR_PX)
    return tuple(_thumbnail(plane, label.name, around[plane.axis].start) for plane in planes)


def _around(box: Box, geometry: Geometry) -> Box:
    """Return the box with a margin, of one size in mm along all axes so that the planes look alike, inside the grid."""
    extent = max((p.stop - p.start) * s for p, s in zip(box, geometry.spacing_zyx, strict=True))
    wanted = max(extent * (1 + 2 * MARGIN), SMALLEST_MM)
    spans = []
    for part, spacing, count in zip(box, geometry.spacing_zyx, geometry.shape, strict=True):
        middle, half = (part.start + part.stop) / 2, wanted / spacing / 2
        low, high = max(0, int(np.floor(middle - half))), min(count, int(np.ceil(middle + half)))
        spans.append(slice(low, high))
    return (spans[0], spans[1], spans[2])


def _cropped(geometry: Geometry, box: Box) -> Geometry:
    x, y, z = (float(v) for v in geometry.voxel_to_world([part.start for part in box]))
    depth, height, width = (part.stop - part.start for part in box)
    return replace(geometry, shape=(depth, height, width), origin=(x, y, z))


def _thumbnail(plane: PlanePicture, what: str, offset: int = 0) -> Thumbnail:
    import cv2

    name = plane.title.split()[0] if plane.title else ""
    title = f"{name} · {'zyx'[plane.axis]} {plane.index + offset}" if name else ""
    words = f"{name} slice {plane.index + offset} with the outline of {what}" if name else f"Outline of {what}"
    _, data = cv2.imencode(".png", np.ascontiguousarray(plane.picture[..., ::-1]))
    return Thumbnail(title, words, data.tobytes(), (plane.picture.shape[1], plane.picture.shape[0]))
