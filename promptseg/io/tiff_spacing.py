"""The voxel size that ImageJ, OME and plain TIFF files state, in mm."""

from __future__ import annotations

import math
from typing import Any

from promptseg.check.finding import Finding, Severity

__all__ = ["stated_spacing"]

Spacing = tuple[float, float, float]
# Words for units of length in ImageJ and OME files (OME's UnitsLength), in mm.
UNITS = {"nm": 1e-6, "\xb5m": 1e-3, "\u03bcm": 1e-3, "\\u00b5m": 1e-3, "um": 1e-3, "micron": 1e-3, "microns": 1e-3,
         "mm": 1.0, "cm": 10.0, "m": 1e3, "inch": 25.4, "in": 25.4}  # fmt: skip
INCH, CENTIMETRE = 2, 3  # ResolutionUnit (TIFF 6.0 section 8)


def stated_spacing(file: Any, page: Any) -> tuple[Spacing, list[Finding]]:
    """Return (x, y, z) mm, and what had to be assumed. ``file`` and ``page`` are tifffile's."""
    stated = _ome(file) if file.is_ome else _imagej(file, page) if file.is_imagej else None
    if stated is not None:
        x, y, z = stated
        if z is not None:
            return (x, y, z), []
        sentence = f"the file states pixels of {x:.4g} x {y:.4g} mm, but no distance of slices: 1 mm was assumed"
        return (x, y, 1.0), [Finding(sentence, "assumed-thickness", Severity.WARNING, "assumed")]
    x, y = _printed(page)
    if math.isclose(x, 1.0, rel_tol=1e-3) and math.isclose(y, 1.0, rel_tol=1e-3):
        sentence = "a TIFF file states no pixel size: 1 mm was assumed, so lengths are in pixels"
        return (1.0, 1.0, 1.0), [Finding(sentence, "no-geometry", Severity.WARNING, "assumed")]
    size = f"{x:.4g} x {y:.4g} mm (the file's print resolution)"
    sentence = f"a TIFF states no place in the patient: the pixel size of {size} and 1 mm per slice were assumed"
    return (x, y, 1.0), [Finding(sentence, "print-resolution", Severity.WARNING, "assumed")]


def _imagej(file: Any, page: Any) -> tuple[float, float, float | None] | None:
    """Return what ImageJ writes: pixels per unit in the resolution tags, the unit and the slices' distance in text."""
    notes = file.imagej_metadata or {}
    factor = UNITS.get(str(notes.get("unit", "")).strip().lower())
    x, y = _per_pixel(page)
    if factor is None or x is None or y is None:
        return None
    depth = notes.get("spacing")
    flat = int(notes.get("slices", 1) or 1) == 1
    z = abs(float(depth)) * factor if isinstance(depth, int | float) and depth else None
    return x * factor, y * factor, (z or 1.0) if flat else z


def _ome(file: Any) -> tuple[float, float, float | None] | None:
    """Return PhysicalSizeX, Y and Z of the first image (micrometres unless a unit is given)."""
    import tifffile

    image = (tifffile.xml2dict(file.ome_metadata).get("OME") or {}).get("Image")
    pixels = ((image[0] if isinstance(image, list) else image) or {}).get("Pixels") or {}
    sizes: list[float | None] = []
    for axis in "XYZ":
        size = pixels.get(f"PhysicalSize{axis}")
        factor = UNITS.get(str(pixels.get(f"PhysicalSize{axis}Unit", "um")).strip().lower())
        sizes.append(float(size) * factor if isinstance(size, int | float) and size > 0 and factor else None)
    x, y, z = sizes
    if x is None or y is None:
        return None
    return x, y, (z or 1.0) if pixels.get("SizeZ", 1) == 1 else z


def _printed(page: Any) -> tuple[float, float]:
    """Return mm per pixel by ResolutionUnit; 1 mm where there is no unit."""
    unit = {INCH: 25.4, CENTIMETRE: 10.0}.get(int(page.tags.valueof(296, INCH) or 1))
    x, y = _per_pixel(page)
    return (x * unit, y * unit) if unit and x and y else (1.0, 1.0)


def _per_pixel(page: Any) -> tuple[float | None, float | None]:
    """Return units per pixel from XResolution and YResolution, None where they are missing or 0."""
    found: list[float | None] = []
    for tag in (282, 283):
        value = page.tags.valueof(tag)
        whole, part = value if isinstance(value, tuple) and len(value) == 2 else (0, 1)
        found.append(part / whole if whole > 0 and part > 0 else None)
    return found[0], found[1]
