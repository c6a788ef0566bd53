"""What the two formats with text headers (MetaImage, NRRD) have in common: files named in them, and what they omit."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from promptseg.check.finding import Finding, Severity
from promptseg.errors import ReadError

__all__ = ["missing_geometry", "numbered_names", "path_beside", "voxel_files"]

HEADERS = (".mhd", ".mha", ".nhdr", ".nrrd")
HEADER_BYTES = 65_536
NAMES_VOXELS = ("elementdatafile", "data file", "datafile")
LONGEST_NAME = 255  # that is shown
MAX_FILES = 100_000  # a pattern that names more is damaged


def path_beside(header: Path, name: str) -> Path:
    """Return the file that a header names.

    Raises:
        ReadError: it is not there.
    """
    data = header.parent / name
    there = False
    with suppress(OSError, ValueError):  # a name that is too long, or holds a zero byte
        there = data.is_file()
    if not there:
        raise ReadError(f"cannot read {header}: its voxels should lie in {name[:LONGEST_NAME]}, which is missing")
    return data


def numbered_names(header: Path, text: str) -> list[Path]:
    """Return the files of a pattern with first, last and step, e.g. ``slice%03d.raw 1 12 1``.

    Raises:
        ReadError: the pattern is malformed, or a file is not there.
    """
    try:
        pattern, *numbers = text.split()
        first, last, step = (int(word) for word in (*numbers, "1")[:3])
        count = (last - first) // step + 1
        if not 1 <= count <= MAX_FILES:
            raise ValueError(text)
        names = [pattern % (first + step * index) for index in range(count)]
    except (ValueError, TypeError, ZeroDivisionError) as exc:
        raise ReadError(f"cannot read {header}: its pattern of file names is malformed: {text[:80]}") from exc
    return [path_beside(header, name) for name in names]


def voxel_files(header: Path) -> list[Path]:
    """Return the files that hold a header's voxels; none where it holds them itself, is damaged, or is no header."""
    if not header.name.lower().endswith(HEADERS) or not header.is_file():
        return []
    with header.open("rb") as file:
        lines = file.read(HEADER_BYTES).decode("latin-1").splitlines()
    for number, line in enumerate(lines):
        key, value = re.match(r"([^=:]*)[=:]?=?(.*)", line).groups()  # type: ignore[union-attr] # fits any line
        if key.strip().lower() not in NAMES_VOXELS:
            continue
        name = value.strip()
        if name.split()[:1] == ["LIST"]:
            return [header.parent / other.strip() for other in lines[number + 1 :] if other.strip()]
        if name.lower() == "local":
            return []
        try:
            return numbered_names(header, " ".join(name.split()[:4])) if "%" in name else [header.parent / name]
        except ReadError:  # whoever reads the image says so
            return []
    return []


def missing_geometry(kind: str, spacing: bool, axes: bool) -> list[Finding]:
    """Say what a header without a pixel size, or without axes, left to be assumed."""
    if not spacing:
        sentence = f"the {kind} header states no pixel size: 1 mm was assumed, so lengths are in pixels"
        return [Finding(sentence, "no-geometry", Severity.WARNING, "assumed")]
    if not axes:
        sentence = f"the {kind} header states no orientation: left and right cannot be told, axes were taken as LPS"
        return [Finding(sentence, "no-orientation", Severity.WARNING, "assumed")]
    return []
