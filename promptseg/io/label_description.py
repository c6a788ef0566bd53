"""ITK-SNAP label description files: names and colours for formats that hold numbers only.

One line per label: value, red, green, blue (0 ... 255), opacity, visible, mesh, "name".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from promptseg.volume.labelmap import Label

__all__ = ["description_path", "read_descriptions", "write_descriptions"]

HEADER = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Where:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -G-:   Green color component (0..255)
#    -B-:   Blue color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#    VIS:   Label visibility (0 or 1)
#    MSH:   Label mesh visibility (0 or 1)
#  LABEL:   Label description
################################################
    0     0    0    0        0  0  0    "Clear Label"
"""
LINE = re.compile(r'^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([\d.eE+-]+)\s+(\d+)\s+(\d+)\s+"(.*)"\s*$')
MAX_BYTES = 4_000_000  # a text file beside a mask that is larger is no label description


def description_path(path: Path, extension: str) -> Path:
    """Return where the names of ``path`` (which ends with ``extension``) are written: ``<stem>.label.txt``."""
    return path.with_name(path.name[: -len(extension)] + ".label.txt")


def write_descriptions(labels: Iterable[Label], path: Path) -> Path:
    """Write a label description file. The format has no escapes: a double quote in a name becomes a single one."""
    lines = []
    for label in sorted(labels, key=lambda label: label.value):
        name = " ".join(label.name.replace('"', "'").split())
        red, green, blue = label.color
        lines.append(f'{label.value:5d} {red:5d} {green:4d} {blue:4d}        1  1  1    "{name}"\n')
    path.write_text(HEADER + "".join(lines), encoding="utf-8")
    return path


def read_descriptions(path: Path, extension: str) -> Mapping[int, Label]:
    """Return names and colours from ``<stem>.label.txt`` or ``<stem>.txt`` beside a mask; empty where there is none."""
    named = description_path(path, extension)
    for candidate in (named, named.with_name(named.name.removesuffix(".label.txt") + ".txt")):
        if candidate.is_file() and candidate.stat().st_size <= MAX_BYTES:
            labels = _parse(candidate.read_text(encoding="utf-8", errors="replace"))
            if labels:
                return labels
    return {}


def _parse(text: str) -> dict[int, Label]:
    labels: dict[int, Label] = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match and int(match[1]) > 0:
            red, green, blue = (min(255, int(match[i])) for i in (2, 3, 4))
            labels[int(match[1])] = Label(int(match[1]), match[8], (red, green, blue))
    return labels
