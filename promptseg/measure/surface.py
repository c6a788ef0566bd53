"""The surface of a mask as triangles in the patient, by marching cubes half-way between inside and outside voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import GeometryMismatchError, PromptError
from promptseg.volume.geometry import Geometry

__all__ = ["SurfaceMesh", "bounds", "require_mask", "surface_mesh"]

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SurfaceMesh:
    """A closed surface.

    Attributes:
        vertices: (n, 3) LPS mm (x, y, z).
        triangles: (m, 3) indices of vertices, counter-clockwise seen from outside.
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]

    @property
    def corners(self) -> NDArray[np.float64]:
        """(m, 3, 3): the three corners of each triangle, LPS mm."""
        return self.vertices[self.triangles]

    @property
    def volume_mm3(self) -> float:
        """Volume inside: the sum of the signed tetrahedra from a fixed point (Zhang and Chen, ICIP 2001)."""
        a, b, c = np.moveaxis(self.corners - self.vertices.mean(axis=0), 1, 0)
        return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0)

    @property
    def area_mm2(self) -> float:
        """Sum of the triangles' areas."""
        a, b, c = np.moveaxis(self.corners, 1, 0)
        return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2.0)


def bounds(mask: BoolArray) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return the smallest half-open box of voxels (z, y, x) around a mask.

    Raises:
        PromptError: the mask is empty.
    """
    spans = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if hit.size == 0:
            raise PromptError("expected a mask with at least one voxel, got an empty one: there is nothing to measure")
        spans.append((int(hit[0]), int(hit[-1]) + 1))
    (z0, z1), (y0, y1), (x0, x1) = spans
    return (z0, y0, x0), (z1, y1, x1)


def surface_mesh(mask: BoolArray, geometry: Geometry) -> SurfaceMesh:
    """Return the surface of a mask.

    Vertices lie on the lines between neighbouring voxel centres, half-way where one is inside and one outside. A mask
    that touches the border of its grid is closed there.

    Args:
        mask: bool (z, y, x).
        geometry: its frame.

    Raises:
        GeometryMismatchError: mask and geometry disagree in shape.
        PromptError: the mask is empty.
    """
    from skimage.measure import marching_cubes

    require_mask(mask, geometry)
    low, high = bounds(mask)
    crop = np.pad(mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], 1)
    points, triangles, _, _ = marching_cubes(crop.astype(np.float32), 0.5, method="lorensen", allow_degenerate=False)
    vertices = geometry.voxel_to_world(points.astype(np.float64) + np.asarray(low) - 1.0)
    mesh = SurfaceMesh(vertices, triangles.astype(np.int64))
    return mesh if mesh.volume_mm3 > 0 else SurfaceMesh(vertices, mesh.triangles[:, ::-1].copy())


def require_mask(mask: BoolArray, geometry: Geometry) -> None:
    """Raise unless the mask is a bool array of the geometry's shape.

    Raises:
        GeometryMismatchError: it is not.
    """
    if mask.shape != geometry.shape or mask.dtype != np.bool_:
        raise GeometryMismatchError(
            f"expected a bool mask of shape {geometry.shape}, got {mask.dtype} of shape {mask.shape}"
        )
