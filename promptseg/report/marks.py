"""The marks that the overlay picture is drawn with: text, outlines, points, boxes, a scale bar.

Every function draws into an RGB uint8 picture (height, width, 3) in place; positions are (x, y) in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from promptseg.report.letters import font_path, runs

if TYPE_CHECKING:
    from PIL import ImageFont

__all__ = [
    "INK",
    "NEGATIVE",
    "POSITIVE",
    "Color",
    "Picture",
    "box",
    "closed_line",
    "dot",
    "fill_outline",
    "nice_length",
    "point",
    "scale_bar",
    "text",
    "text_width",
]

Color: TypeAlias = tuple[int, int, int]
Picture: TypeAlias = NDArray[np.uint8]

INK: Color = (236, 239, 244)
POSITIVE: Color = (64, 224, 120)
NEGATIVE: Color = (255, 82, 82)
SHADOW: Color = (0, 0, 0)
FILL = 0.16  # opacity inside outlines
PAD_PX = 3  # beside words, for their halo
DASH_PX = 7
SHIFT = 4  # OpenCV takes coordinates in 1/16 px


def text(
    picture: Picture, words: str, at: tuple[float, float], color: Color = INK, *, size: float = 15.0, halo: bool = False
) -> None:
    """Write ``words``; ``at`` is the left end of the baseline, ``size`` the font's, in pixels.

    ``halo`` darkens the surroundings, for text on an image.
    """
    import cv2
    from PIL import Image, ImageDraw

    placed = [(letters, _font(name, size)) for name, letters in runs(words)]
    above, below = math.ceil(1.2 * size), math.ceil(0.5 * size)
    width = math.ceil(sum(font.getlength(letters) for letters, font in placed))
    canvas = Image.new("L", (width + 2 * PAD_PX, above + below))
    x = float(PAD_PX)
    for letters, font in placed:
        ImageDraw.Draw(canvas).text((x, above), letters, fill=255, font=font, anchor="ls")
        x += font.getlength(letters)
    ink = np.asarray(canvas, np.float32) / 255.0
    left, top = round(at[0]) - PAD_PX, round(at[1]) - above
    if halo:
        dark = cv2.GaussianBlur(cv2.dilate(ink, np.ones((3, 3))), (0, 0), 1.2)
        _blend(picture, np.minimum(dark, 1.0) * 0.75, left, top, SHADOW)
    _blend(picture, ink, left, top, color)


def text_width(words: str, size: float = 15.0) -> int:
    """Return how wide ``text`` writes these words, in pixels."""
    return math.ceil(sum(_font(name, size).getlength(letters) for name, letters in runs(words)))


@cache
def _font(name: str, size: float) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(font_path(name), size)


def _blend(picture: Picture, alpha: NDArray[np.float32], left: int, top: int, color: Color) -> None:
    """Lay ``color`` over the picture with this opacity; what falls outside is cut off."""
    height, width = picture.shape[:2]
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(height, top + alpha.shape[0]), min(width, left + alpha.shape[1])
    if y0 >= y1 or x0 >= x1:
        return
    part = alpha[y0 - top : y1 - top, x0 - left : x1 - left, None]
    under = picture[y0:y1, x0:x1]
    picture[y0:y1, x0:x1] = np.rint(under * (1 - part) + np.asarray(color, np.float32) * part).astype(np.uint8)


def fill_outline(picture: Picture, mask: NDArray[np.bool_], color: Color) -> None:
    """Tint a mask (rows, columns; scaled to the picture's size) and draw its outline."""
    import cv2

    height, width = picture.shape[:2]
    soft = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    inside = (soft >= 0.5).astype(np.uint8)
    _blend(picture, inside.astype(np.float32) * np.float32(FILL), 0, 0, color)
    outlines, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, color, 2, cv2.LINE_AA)


def point(picture: Picture, at: tuple[float, float], positive: bool, *, here: bool = True) -> None:
    """Mark a click: green with a plus or red with a minus; hollow and small when it lies on another slice."""
    import cv2

    color = POSITIVE if positive else NEGATIVE
    if not here:
        cv2.circle(picture, _fixed(at), 5 << SHIFT, SHADOW, 3, cv2.LINE_AA, SHIFT)
        cv2.circle(picture, _fixed(at), 5 << SHIFT, color, 1, cv2.LINE_AA, SHIFT)
        return
    cv2.circle(picture, _fixed(at), 10 << SHIFT, SHADOW, -1, cv2.LINE_AA, SHIFT)
    cv2.circle(picture, _fixed(at), int(8.5 * (1 << SHIFT)), color, -1, cv2.LINE_AA, SHIFT)
    x, y = at
    arms = [((x - 4, y), (x + 4, y)), ((x, y - 4), (x, y + 4))]
    for a, b in arms if positive else arms[:1]:
        cv2.line(picture, _fixed(a), _fixed(b), SHADOW, 2, cv2.LINE_AA, SHIFT)


def box(picture: Picture, low: tuple[float, float], high: tuple[float, float], color: Color, *, here: bool) -> None:
    """Draw a rectangle between two corners; dashed and without a shadow when it lies on another slice."""
    import cv2

    (x0, y0), (x1, y1) = low, high
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    for ink, pen in ((SHADOW, 3), (color, 1)) if here else ((color, 1),):
        for a, b in pairwise(corners):
            length = math.dist(a, b)
            count = 1 if here else max(1, round(length / (2 * DASH_PX)))
            for i in range(count):
                start, end = i / count, (i + (1.0 if here else 0.5)) / count
                c, d = (tuple(p + (q - p) * t for p, q in zip(a, b, strict=True)) for t in (start, end))
                cv2.line(picture, _fixed(c), _fixed(d), ink, pen, cv2.LINE_AA, SHIFT)


def dot(picture: Picture, at: tuple[float, float], color: Color) -> None:
    """Mark one painted voxel."""
    import cv2

    cv2.circle(picture, _fixed(at), 3 << SHIFT, color, -1, cv2.LINE_AA, SHIFT)


def closed_line(picture: Picture, corners: Sequence[tuple[float, float]], color: Color) -> None:
    """Draw a closed outline through the corners."""
    import cv2

    line = np.array([_fixed(corner) for corner in corners], np.int32)
    for ink, pen in ((SHADOW, 3), (color, 1)):
        cv2.polylines(picture, [line], True, ink, pen, cv2.LINE_AA, SHIFT)


def nice_length(longest: float) -> float:
    """Return the largest of 1, 2 or 5 times a power of ten that is not above ``longest``."""
    power = 10.0 ** math.floor(math.log10(longest))
    return float(next(step * power for step in (5, 2, 1) if step * power <= longest * (1 + 1e-9)))


def scale_bar(picture: Picture, px_per_mm: float) -> None:
    """Draw a bar of about a fifth of the picture's width at the bottom left, its length in mm above it."""
    import cv2

    height, width = picture.shape[:2]
    length_mm = nice_length(0.25 * width / px_per_mm)
    left, right, y = 16, 16 + round(length_mm * px_per_mm), height - 16
    for color, pen in ((SHADOW, 4), (INK, 2)):
        cv2.line(picture, (left, y), (right, y), color, pen)
        for x in (left, right):
            cv2.line(picture, (x, y - 4), (x, y + 4), color, pen)
    text(picture, f"{length_mm:g} mm", (left, y - 10), size=14, halo=True)


def _fixed(at: tuple[float, ...]) -> tuple[int, int]:
    return round(at[0] * (1 << SHIFT)), round(at[1] * (1 << SHIFT))
