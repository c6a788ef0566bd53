"""Where an array lies in the patient: the one place that turns voxels into millimetres and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promptseg.errors import GeometryError, GeometryMismatchError

__all__ = ["Geometry", "SecondFrame"]

IDENTITY_DIRECTION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
SMALLEST_MM, LARGEST_MM = 1e-6, 1e5  # a nanometre, and more than any body: beyond them a header is wrong
ORTHONORMAL_TOLERANCE = 1e-3  # of a direction cosine; ITK's own default coordinate tolerance is of this order
SAME_TOLERANCE = 1e-2  # of the smallest spacing, at the corners; float32 NIfTI headers stay below 1e-3


@dataclass(frozen=True)
class SecondFrame:
    """Another place that a NIfTI header states for the same voxels, kept so that masks can state it too.

    Attributes:
        name: "qform" or "sform": the one that was not used.
        codes: qform_code and sform_code.
        affine: row-major 4x4, voxel (x, y, z) to LPS mm.
    """

    name: str
    codes: tuple[int, int]
    affine: tuple[float, ...]


@dataclass(frozen=True)
class Geometry:
    """The grid of a volume: array shape, and its frame in LPS millimetres (DICOM, SimpleITK).

    Attributes:
        shape: (z, y, x) number of voxels.
        spacing: (x, y, z) distance between voxel centres in mm, > 0. (ITK's order, *not* the array's; see
            ``spacing_zyx``.)
        origin: (x, y, z) LPS mm of the centre of voxel (0, 0, 0).
        direction: row-major 3x3; column i is the LPS unit vector along which the i-th of (x, y, z) grows.
        second: what a NIfTI header says besides, where that is another place; no part of comparisons.
        measured: False where the file states no pixel size: spacing is 1 "mm" then, and lengths are in pixels; no part
            of comparisons.
        depth_measured: False where the distance of slices was assumed: there are millimetres in a slice then, but no
            volumes; no part of comparisons.

    Raises:
        GeometryError: non-positive or non-finite numbers; direction not orthonormal within 1e-3.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = IDENTITY_DIRECTION
    second: SecondFrame | None = field(default=None, compare=False, repr=False)
    measured: bool = field(default=True, compare=False, repr=False)
    depth_measured: bool = field(default=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        for name, count in (("spacing", 3), ("origin", 3), ("direction", 9)):
            values = tuple(float(v) for v in np.asarray(getattr(self, name), dtype=np.float64).ravel())
            if len(values) != count or not all(math.isfinite(v) for v in values):
                raise GeometryError(f"expected {name} as {count} finite numbers, got {getattr(self, name)!r}")
            object.__setattr__(self, name, values)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(f"expected a shape (z, y, x) of positive numbers, got {self.shape}")
        if min(self.spacing) <= 0:
            raise GeometryError(f"expected spacing > 0 mm in x, y and z, got {self.spacing}")
        if min(self.spacing) < SMALLEST_MM or max(self.spacing) > LARGEST_MM:
            raise GeometryError(
                f"expected voxels between {SMALLEST_MM:g} and {LARGEST_MM:g} mm wide, got {self.spacing} (x, y, z); "
                "correct the file's voxel size first"
            )
        matrix = np.asarray(self.direction).reshape(3, 3)
        if not np.allclose(matrix.T @ matrix, np.eye(3), atol=ORTHONORMAL_TOLERANCE):
            raise GeometryError(
                f"expected three perpendicular unit direction vectors, got {np.round(matrix, 4).tolist()}; "
                "a sheared (tilted) grid must be resampled first"
            )

    @property
    def spacing_zyx(self) -> tuple[float, float, float]:
        """Spacing in the array's axis order (z, y, x), mm."""
        return (self.spacing[2], self.spacing[1], self.spacing[0])

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in mm³."""
        return math.prod(self.spacing)

    def volume_ml(self, voxels: int) -> float | None:
        """Return the volume of so many voxels in ml; None where the file does not say how large a voxel is."""
        known = self.measured and self.depth_measured
        return voxels * self.voxel_volume_mm3 / 1000.0 if known else None

    @cached_property
    def affine(self) -> NDArray[np.float64]:
        """4x4: homogeneous (x, y, z) voxel index to LPS mm. Note the index order: x first."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction).reshape(3, 3) * np.asarray(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    @cached_property
    def _inverse(self) -> NDArray[np.float64]:
        return np.asarray(np.linalg.inv(self.affine))

    def voxel_to_world(self, voxel: ArrayLike) -> NDArray[np.float64]:
        """Map (..., 3) voxel indices (z, y, x) to (..., 3) LPS mm (x, y, z)."""
        index = np.asarray(voxel, dtype=np.float64)[..., ::-1]
        return np.asarray(index @ self.affine[:3, :3].T + self.affine[:3, 3])

    def world_to_voxel(self, world: ArrayLike) -> NDArray[np.float64]:
        """Map (..., 3) LPS mm (x, y, z) to (..., 3) continuous voxel indices (z, y, x)."""
        point = np.asarray(world, dtype=np.float64)
        return np.asarray((point @ self._inverse[:3, :3].T + self._inverse[:3, 3])[..., ::-1])

    def contains(self, voxel: Sequence[float]) -> bool:
        """Return True when (z, y, x) lies inside the outer faces of the grid (centre ± half a voxel)."""
        return all(-0.5 <= v < n - 0.5 for v, n in zip(voxel, self.shape, strict=True))

    def corners(self) -> NDArray[np.float64]:
        """Return the eight corner voxels' centres as (8, 3) LPS mm."""
        last = [n - 1 for n in self.shape]
        index = [(z, y, x) for z in (0, last[0]) for y in (0, last[1]) for x in (0, last[2])]
        return self.voxel_to_world(index)

    def same_as(self, other: Geometry, tolerance: float = SAME_TOLERANCE) -> bool:
        """Return True when both grids have one shape and their corners agree.

        Args:
            other: the other grid.
            tolerance: largest corner distance, in units of the smallest spacing.
        """
        if self.shape != other.shape:
            return False
        distance = np.linalg.norm(self.corners() - other.corners(), axis=1).max()
        spacing_ratio = max(abs(a / b - 1) for a, b in zip(self.spacing, other.spacing, strict=True))
        smallest = min(*self.spacing, *other.spacing)
        return bool(distance <= tolerance * smallest and spacing_ratio <= tolerance)

    def require_same(self, other: Geometry, what: str) -> None:
        """Raise unless both grids are the same.

        Args:
            other: the other grid.
            what: named in the message, e.g. ``"mask and image"``.

        Raises:
            GeometryMismatchError: with both geometries printed.
        """
        if not self.same_as(other):
            raise GeometryMismatchError(
                f"{what} must lie on the same grid; expected {self}, got {other}; resample one onto the other first"
            )

    def __str__(self) -> str:
        spacing = " x ".join(f"{v:g}" for v in self.spacing)
        origin = ", ".join(f"{v:g}" for v in self.origin)
        direction = " ".join(f"{v:.4g}" for v in self.direction)
        size = " x ".join(str(n) for n in self.shape[::-1])
        return f"[{size} voxels (x, y, z), {spacing} mm, origin ({origin}), direction ({direction})]"
