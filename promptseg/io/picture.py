"""Pictures and stacks (PNG, JPEG, TIFF): formats without a place in the patient, and the note that gives them one.

``mask.png`` has its frame in ``mask.png.json`` beside it; a picture without such a note has pixels, not millimetres.
"""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from promptseg.check.finding import Finding, Severity
from promptseg.errors import GeometryError, ReadError
from promptseg.io.frames import check_frame
from promptseg.io.itk import RawImage, read_itk
from promptseg.io.picture_colours import paint
from promptseg.io.png import PALETTE, read_grey_with_opacity, read_indices, read_png_header
from promptseg.io.sniff import Family
from promptseg.io.tiff import require_whole_tiff
from promptseg.io.tiff_image import read_tiff
from promptseg.volume.geometry import Geometry

__all__ = ["note_path", "read_picture", "write_note"]

FORMAT = "promptseg geometry"
EXIF_ORIENTATION = 274
OF_SIZE = ("no-geometry", "assumed-thickness", "print-resolution")  # what a note beside the picture settles
BY_PILLOW = (OSError, ValueError, SyntaxError, TypeError, KeyError, struct.error)  # what it raises on damaged files
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


def read_picture(path: Path, family: Family, *, frame: int | None = None) -> RawImage:
    """Read a picture or stack; its frame comes from the note beside it, or is assumed with a finding.

    Args:
        path: the file. family: its format.
        frame: which channel or time of a TIFF, zero-based.

    Raises:
        ReadError: damaged, or the note is.
    """
    if family is Family.TIFF:
        require_whole_tiff(path)
        raw = read_tiff(path, frame=frame)
    else:
        check_frame(frame, 1, path)
        raw = _read_png(path) if family is Family.PNG else _read_jpeg(path)
        _turn(raw, path)
        sentence = f"a {family.value} file states no pixel size: 1 mm was assumed, so lengths are in pixels"
        raw.findings.append(Finding(sentence, "no-geometry", Severity.WARNING, "assumed"))
    placed = _noted_geometry(path, raw)
    if placed is None:
        return raw
    return replace(raw, geometry=placed, findings=[f for f in raw.findings if f.code not in OF_SIZE])


def _read_png(path: Path) -> RawImage:
    header = read_png_header(path)
    if header.is_grey_with_opacity:
        array = read_grey_with_opacity(path)
        return RawImage(array, Geometry(array.shape[:3]))
    raw = read_itk(path, Family.PNG)
    raw = replace(raw, geometry=Geometry(raw.geometry.shape))
    if header.kind != PALETTE:
        return raw
    indices, palette = read_indices(path)
    return replace(raw, array=paint(indices, palette), indices=indices, palette=palette)


def _read_jpeg(path: Path) -> RawImage:
    from PIL import Image

    _require_end_of_jpeg(path)
    colours = None
    with suppress(*BY_PILLOW), Image.open(path) as image:
        if image.mode == "CMYK":
            colours = np.asarray(image.convert("RGB"))[None]
    raw = read_itk(path, Family.JPEG)
    raw = replace(raw, geometry=Geometry(raw.geometry.shape))
    if colours is None:
        return raw
    sentence = "CMYK colours were converted to RGB without a colour profile"
    return replace(raw, array=colours, findings=[Finding(sentence, "colours-converted", Severity.INFO, "converted")])


def _turn(raw: RawImage, path: Path) -> None:
    """Turn a picture as its Exif orientation says."""
    from PIL import Image

    with suppress(*BY_PILLOW), Image.open(path) as image:
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
        raw.turn(orientation if orientation in range(1, 9) else 1)


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
