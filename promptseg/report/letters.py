"""Which letters pictures and PDFs can write, and with which of the two fonts that are shipped (fonts/LICENSES.txt).

DejaVu Sans has the European, Greek and Cyrillic letters and signs, Droid Sans Fallback the Chinese, Japanese and Korean
ones.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import groupby
from pathlib import Path

__all__ = ["FONTS", "font_path", "runs"]

FONTS = ("DejaVuSans", "DroidSansFallback")  # a letter is taken from the first that has it


def font_path(font: str) -> Path:
    """Return the file of one of ``FONTS``."""
    return Path(__file__).parent / "fonts" / f"{font}.ttf"


def runs(words: str) -> list[tuple[str, str]]:
    """Return a text as (font, letters) from left to right.

    A letter that no font has is written as its base letter, or else as a question mark.
    """
    placed = [_placed(letter) for letter in unicodedata.normalize("NFC", words)]
    return [(font, "".join(letter for _, letter in group)) for font, group in groupby(placed, key=lambda pair: pair[0])]


def _placed(letter: str) -> tuple[str, str]:
    for near in (letter, unicodedata.normalize("NFKD", letter)[0], "?"):
        for font in FONTS:
            if ord(near) in _letters_of(font):
                return font, near
    raise AssertionError("a font has a question mark")  # pragma: no cover


@cache
def _letters_of(font: str) -> frozenset[int]:
    """Return the code points that a font has."""
    from reportlab.pdfbase.ttfonts import TTFontFile

    return frozenset(TTFontFile(str(font_path(font))).charToGlyph)
