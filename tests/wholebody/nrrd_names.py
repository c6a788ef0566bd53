"""Read the segments of a .seg.nrrd header as plain text, without any of our readers."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["segments"]


def segments(path: Path) -> dict[int, str]:
    """Label value to segment name, as Slicer's fields SegmentN_LabelValue and SegmentN_Name have them."""
    header = path.read_bytes().partition(b"\n\n")[0].decode("utf-8")
    values = {int(n): int(v) for n, v in re.findall(r"Segment(\d+)_LabelValue:=(\d+)", header)}
    names = dict(re.findall(r"Segment(\d+)_Name:=([^\r\n]+)", header))
    return {value: names[str(number)] for number, value in values.items()}
