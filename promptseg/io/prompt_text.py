"""Clicks as people write them on a command line and in a table: voxels, zero-based, in the order z, y, x."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from promptseg.errors import PromptError
from promptseg.prompts import Box, Point, Scribble

__all__ = ["FORMS", "Line", "parse_box", "parse_line", "parse_point", "parse_scribble"]

Line = tuple[float, float, float, float, float]  # z, y0, x0, y1, x1: a longest diameter on an axial slice
FORMS = {
    "point": "Z,Y,X",
    "box": "Z0,Y0,X0,Z1,Y1,X1",
    "recist": "Z,Y0,X0,Y1,X1",
    "scribble": "Z,Y,X/Z,Y,X/...",
}


def _numbers(text: str, kind: str) -> tuple[float, ...]:
    form = FORMS[kind].split("/")[0]
    count = form.count(",") + 1
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise PromptError(f"expected {form} ({count} numbers with commas), got {text!r}")
    return values


def parse_point(text: str, positive: bool = True) -> Point:
    """Return the click that "Z,Y,X" says.

    Raises:
        PromptError: not three numbers.
    """
    z, y, x = _numbers(text, "point")
    return Point(voxel=(z, y, x), positive=positive)


def parse_box(text: str) -> Box:
    """Return the half-open box that "Z0,Y0,X0,Z1,Y1,X1" says.

    Raises:
        PromptError: not six numbers, or an empty box.
    """
    z0, y0, x0, z1, y1, x1 = _numbers(text, "box")
    return Box(voxel=((z0, y0, x0), (z1, y1, x1)))


def parse_line(text: str) -> Line:
    """Return the longest diameter that "Z,Y0,X0,Y1,X1" says; see ``promptseg.io.foreign.recist_box``.

    Raises:
        PromptError: not five numbers.
    """
    z, y0, x0, y1, x1 = _numbers(text, "recist")
    return z, y0, x0, y1, x1


def parse_scribble(text: str, positive: bool = True) -> Scribble:
    """Return the stroke through the corners that "Z,Y,X/Z,Y,X/..." says, straight from one to the next.

    Raises:
        PromptError: not three numbers at each corner.
    """
    corners = [np.array(_numbers(part, "scribble")) for part in text.split("/")]
    stroke = [corners[0][None]]
    for start, end in pairwise(corners):
        steps = max(1, math.ceil(float(np.abs(end - start).max())))  # no voxel of the stroke is left out
        stroke.append(start + (end - start) * np.arange(1, steps + 1)[:, None] / steps)
    return Scribble(np.unique(np.rint(np.concatenate(stroke)), axis=0), positive)
