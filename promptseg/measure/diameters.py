"""Longest diameters of a mask, with end points: in one axial slice as RECIST has it, and in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promptseg.errors import PromptError
from promptseg.measure.contours import outlines
from promptseg.measure.surface import SurfaceMesh, bounds, require_mask
from promptseg.volume.geometry import Geometry
from promptseg.volume.orientation import anatomical_axes

__all__ = ["AxialDiameters", "Diameter", "axial_axis", "axial_diameters", "longest_diameter"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
ROWS_AT_ONCE = 512  # of the distance matrix between corner points: 512 x 10 000 numbers are 40 MB
NUDGE = 1e-7  # of the diameter: a chord is measured just beside each corner, where its length may jump


@dataclass(frozen=True)
class Diameter:
    """A straight line between two points of a surface.

    Attributes:
        length_mm: its length.
        start, end: LPS mm (x, y, z).
        start_voxel, end_voxel: continuous voxels (z, y, x).
    """

    length_mm: float
    start: tuple[float, float, float]
    end: tuple[float, float, float]
    start_voxel: tuple[float, float, float]
    end_voxel: tuple[float, float, float]

    @staticmethod
    def between(start: ArrayLike, end: ArrayLike, geometry: Geometry) -> Diameter:
        """Return the line between two points given in LPS mm."""
        first, last = np.asarray(start, np.float64), np.asarray(end, np.float64)
        voxels = geometry.world_to_voxel(np.stack([first, last]))
        return Diameter(
            float(np.linalg.norm(last - first)), _triple(first), _triple(last), _triple(voxels[0]), _triple(voxels[1])
        )


@dataclass(frozen=True)
class AxialDiameters:
    """The longest diameter in an axial slice and the longest one perpendicular to it in the same slice.

    Attributes:
        axis: array axis (0, 1 or 2) that runs from head to feet, more or less.
        index: slice index along it.
        long: between two points of the outline of one part.
        short: at right angles to ``long``, inside the same outline.
    """

    axis: int
    index: int
    long: Diameter
    short: Diameter


def axial_axis(geometry: Geometry) -> int:
    """Return the array axis whose slices are nearest to axial ones (a stack of coronal slices is cut across)."""
    return next(i for i, (axis, _) in enumerate(anatomical_axes(geometry)) if axis == 2)


def longest_diameter(mesh: SurfaceMesh, geometry: Geometry) -> Diameter:
    """Return the longest straight line between two points of a surface.

    Maximum 3D diameter of the IBSI reference manual (arXiv:1612.07003, code L0JK): the largest distance between two
    vertices of the mesh. It may leave the mask where that is not convex.
    """
    first, last = _farthest(mesh.vertices)
    return Diameter.between(first, last, geometry)


def axial_diameters(mask: BoolArray, geometry: Geometry) -> AxialDiameters:
    """Return the longest axial diameter over all slices, and its perpendicular.

    RECIST 1.1 (Eisenhauer et al., Eur J Cancer 2009;45:228-247): the longest diameter in the plane of measurement, and
    the short axis perpendicular to it. Distances run between points of the outline, half-way between voxels inside and
    outside; parts of a slice that do not touch are measured one by one; a line may leave a part that is not convex.

    Args:
        mask: bool (z, y, x).
        geometry: its frame.

    Raises:
        GeometryMismatchError: mask and geometry disagree in shape.
        PromptError: the mask is empty.
    """
    require_mask(mask, geometry)
    low, high = bounds(mask)
    axis = axial_axis(geometry)
    rest = [other for other in range(3) if other != axis]
    spacing = np.asarray([geometry.spacing_zyx[other] for other in rest])
    best: tuple[float, int, FloatArray, FloatArray, FloatArray] | None = None
    for index in range(low[axis], high[axis]):
        for outline in outlines(np.take(mask, index, axis=axis)):
            points = outline * spacing
            first, last = _farthest(points)
            length = float(np.linalg.norm(last - first))
            if best is None or length > best[0]:
                best = (length, index, points, first, last)
    if best is None:
        raise PromptError("expected a mask with at least one voxel, got an empty one: there is nothing to measure")
    _, index, points, first, last = best
    lines = []
    for ends in ((first, last), _widest_chord(points, first, last)):
        voxels = np.zeros((2, 3))
        voxels[:, axis] = index
        voxels[:, rest] = np.stack(ends) / spacing
        world = geometry.voxel_to_world(voxels)
        lines.append(Diameter.between(world[0], world[1], geometry))
    return AxialDiameters(axis, index, lines[0], lines[1])


def _triple(values: ArrayLike) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in np.asarray(values))
    return (x, y, z)


def _farthest(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the two points (of 2 or 3 coordinates) with the largest distance; both lie on the convex hull."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import cdist

    hull = points[np.sort(ConvexHull(points).vertices)]
    best, pair = -1.0, (0, 0)
    for start in range(0, len(hull), ROWS_AT_ONCE):
        distances = cdist(hull[start : start + ROWS_AT_ONCE], hull)
        row, column = np.unravel_index(int(distances.argmax()), distances.shape)
        if float(distances[row, column]) > best:
            best, pair = float(distances[row, column]), (start + int(row), int(column))
    return hull[min(pair)], hull[max(pair)]


def _widest_chord(points: FloatArray, first: FloatArray, last: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the ends of the longest line inside a closed outline that is perpendicular to ``first`` - ``last``.

    Between two corners of the outline a chord's length changes linearly, so its largest value lies beside a corner.
    """
    length = float(np.linalg.norm(last - first))
    along = (last - first) / length
    across = np.array([-along[1], along[0]])
    u, v = (points - first) @ along, (points - first) @ across
    next_u, next_v = np.roll(u, -1), np.roll(v, -1)
    corners = np.unique(u)
    best, ends = -1.0, (0.0, 0.0, 0.0)
    for at in np.concatenate([corners - NUDGE * length, corners + NUDGE * length]):
        crossed = (u <= at) != (next_u <= at)
        if not crossed.any():
            continue
        share = (at - u[crossed]) / (next_u[crossed] - u[crossed])
        heights = np.sort(v[crossed] + share * (next_v[crossed] - v[crossed]))
        widths = heights[1::2] - heights[::2]
        widest = int(widths.argmax())
        if float(widths[widest]) > best:
            best, ends = float(widths[widest]), (float(at), float(heights[2 * widest]), float(heights[2 * widest + 1]))
    at, low, high = ends
    return first + at * along + low * across, first + at * along + high * across
