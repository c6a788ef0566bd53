"""The report's table, and its short texts: what HTML and PDF show alike."""

from __future__ import annotations

import re

from promptseg.measure.quantity import Quantity
from promptseg.report.parts import Report, Structure

__all__ = ["LOW_CONFIDENCE", "notes_of", "shortened", "summary_table", "table_note"]

LOW_CONFIDENCE = 0.5  # below, a number is shown as a warning; the engine's scale, see promptseg.engine.checks
HEX_SHOWN = 12
UNITS = {"mm2": "mm²"}


def summary_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return the header and one row of texts per structure; "–" where there is no number."""
    size = _size_of(report)
    flat = size is not None and size.name != "volume"
    length = _unit(report, "axial_long", "mm")
    unit = _unit(report, "mean", "")
    shape = [] if flat else [f"3D, {_unit(report, 'diameter_3d', 'mm')}", "Surface, cm²", "Sphericity"]
    long = f"Long × short, {length}" if flat else f"Axial, {length}"
    header = [
        "Structure",
        _size_title(size),
        long,
        *shape,
        f"Mean ± SD{', ' + unit if unit else ''}",
        "Min. confidence",
    ]
    return header, [_row(structure, size, flat=flat) for structure in report.structures]


def _size_of(report: Report) -> Quantity | None:
    """Return the size that the table's second column shows: of a slice its area; without a voxel size, voxels."""
    named = ("area", "volume", "voxels")
    return next((q for name in named for s in report.structures if (q := s.quantity(name)) is not None), None)


def _size_title(size: Quantity | None) -> str:
    if size is None or size.name == "voxels" or size.unit == "voxels":
        return "Volume, ml" if size is None else "Voxels"
    return f"{size.name.capitalize()}, {UNITS.get(size.unit, size.unit)}"


def _unit(report: Report, name: str, default: str) -> str:
    return next((q.unit for s in report.structures if (q := s.quantity(name)) is not None), default)


def table_note(report: Report) -> str:
    """Return what the table's columns mean, in one line."""
    flat = any(structure.quantity("area") for structure in report.structures)
    long = "longest diameter" if flat else "longest diameter in an axial slice"
    size = "" if flat else "3D: longest line between two points of the surface. "
    return (
        f"{'Long × short' if flat else 'Axial'}: {long} × its perpendicular (RECIST 1.1). {size}"
        "Min. confidence: of the least certain slice, 0 to 1, an estimate of the engine, not a probability."
    )


def _row(structure: Structure, size: Quantity | None, *, flat: bool) -> list[str]:
    long, short = (structure.quantity(name) for name in ("axial_long", "axial_short"))
    mean, std = structure.quantity("mean"), structure.quantity("std")
    surface = structure.quantity("surface")
    cm2 = (
        None
        if surface is None or surface.unit != "mm2"
        else Quantity("surface", float(_single(surface)) / 100.0, "cm2", "")
    )
    axial = f"{_number(long)} × {_number(short)}" if long and short else "–"
    shape = [] if flat else [_number(structure.quantity("diameter_3d")), _number(cm2)]
    roundness = structure.quantity("sphericity")
    if not flat:
        shape.append("–" if roundness is None else f"{_single(roundness):.2f}")
    return [
        structure.name,
        _number(structure.quantity(size.name if size else "volume")),
        axial,
        *shape,
        f"{_number(mean)} ± {_number(std)}" if mean and std else "–",
        "–" if structure.confidence is None else f"{structure.confidence:.2f}",
    ]


def _single(quantity: Quantity) -> float:
    return float(quantity.value) if not hasattr(quantity.value, "__len__") else float("nan")


def _number(quantity: Quantity | None) -> str:
    """Return three digits that count, a count whole, "–" for nothing."""
    if quantity is None:
        return "–"
    if isinstance(quantity.value, int):
        return f"{quantity.value}"
    value = _single(quantity)
    size = abs(value)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.1 or size == 0 else 4
    return f"{value:.{digits}f}".replace("-", "−")


def notes_of(structure: Structure) -> list[str]:
    """Return how a structure was made and which slices to look at, a sentence each."""
    lines = []
    if structure.prompts:
        lines.append("From " + ", ".join(structure.prompts))
    if structure.review:
        lines.append("Look at " + "; ".join(note.text() for note in structure.review))
    if not structure.quantities:
        lines.append("No voxel")
    return lines


def shortened(text: str) -> str:
    """Return a text with long digests cut; the JSON twin has them whole."""
    return re.sub(rf"\b([0-9a-f]{{{HEX_SHOWN}}})[0-9a-f]{{20,}}\b", r"\1…", text)
