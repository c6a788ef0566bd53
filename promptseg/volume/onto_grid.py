"""Labels onto an image's grid: exactly where their voxels coincide, by nearest neighbour if that is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import GeometryMismatchError
from promptseg.volume.geometry import Geometry
from promptseg.volume.labelmap import Labelmap

__all__ = ["labels_onto"]

ON_LATTICE = 0.02  # of a voxel: rounding of headers stays below


def labels_onto(labelmap: Labelmap, geometry: Geometry, *, resample: bool = False) -> tuple[Labelmap, list[str]]:
    """Return labels on another grid of the same space, and what was done, for a person.

    Another axis order, another extent, and the second place that a NIfTI image states are taken over voxel by voxel.

    Args:
        labelmap: on its own grid.
        geometry: the image's grid.
        resample: also take labels whose voxels lie elsewhere: each voxel of the image takes the nearest one's label.

    Raises:
        GeometryMismatchError: the voxels do not coincide and ``resample`` was not asked for.
    """
    if geometry.same_as(labelmap.geometry):
        return replace(labelmap, geometry=geometry), []
    if _is_second(geometry, labelmap.geometry):
        told = f"the mask lies where the image's {geometry.second.name} places it: taken as it is"  # type: ignore[union-attr]
        return replace(labelmap, geometry=geometry), [told]
    placed = _exactly(labelmap, geometry)
    told = "the mask has another axis order or extent than the image: each of its voxels was put onto the image's grid"
    if placed is None:
        if not resample:
            raise GeometryMismatchError(
                f"image and mask must lie on the same grid; expected {geometry}, got {labelmap.geometry}; "
                "--resample (resample=True in Python) gives each voxel of the image the nearest one's label"
            )
        placed = _nearest(labelmap, geometry)
        told = "the mask was resampled onto the image's grid: each voxel took the label of the nearest one"
    notes = [told]
    if not resample and (lost := np.count_nonzero(labelmap.array) - np.count_nonzero(placed)):
        notes.append(f"{lost} labelled voxels of the mask lie outside the image and were left out")
    return Labelmap(placed, geometry, labelmap.labels), notes


def _is_second(image: Geometry, mask: Geometry) -> bool:
    """Return True where a mask lies where the image's other NIfTI form places the image."""
    if image.second is None or image.shape != mask.shape:
        return False
    placed = np.reshape(image.second.affine, (4, 4))
    index = np.argwhere(np.ones((2, 2, 2))) * (np.asarray(image.shape[::-1]) - 1)
    apart = index @ (placed - mask.affine)[:3, :3].T + (placed - mask.affine)[:3, 3]
    return bool(np.linalg.norm(apart, axis=1).max() <= ON_LATTICE * min(mask.spacing))


def _exactly(labelmap: Labelmap, geometry: Geometry) -> NDArray[Any] | None:
    """Return the labels on the grid where every voxel centre of theirs is one of the image's; else None.

    A mask of the image's own size that is shifted against it was made on something else: None, too.
    """
    source = labelmap.geometry
    matrix = np.linalg.inv(geometry.affine) @ source.affine  # voxel (x, y, z) of the mask to one of the image
    linear = np.rint(matrix[:3, :3])
    corners = geometry.world_to_voxel(source.corners())
    turned = (np.abs(linear).sum(axis=0) == 1).all() and (np.abs(linear).sum(axis=1) == 1).all()
    if not turned or float(np.abs(corners - np.rint(corners)).max()) > ON_LATTICE:
        return None
    axes = [2 - int(np.abs(linear[2 - axis]).argmax()) for axis in range(3)]  # of the mask's array, for z, y, x
    array = labelmap.array.transpose(axes)
    backwards = tuple(axis for axis in range(3) if linear[2 - axis].sum() < 0)
    array = np.flip(array, axis=backwards)
    start = np.rint(corners.min(axis=0)).astype(int)
    if array.shape == geometry.shape and start.any():
        return None
    low, high = np.maximum(start, 0), np.minimum(start + array.shape, geometry.shape)
    if not bool((high > low).all()):
        return None
    placed = np.zeros(geometry.shape, array.dtype)
    here = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    placed[here] = array[tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))]
    return placed


def _nearest(labelmap: Labelmap, geometry: Geometry) -> NDArray[Any]:
    """Return the label of the nearest voxel for each voxel of the grid, 0 outside; slice by slice."""
    placed = np.zeros(geometry.shape, labelmap.array.dtype)
    limits = np.asarray(labelmap.geometry.shape)
    rows, columns = np.mgrid[: geometry.shape[1], : geometry.shape[2]]
    for z in range(geometry.shape[0]):
        voxels = np.stack([np.full(rows.shape, z), rows, columns], axis=-1)
        found = np.rint(labelmap.geometry.world_to_voxel(geometry.voxel_to_world(voxels))).astype(int)
        inside = ((found >= 0) & (found < limits)).all(axis=-1)
        placed[z][inside] = labelmap.array[tuple(found[inside].T)]
    return placed
