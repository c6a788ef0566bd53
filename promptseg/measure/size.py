"""How large an object is, in the unit that its image has: the one rule for every face.

An image of several slices has volumes in ml, a single slice has areas in mm²; where the file states no pixel size there
are neither millimetres nor millilitres, only pixels and voxels; where it states no distance of slices, lengths within a
slice are in mm and volumes are numbers of voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from promptseg.measure.quantity import Quantity
from promptseg.volume.geometry import Geometry

__all__ = ["in_units_of", "size_in_words", "size_of"]

PIXELS = {"mm": "px", "mm2": "px"}
FLAT = ("voxels", "axial_long", "axial_short", "mean", "std", "min", "p10", "median", "p90", "max")
VOLUMES = ("volume", "mesh_volume")


def size_of(voxels: int, geometry: Geometry) -> Quantity:
    """Return volume or area of so many voxels.

    Args:
        voxels: how many the object has.
        geometry: the image's or mask's frame.
    """
    stack, ml = geometry.shape[0] > 1, geometry.volume_ml(voxels)
    if not geometry.measured or (stack and ml is None):
        return Quantity("volume" if stack else "area", voxels, "voxels" if stack else "px", "number of voxels")
    if not stack or ml is None:
        x_mm, y_mm, _ = geometry.spacing
        return Quantity("area", voxels * x_mm * y_mm, "mm2", "number of pixels x pixel area")
    return Quantity("volume", ml, "ml", "voxel count x voxel volume")


def size_in_words(size: Quantity) -> str:
    """Return a size for people: "3.00 ml", "12.5 mm²", "350 pixels", "700 voxels"."""
    if isinstance(size.value, int):
        return f"{size.value} {'pixels' if size.unit == 'px' else size.unit}"
    return f"{size.value:.2f} ml" if size.unit == "ml" else f"{size.value:.1f} mm²"


def in_units_of(quantities: tuple[Quantity, ...], geometry: Geometry) -> tuple[Quantity, ...]:
    """Return the measures that this image has, in its units: no volume of a single slice, no mm of a picture.

    Where the distance of slices is not known, what lies within a slice is left.
    """
    if geometry.shape[0] == 1 or not geometry.depth_measured:
        voxels = next(
            (int(q.value) for q in quantities if q.name == "voxels" and not isinstance(q.value, Sequence)), None
        )
        kept = tuple(q for q in quantities if q.name in FLAT)
        quantities = kept if voxels is None else (size_of(voxels, geometry), *kept)
    if geometry.measured:
        return quantities
    voxel_count = tuple(q for q in quantities if q.name not in VOLUMES)
    return tuple(replace(q, unit=PIXELS.get(q.unit, q.unit)) for q in voxel_count)
