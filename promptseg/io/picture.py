"""Pictures and stacks (PNG, JPEG, TIFF): formats without a place in the patient, and the note that gives them one.

``mask.png`` has its frame in ``mask.png.json`` beside it; a picture without such a note has pixels, not millimetres.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

from promptseg.check.finding import Finding, Severity
from promptseg.errors import GeometryError, ReadError
from promptseg.io.itk import RawImage, read_itk
from promptseg.io.sniff import Family
from promptseg.io.tiff import require_whole_tiff
from promptseg.volume.geometry import Geometry

__all__ = ["note_path", "read_picture", "write_note"]

FORMAT = "promptseg geometry"
JPEG_TAIL = 4096  # bytes; cameras append a little after the end marker


def note_path(path: Path) -> Path:
    """Return where the geometry note of a picture lies."""
    return path.with_name(path.name + ".json")


def write_note(path: Path, geometry: Geometry) -> Path:
    """Write the geometry note of ``path`` beside it and return the note's path."""
    note = note_path(path)
    content = {
        "format": FORMAT,
        "shape_zyx": geometry.shape,
        "spacing_xyz_mm": geometry.spacing,
        "origin_xyz_lps_mm": geometry.origin,
        "direction_lps": geometry.direction,
    }
    note.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return note


def read_picture(path: Path, family: Family) -> RawImage:
    """Read a picture; its frame comes from the note beside it, or is 1 mm per pixel with a finding.

    Raises:
        ReadError: damaged, or the note is.
    """
    if family is Family.TIFF:
        require_whole_tiff(path)
    if family is Family.JPEG:
        _require_end_of_jpeg(path)
    raw = read_itk(path, family)
    placed = _noted_geometry(path, raw)
    if placed is not None:
        return replace(raw, geometry=placed)
    shape = raw.geometry.shape
    if family is Family.TIFF:
        y, x = raw.geometry.spacing_zyx[1:]
        if not math.isclose(x, 1.0, rel_tol=1e-3) or not math.isclose(y, 1.0, rel_tol=1e-3):
            size = f"{x:.4g} x {y:.4g} mm (the file's print resolution)"
            sentence = (
                f"a TIFF states no place in the patient: the pixel size of {size} and 1 mm per slice were assumed"
            )
            geometry = Geometry(shape, spacing=(x, y, 1.0))
            finding = Finding(sentence, "no-geometry", Severity.WARNING, "assumed")
            return replace(raw, geometry=geometry, findings=[*raw.findings, finding])
    sentence = f"a {family.value} file states no pixel size: 1 mm was assumed, so lengths are in pixels"
    finding = Finding(sentence, "no-geometry", Severity.WARNING, "assumed")
    return replace(raw, geometry=Geometry(shape), findings=[*raw.findings, finding])


def _require_end_of_jpeg(path: Path) -> None:
    """Raise unless the end marker is there: libjpeg paints what is missing grey."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - JPEG_TAIL))
        if b"\xff\xd9" not in file.read():
            raise ReadError(f"cannot read {path}: the JPEG file is cut short (it has no end marker)")


def _noted_geometry(path: Path, raw: RawImage) -> Geometry | None:
    note = note_path(path)
    if not note.is_file():
        return None
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            return None
        geometry = Geometry(
            tuple(content["shape_zyx"]),
            tuple(content["spacing_xyz_mm"]),
            tuple(content["origin_xyz_lps_mm"]),
            tuple(content["direction_lps"]),
        )
    except (OSError, ValueError, KeyError, TypeError, GeometryError) as exc:
        raise ReadError(f"cannot read {path}: the geometry note {note.name} beside it is damaged") from exc
    if geometry.shape != raw.geometry.shape:
        sentence = f"the geometry note {note.name} is of another image (its shape differs) and was not used"
        raw.findings.append(Finding(sentence, "wrong-note", Severity.WARNING, "not used"))
        return None
    return geometry
