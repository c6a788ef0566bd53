"""Placing single 2D frames on a grid: exactly, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import GeometryError, GeometryMismatchError, ReadError
from promptseg.volume.geometry import Geometry

__all__ = ["Plane2D", "grid_of_planes", "place_plane"]

OFF_GRID = 0.05  # voxels in the frame's plane: how far a corner may lie from a voxel; decimals stay below 0.01
OFF_SLICE = 0.15  # voxels across it: real series wander by up to 0.1 of their gap, and the grid is their average
SAME_PLACE_MM = 1e-3
SAME_AXIS = 1e-4
MAX_SLICES = 10_000  # of a mask's own grid; a longer one comes from damaged positions


@dataclass(frozen=True)
class Plane2D:
    """Where a frame lies: LPS mm of its first pixel, the axes along a row and down a column, the pixel distances.

    Attributes:
        position: Image Position (Patient).
        orientation: Image Orientation (Patient), six cosines: along a row (columns grow), then down a column.
        spacing: Pixel Spacing: (row distance, column distance) in mm.
        shape: (rows, columns).
    """

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    shape: tuple[int, int]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector row x column."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    def world(self, row: float, column: float) -> NDArray[np.float64]:
        """Return LPS mm of a pixel (PS3.3 C.7.6.2.1.1)."""
        along = np.asarray(self.orientation[:3]) * self.spacing[1] * column
        down = np.asarray(self.orientation[3:]) * self.spacing[0] * row
        return np.asarray(self.position) + along + down


def place_plane(plane: Plane2D, geometry: Geometry) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return where a frame's pixels lie on a grid.

    Returns:
        (start, row_step, column_step) as voxels (z, y, x): pixel (r, c) is voxel ``start + r * row_step + c *
        column_step``. It may lie outside the grid.

    Raises:
        GeometryMismatchError: the pixels are no voxels of this grid: another spacing, angle or offset.
    """
    last = (plane.shape[0] - 1, plane.shape[1] - 1)
    corners = geometry.world_to_voxel([plane.world(0, 0), plane.world(last[0], 0), plane.world(0, last[1])])
    step = geometry.world_to_voxel([plane.world(0, 0), plane.world(1, 0), plane.world(0, 1)])
    start, row_step, column_step = np.rint(step[0]), np.rint(step[1] - step[0]), np.rint(step[2] - step[0])
    wanted = np.asarray([start, start + row_step * last[0], start + column_step * last[1]])
    axes = np.abs([row_step, column_step])
    regular = np.array_equal(np.sort(axes, axis=1), [[0, 0, 1], [0, 0, 1]]) and bool((axes[0] != axes[1]).any())
    off = np.abs(corners - wanted).max(axis=0)
    allowed = np.where(axes.sum(axis=0) > 0, OFF_GRID, OFF_SLICE)
    if not regular or bool((off > allowed).any()):
        raise GeometryMismatchError(
            f"the mask's frames do not lie on the grid {geometry}: they are {plane.shape[1]} x {plane.shape[0]} pixels "
            f"of {plane.spacing[1]:g} x {plane.spacing[0]:g} mm, up to {off.max():.2f} voxels off; "
            "read the mask on its own grid and resample it"
        )
    return start.astype(np.intp), row_step.astype(np.intp), column_step.astype(np.intp)


def grid_of_planes(planes: Sequence[Plane2D], between: float | None, what: str) -> Geometry:
    """Return the smallest regular grid that holds all frames, gaps between them included.

    Args:
        planes: at least one, parallel, in any order.
        between: distance of slices in mm as the file states it, None where it does not. It counts where the frames'
            places agree with it; otherwise the smallest gap between two frames is taken.
        what: named in messages.

    Raises:
        ReadError: frames of several sizes or angles, shifted sideways, or at uneven distances.
    """
    first = planes[0]
    for plane in planes:
        if plane.shape != first.shape or not np.allclose(plane.spacing, first.spacing, rtol=1e-4):
            raise ReadError(f"cannot read {what}: its frames differ in size; give the image whose grid it belongs to")
        if not np.allclose(plane.orientation, first.orientation, atol=SAME_AXIS):
            raise ReadError(f"cannot read {what}: its frames differ in angle; give the image whose grid it belongs to")
    points = np.asarray([plane.position for plane in planes])
    along = (points - points[0]) @ first.normal
    sideways = points - points[0] - np.outer(along, first.normal)
    if float(np.linalg.norm(sideways, axis=1).max()) > OFF_GRID * min(first.spacing):
        raise ReadError(f"cannot read {what}: its frames are shifted sideways; give the image whose grid it belongs to")
    places = _distinct(along)
    step = _step(places, between, what)
    low = points[int(np.argmin(along))]
    count = round((places[-1] - places[0]) / step) + 1
    if count > MAX_SLICES:
        raise ReadError(f"cannot read {what}: its frames are {count} slices apart; give the image it belongs to")
    axes = np.stack([first.orientation[:3], first.orientation[3:], first.normal], axis=1)
    try:
        return Geometry(
            (count, *first.shape),
            (first.spacing[1], first.spacing[0], step),
            (float(low[0]), float(low[1]), float(low[2])),
            tuple(axes.ravel().tolist()),
        )
    except GeometryError as exc:
        raise ReadError(f"cannot read {what}: {exc}") from exc


def _distinct(along: NDArray[Any]) -> list[float]:
    places: list[float] = []
    for value in np.sort(along).tolist():
        if not places or value - places[-1] > SAME_PLACE_MM:
            places.append(value)
    return places


def _step(places: list[float], between: float | None, what: str) -> float:
    if len(places) == 1:
        return between if between and between > 0 else 1.0
    gaps = np.diff(places)
    for step in (between, float(gaps.min())):
        if step and step > 0:
            multiples = gaps / step
            if float(np.abs(multiples - np.rint(multiples)).max()) < OFF_GRID and float(multiples.min()) > 0.5:
                return float((places[-1] - places[0]) / np.rint(multiples).sum())
    raise ReadError(
        f"cannot read {what}: its frames lie at uneven distances, from {gaps.min():.3g} to {gaps.max():.3g} mm; "
        "give the image whose grid it belongs to"
    )
