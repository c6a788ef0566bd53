"""A fine grid that shapes are painted on, later averaged into voxels: this is where partial volume comes from.

Shapes are functions of patient coordinates (x, y, z) in mm that return a *level*: below 0 inside, above 0 outside,
about the distance to the surface. Later paint covers earlier paint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from promptseg.volume.geometry import Geometry

__all__ = ["Canvas", "Ellipsoid", "Floats", "Level", "Wobble", "rotation", "roughen", "smooth_path"]

Floats: TypeAlias = NDArray[np.float64]
Level: TypeAlias = Callable[[Floats, Floats, Floats], Floats]
Xyz: TypeAlias = tuple[float, float, float]

FACTOR = (3, 2, 2)  # fine samples per voxel along (z, y, x)
CHUNK = 6  # fine slices worked on at a time: the arrays of one chunk stay in the processor's cache


class Wobble:
    """A smooth random field, mean 0 and standard deviation 1: a sum of plane waves in random directions."""

    def __init__(self, seed: int, wavelength_mm: float, waves: int = 5) -> None:
        # RandomState's streams are frozen by numpy's policy (NEP 19); Generator's are not.
        random = np.random.RandomState(seed)
        directions = random.normal(size=(waves, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        self._k = directions * (2 * np.pi / wavelength_mm) * random.uniform(0.7, 1.3, size=(waves, 1))
        self._phase = random.uniform(0, 2 * np.pi, size=waves)
        self.peak = float(np.sqrt(2 * waves))  # no value is larger

    def __call__(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the field at patient coordinates in mm."""
        total = np.zeros(np.broadcast(x, y, z).shape)
        for (kx, ky, kz), phase in zip(self._k, self._phase, strict=True):
            total += np.sin(kx * x + ky * y + kz * z + phase)
        return np.asarray(total * np.sqrt(2 / len(self._phase)))


def roughen(level: Level, *noises: tuple[float, Wobble]) -> Level:
    """Return ``level`` with a rough surface: the noises, each (mm, field), are added where they can move it."""
    reach = sum(amount * wobble.peak for amount, wobble in noises)

    def rough(x: Floats, y: Floats, z: Floats) -> Floats:
        value = level(x, y, z)
        near = np.abs(value) < reach
        there = x[near], y[near], z[near]
        value[near] += sum(amount * wobble(*there) for amount, wobble in noises)
        return value

    return rough


class Ellipsoid:
    """An ellipsoid's level: centre and radii in mm, turned by degrees about x, then y, then z."""

    def __init__(self, center: Xyz, radii: Xyz, turn: Xyz = (0.0, 0.0, 0.0)) -> None:
        self.center, self.radii = np.asarray(center), np.asarray(radii)
        self._axes = rotation(turn).T / self.radii[:, None]

    def __call__(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Return the level at patient coordinates in mm."""
        dx, dy, dz = x - self.center[0], y - self.center[1], z - self.center[2]
        square = sum((a * dx + b * dy + c * dz) ** 2 for a, b, c in self._axes)
        return np.asarray((np.sqrt(square) - 1.0) * self.radii.min())

    def bounds(self, margin: float = 8.0) -> tuple[Xyz, Xyz]:
        """Return opposite corners of a box that holds it, whichever way it is turned."""
        reach = np.sqrt(((np.linalg.inv(self._axes)) ** 2).sum(axis=1)) + margin
        low, high = self.center - reach, self.center + reach
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def rotation(turn: Xyz) -> Floats:
    """Return the 3x3 matrix of turns in degrees about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def smooth_path(knots: Sequence[Sequence[float]], per_knot: int = 6) -> Floats:
    """Return a Catmull-Rom curve through ``knots`` ((n, 3) or (n, 4) with a radius last), ``per_knot`` points each."""
    points = np.asarray(knots, dtype=np.float64)
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, per_knot, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.vstack([*pieces, points[-1:]])


class Canvas:
    """Hounsfield units and labels on a grid finer than ``geometry``, addressed in patient millimetres.

    Attributes:
        hu: float32 (fine z, y, x), starts as air.
        label: uint8 of the same shape, starts as 0.
        depth: float32 of the same shape: mm below the skin (the painter of the body fills it).
        room: float32 of the same shape: mm inside the wall of chest and belly (filled likewise).
    """

    def __init__(self, geometry: Geometry, center: Xyz) -> None:
        """Make an empty canvas; ``center`` is the LPS position of the patient's own (0, 0, 0)."""
        self.geometry = geometry
        shape = tuple(n * f for n, f in zip(geometry.shape, FACTOR, strict=True))
        self.shape = (shape[0], shape[1], shape[2])
        self.hu = np.full(self.shape, -1000.0, dtype=np.float32)
        self.label = np.zeros(self.shape, dtype=np.uint8)
        self.depth = np.full(self.shape, -1.0, dtype=np.float32)
        self.room = np.full(self.shape, -1.0, dtype=np.float32)
        self._matrix = geometry.affine[:3, :3]
        self._offset = geometry.affine[:3, 3] - np.asarray(center)

    def chunks(
        self, bounds: tuple[Xyz, Xyz] | None = None
    ) -> Iterator[tuple[tuple[slice, ...], Floats, Floats, Floats]]:
        """Yield (index, x, y, z) for the parts of the canvas that meet a box of patient coordinates."""
        low, high = [0, 0, 0], list(self.shape)
        if bounds is not None:
            corners = np.array(list(product(*zip(*bounds, strict=True))))
            voxel = np.linalg.solve(self._matrix, (corners - self._offset).T)[::-1]
            fine = (voxel + 0.5) * np.asarray(FACTOR)[:, None] - 0.5
            low = [max(0, int(np.floor(v))) for v in fine.min(axis=1)]
            high = [min(n, int(np.ceil(v)) + 1) for n, v in zip(self.shape, fine.max(axis=1), strict=True)]
        if any(a >= b for a, b in zip(low, high, strict=True)):
            return
        for start in range(low[0], high[0], CHUNK):
            index = (slice(start, min(start + CHUNK, high[0])), slice(low[1], high[1]), slice(low[2], high[2]))
            k, j, i = ((np.arange(s.start, s.stop) + 0.5) / f - 0.5 for s, f in zip(index, FACTOR, strict=True))
            i, j, k = i[None, None, :], j[None, :, None], k[:, None, None]
            x, y, z = (m[0] * i + m[1] * j + m[2] * k + o for m, o in zip(self._matrix, self._offset, strict=True))
            yield index, x, y, z

    def paint(
        self,
        level: Level,
        bounds: tuple[Xyz, Xyz],
        hu: float | Level,
        *,
        label: int = 0,
        over: int | None = None,
        room_mm: float | None = None,
    ) -> None:
        """Fill where ``level`` is below 0.

        Args:
            level: the shape.
            bounds: two corners (x, y, z) of a box that holds it.
            hu: a constant or a function of (x, y, z).
            label: written where painted; with ``over`` the label stays as it was.
            over: paint only on this label (vessels inside the liver).
            room_mm: paint only at least this far inside the wall of chest and belly.
        """
        for index, x, y, z in self.chunks(bounds):
            inside = level(x, y, z) < 0
            if room_mm is not None:
                inside &= self.room[index] > room_mm
            if over is not None:
                inside &= self.label[index] == over
            else:
                inside &= self.depth[index] > 0
                self.label[index][inside] = label
            if not inside.any():
                continue
            self.hu[index][inside] = hu(x[inside], y[inside], z[inside]) if callable(hu) else hu

    def tube(
        self, path: Floats, hu: float | Level, *, shrink: float = 0.0, label: int = 0, over: int | None = None
    ) -> None:
        """Fill round cones between consecutive (x, y, z, radius) rows of ``path``, the radius less ``shrink`` mm.

        Without ``over`` they keep ``shrink`` mm off the wall of chest and belly.
        """
        for start, end in pairwise(path):
            a, b, ra, rb = start[:3], end[:3], start[3] - shrink, end[3] - shrink
            if max(ra, rb) <= 0:
                continue
            axis, reach = b - a, max(ra, rb) + 1.0
            square = float(axis @ axis) or 1.0

            def level(
                x: Floats,
                y: Floats,
                z: Floats,
                a: Floats = a,
                axis: Floats = axis,
                ra: float = ra,
                rb: float = rb,
                square: float = square,
            ) -> Floats:
                dx, dy, dz = x - a[0], y - a[1], z - a[2]
                t = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / square, 0.0, 1.0)
                gap = np.sqrt((dx - t * axis[0]) ** 2 + (dy - t * axis[1]) ** 2 + (dz - t * axis[2]) ** 2)
                return np.asarray(gap - (ra + t * (rb - ra)))

            low, high = np.minimum(a, b) - reach, np.maximum(a, b) + reach
            bounds = (low[0], low[1], low[2]), (high[0], high[1], high[2])
            self.paint(level, bounds, hu, label=label, over=over, room_mm=shrink if over is None else None)

    def mean_hu(self) -> Floats:
        """Return the average HU of each voxel: float64 of the geometry's shape."""
        return self._sums(self.hu, np.float64) / float(np.prod(FACTOR))

    def majority(self) -> NDArray[np.uint8]:
        """Return per voxel the label that fills at least half of it, else 0."""
        half = np.prod(FACTOR) / 2
        result = np.zeros(self.geometry.shape, dtype=np.uint8)
        for value in np.unique(self.label):
            if value:
                result[self._sums(self.label == value, np.uint8) >= half] = value
        return result

    def _sums(self, array: NDArray[Any], dtype: type[Any]) -> NDArray[Any]:
        """Return the sum of the fine samples of each voxel."""
        total = np.zeros(self.geometry.shape, dtype=dtype)
        for offset in np.ndindex(*FACTOR):
            total += array[tuple(slice(start, None, step) for start, step in zip(offset, FACTOR, strict=True))]
        return total
