"""Slices that make no regular grid (tilt, uneven gaps), the regular grid planned for them, and the way back.

Along the grid's rows and columns a slice lies a whole number of voxels from where it belongs, up to half a voxel; along
the normal it has a plane of its own. So labels that go from slices to the grid and back are the same, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import GeometryError, ReadError
from promptseg.volume.geometry import Geometry
from promptseg.volume.labelmap import Label, Labelmap

__all__ = ["SliceSet", "plan_slices"]

FORMAT = "promptseg slices"
VERSION = 1
MAX_PLANES = 3000  # more would fill the memory for a few slices that nearly touch
ROUNDING = 0.02  # of a pixel or gap: what decimals in headers may add up to


@dataclass(frozen=True)
class SliceSet:
    """Where slices lie, and the regular grid that holds them all.

    Attributes:
        shape: (rows, columns) of every slice.
        spacing: (row, column) distance of pixels, mm.
        axes: unit vectors (LPS) along a row and along a column: six numbers, as ImageOrientationPatient.
        positions: LPS mm of each slice's first pixel, sorted along the normal, at least two.
        numbers: InstanceNumber of each slice, 0 where unknown; tells a person which slice is which.
        thickness_mm: of a slice.
        grid: the regular grid; its axes are ``axes`` and their normal.
    """

    shape: tuple[int, int]
    spacing: tuple[float, float]
    axes: tuple[float, ...]
    positions: tuple[tuple[float, float, float], ...]
    numbers: tuple[int, ...]
    thickness_mm: float
    grid: Geometry

    @cached_property
    def offsets(self) -> NDArray[np.float64]:
        """(n, 3): plane, row and column of the grid, as fractions, where each slice's first pixel lies."""
        return self.grid.world_to_voxel(np.asarray(self.positions))

    @cached_property
    def corners(self) -> NDArray[np.int64]:
        """(n, 3): the voxel nearest to each slice's first pixel. Halves go up, for all slices alike."""
        return np.floor(self.offsets + 0.5 + 1e-9).astype(np.int64)

    @property
    def is_exact(self) -> bool:
        """True where each slice has a plane of its own: labels then survive the way there and back."""
        return len(set(self.corners[:, 0].tolist())) == len(self.positions)

    @property
    def largest_shift_mm(self) -> float:
        """Largest distance between a pixel of a slice and the voxel whose label it takes."""
        return float(np.linalg.norm((self.offsets - self.corners) * self.grid.spacing_zyx, axis=1).max())

    def to_slices(self, mask: Labelmap) -> NDArray[Any]:
        """Return a mask's labels on the slices: (n, rows, columns), in the order of ``positions``.

        Raises:
            GeometryMismatchError: the mask does not lie on ``grid``.
        """
        self.grid.require_same(mask.geometry, "the mask and the grid that the slices were resampled onto")
        rows, columns = self.shape
        return np.stack([mask.array[z, y : y + rows, x : x + columns] for z, y, x in self.corners])

    def to_labelmaps(self, mask: Labelmap) -> list[Labelmap]:
        """Return one labelmap of one slice, with its own true frame, for each slice.

        Raises:
            GeometryMismatchError: as ``to_slices``.
        """
        return [
            Labelmap(part[None], self.slice_geometry(index), mask.labels)
            for index, part in enumerate(self.to_slices(mask))
        ]

    def to_grid(self, labels: NDArray[Any], names: Mapping[int, Label] | None = None) -> Labelmap:
        """Return labels drawn on the slices (n, rows, columns; unsigned) on the regular grid, nearest slice each.

        Raises:
            GeometryError: another number or size of slices.
        """
        if labels.shape != (len(self.positions), *self.shape):
            raise GeometryError(f"expected labels of shape {(len(self.positions), *self.shape)}, got {labels.shape}")
        out = np.zeros(self.grid.shape, dtype=labels.dtype)
        rows, columns = self.shape
        own = {int(plane): index for index, plane in enumerate(self.corners[:, 0])}
        for plane in range(self.grid.shape[0]):
            index = own.get(plane, int(np.abs(self.offsets[:, 0] - plane).argmin()))
            _, y, x = self.corners[index]
            out[plane, y : y + rows, x : x + columns] = labels[index]
        return Labelmap(out, self.grid, dict(names or {}))

    def slice_geometry(self, index: int) -> Geometry:
        """Return the frame of one slice."""
        spacing = (self.spacing[1], self.spacing[0], self.thickness_mm)
        return Geometry((1, *self.shape), spacing, self.positions[index], self.grid.direction)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``from_dict`` reads; no name, date or id of a person is in it."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "slice_shape": list(self.shape),
            "pixel_spacing_mm": list(self.spacing),
            "axes_lps": list(self.axes),
            "thickness_mm": self.thickness_mm,
            "slices": [
                {"instance_number": number, "position_lps_mm": list(position)}
                for number, position in zip(self.numbers, self.positions, strict=True)
            ],
            "grid": {
                "shape_zyx": list(self.grid.shape),
                "spacing_xyz_mm": list(self.grid.spacing),
                "origin_xyz_lps_mm": list(self.grid.origin),
                "direction_lps": list(self.grid.direction),
            },
        }

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> SliceSet:
        """Read what ``to_dict`` gave.

        Raises:
            ReadError: another format or version, or damaged.
        """
        if not isinstance(content, Mapping) or content.get("format") != FORMAT or content.get("version") != VERSION:
            raise ReadError(f"expected a {FORMAT!r} file of version {VERSION}, got something else")
        try:
            grid = content["grid"]
            made = SliceSet(
                shape=_whole(content["slice_shape"], 2),  # type: ignore[arg-type]  # two numbers, checked there
                spacing=_floats(content["pixel_spacing_mm"], 2),  # type: ignore[arg-type]
                axes=_floats(content["axes_lps"], 6),
                positions=tuple(_floats(one["position_lps_mm"], 3) for one in content["slices"]),  # type: ignore[misc]
                numbers=tuple(int(one["instance_number"]) for one in content["slices"]),
                thickness_mm=float(content["thickness_mm"]),
                grid=Geometry(
                    _whole(grid["shape_zyx"], 3),  # type: ignore[arg-type]
                    _floats(grid["spacing_xyz_mm"], 3),  # type: ignore[arg-type]
                    _floats(grid["origin_xyz_lps_mm"], 3),  # type: ignore[arg-type]
                    _floats(grid["direction_lps"], 9),
                ),
            )
            ends = made.corners + np.asarray((1, *made.shape))
            fits = bool((made.corners >= 0).all() and (ends <= made.grid.shape).all())
        except (KeyError, TypeError, ValueError, GeometryError) as exc:
            raise ReadError(f"the {FORMAT!r} file is damaged: a number is missing or impossible") from exc
        if not fits:
            raise ReadError(f"the {FORMAT!r} file is damaged: a slice lies outside its grid")
        return made


def plan_slices(
    positions: NDArray[np.float64],
    axes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    shape: tuple[int, int],
    spacing: tuple[float, float],
    *,
    numbers: Sequence[int] = (),
    thickness_mm: float | None = None,
) -> SliceSet:
    """Plan the regular grid for slices that are parallel but tilted or unevenly spaced.

    The grid keeps the slices' axes and pixel spacing, its step is the smallest gap (or a little less, so that the last
    plane is the last slice), and it is as much larger as the slices shift sideways.

    Args:
        positions: (n, 3) LPS mm, sorted along the normal, no two at one place; n >= 2.
        axes: unit vectors along rows, along columns, and the normal.
        shape: (rows, columns).
        spacing: (row, column) mm.
        numbers: InstanceNumber of each slice.
        thickness_mm: SliceThickness; None takes the grid's step.

    Raises:
        ReadError: two slices nearly touch, so that the grid would have too many planes.
    """
    row, column, normal = axes
    relative = positions - positions[0]
    along = relative @ normal
    x, y = relative @ row / spacing[1], relative @ column / spacing[0]
    low_x, low_y = math.floor(x.min() + ROUNDING), math.floor(y.min() + ROUNDING)
    columns = shape[1] + math.ceil(x.max() - ROUNDING) - low_x
    rows = shape[0] + math.ceil(y.max() - ROUNDING) - low_y
    origin = positions[0] + row * low_x * spacing[1] + column * low_y * spacing[0]
    gap = float(np.diff(along).min())
    steps = max(1, math.ceil(along[-1] / gap - ROUNDING))
    while steps < MAX_PLANES:
        step = float(along[-1]) / steps
        planned = SliceSet(
            shape=shape,
            spacing=spacing,
            axes=(*row.tolist(), *column.tolist()),
            positions=tuple(tuple(position) for position in positions.tolist()),
            numbers=tuple(numbers) or (0,) * len(positions),
            thickness_mm=thickness_mm or step,
            grid=Geometry(
                (steps + 1, rows, columns),
                (spacing[1], spacing[0], step),
                tuple(origin.tolist()),
                tuple(np.stack(axes, axis=1).ravel().tolist()),
            ),
        )
        if planned.is_exact:
            return planned
        steps += 1
    raise ReadError(
        f"cannot resample slices as near as {gap:.3g} mm over {along[-1]:.4g} mm: the regular grid would have more "
        f"than {MAX_PLANES} planes; leave out slices that nearly touch"
    )


def _floats(values: Sequence[Any], count: int) -> tuple[float, ...]:
    found = tuple(float(value) for value in values)
    if len(found) != count or not all(math.isfinite(value) for value in found):
        raise ValueError("expected finite numbers")
    return found


def _whole(values: Sequence[Any], count: int) -> tuple[int, ...]:
    return tuple(int(value) for value in _floats(values, count))
