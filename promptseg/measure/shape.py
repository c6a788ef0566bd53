"""Size and shape of one mask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.measure.diameters import AxialDiameters, Diameter, axial_diameters, longest_diameter
from promptseg.measure.quantity import Quantity
from promptseg.measure.surface import bounds, surface_mesh
from promptseg.volume.geometry import Geometry

__all__ = ["ShapeMeasures", "measure_shape"]

BoolArray = NDArray[np.bool_]
IBSI = "IBSI reference manual, arXiv:1612.07003"


@dataclass(frozen=True)
class ShapeMeasures:
    """Size and shape of a mask; ``quantities`` says each one's unit and definition.

    Attributes:
        voxels: number of voxels.
        volume_ml: voxel count times voxel volume.
        mesh_volume_ml: volume inside the surface.
        surface_mm2: area of the surface.
        sphericity: 1 for a ball, less for everything else.
        diameter_3d: the longest line in space.
        axial: the longest line in an axial slice and its perpendicular.
        box: half-open box of voxels (z, y, x).
        box_mm: its edges in mm, along the array's axes (z, y, x).
        center: LPS mm (x, y, z), mean of the voxels' centres.
    """

    voxels: int
    volume_ml: float
    mesh_volume_ml: float
    surface_mm2: float
    sphericity: float
    diameter_3d: Diameter
    axial: AxialDiameters
    box: tuple[tuple[int, int, int], tuple[int, int, int]]
    box_mm: tuple[float, float, float]
    center: tuple[float, float, float]

    def quantities(self) -> tuple[Quantity, ...]:
        """Return all numbers with unit and definition."""
        recist = "RECIST 1.1, Eur J Cancer 2009;45:228-247"
        long, short = self.axial.long, self.axial.short
        return (
            Quantity("voxels", self.voxels, "", "number of voxels"),
            Quantity("volume", self.volume_ml, "ml", f"voxel count x voxel volume ({IBSI}, YEKZ)"),
            Quantity("mesh_volume", self.mesh_volume_ml, "ml", f"volume inside the marching-cubes mesh ({IBSI}, RNU0)"),
            Quantity("surface", self.surface_mm2, "mm2", f"area of the marching-cubes mesh ({IBSI}, C0JK)"),
            Quantity("sphericity", self.sphericity, "", f"(36 pi V^2)^(1/3) / A of the mesh ({IBSI}, QCFX)"),
            Quantity(
                "diameter_3d", self.diameter_3d.length_mm, "mm", f"largest distance of mesh points ({IBSI}, L0JK)"
            ),
            Quantity("diameter_3d_start", self.diameter_3d.start, "mm", "LPS x, y, z"),
            Quantity("diameter_3d_end", self.diameter_3d.end, "mm", "LPS x, y, z"),
            Quantity("axial_long", long.length_mm, "mm", f"longest diameter in an axial slice ({recist})"),
            Quantity("axial_long_start", long.start, "mm", "LPS x, y, z"),
            Quantity("axial_long_end", long.end, "mm", "LPS x, y, z"),
            Quantity("axial_short", short.length_mm, "mm", f"longest perpendicular in the same slice ({recist})"),
            Quantity("axial_short_start", short.start, "mm", "LPS x, y, z"),
            Quantity("axial_short_end", short.end, "mm", "LPS x, y, z"),
            Quantity("axial_slice", self.axial.index, "", f"slice index along array axis {self.axial.axis}"),
            Quantity("box_start", self.box[0], "voxel", "first voxel z, y, x"),
            Quantity("box_stop", self.box[1], "voxel", "one behind the last voxel z, y, x"),
            Quantity("box_size", self.box_mm, "mm", "edges of the box along z, y, x"),
            Quantity("center", self.center, "mm", f"mean of voxel centres, LPS x, y, z ({IBSI}, KLMA without weights)"),
        )


def measure_shape(mask: BoolArray, geometry: Geometry) -> ShapeMeasures:
    """Measure size and shape.

    Args:
        mask: bool (z, y, x).
        geometry: its frame.

    Raises:
        GeometryMismatchError: mask and geometry disagree in shape.
        PromptError: the mask is empty.
    """
    mesh = surface_mesh(mask, geometry)
    box = bounds(mask)
    inside = np.argwhere(mask[tuple(slice(a, b) for a, b in zip(*box, strict=True))])
    x, y, z = (float(v) for v in geometry.voxel_to_world(inside.mean(axis=0) + box[0]))
    edges = [(b - a) * s for a, b, s in zip(*box, geometry.spacing_zyx, strict=True)]
    volume, area = mesh.volume_mm3, mesh.area_mm2
    return ShapeMeasures(
        voxels=len(inside),
        volume_ml=len(inside) * geometry.voxel_volume_mm3 / 1000.0,
        mesh_volume_ml=volume / 1000.0,
        surface_mm2=area,
        sphericity=(36.0 * math.pi * volume**2) ** (1.0 / 3.0) / area,
        diameter_3d=longest_diameter(mesh, geometry),
        axial=axial_diameters(mask, geometry),
        box=box,
        box_mm=(edges[0], edges[1], edges[2]),
        center=(x, y, z),
    )
