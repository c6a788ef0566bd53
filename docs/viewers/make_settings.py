"""Draw the settings of each viewer's page again: ``python docs/viewers/make_settings.py``.

The drawings show which field takes what, in the order of the page's steps. They are no pictures of the programs: the
programs look different from version to version, the words of their fields do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

WIDTH, ROW, TOP, FOOT = 720, 52, 74, 46
BACK, CARD, FIELD, LINE = "#10151c", "#161d26", "#1f2833", "#5b6b7c"
TEXT, SOFT, MARK = "#e8edf2", "#a9b6c3", "#2f6fdd"
NOTE = "A drawing of the settings, not a picture of the program."


@dataclass(frozen=True)
class Settings:
    """One viewer's settings: where they are, and (field, what to enter, remark) from top to bottom."""

    name: str
    title: str
    fields: tuple[tuple[str, str, str], ...]
    button: str = ""


PAGES = (
    Settings(
        "slicer-nninteractive",
        "3D Slicer  ›  nnInteractive  ›  Configuration",
        (
            ("Server address", "http://127.0.0.1:7860", "where promptseg serves"),
            ("API key", "ps_…", "only with --auth"),
        ),
        "Test connection",
    ),
    Settings(
        "slicer-monailabel",
        "3D Slicer  ›  MONAI Label",
        (
            ("MONAI Label server", "http://127.0.0.1:7860", "name and key only with --auth"),
            ("Source volume", "your volume", ""),
            ("SmartEdit: segment", "structure", "then place points"),
        ),
    ),
    Settings(
        "napari",
        "napari  ›  nnInteractive",
        (
            ("Remote server", "http://127.0.0.1:7860", "the remote one, not the local"),
            ("API key", "ps_…", "only with --auth"),
            ("Image layer", "your image", "axes z, y, x"),
        ),
        "Initialize",
    ),
    Settings(
        "itk-snap",
        "ITK-SNAP  ›  Preferences  ›  AI Extensions  ›  New",
        (
            ("Kind", "Remote", ""),
            ("Host", "127.0.0.1", "no http://, no path"),
            ("Port", "8911", "promptseg serve --port 8911"),
        ),
    ),
    Settings(
        "ohif",
        "OHIF  ›  MONAI Label panel",
        (
            ("Server", "http://127.0.0.1:7860/", "with the slash at the end"),
            ("SmartEdit: model", "promptseg_click", "then place points"),
        ),
        "Connect",
    ),
)


def drawn(settings: Settings) -> str:
    """Return the SVG of one viewer's settings."""
    rows = len(settings.fields) + bool(settings.button)
    height = TOP + rows * ROW + FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif" font-size="15" role="img">',
        f"<title>{escape(settings.title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="10" fill="{BACK}"/>',
        f'<rect x="16" y="16" width="{WIDTH - 32}" height="{height - FOOT - 16}" rx="8" fill="{CARD}"/>',
        _text(36, 48, settings.title, TEXT, 'font-weight="600" font-size="16"'),
    ]
    for number, (label, value, remark) in enumerate(settings.fields, start=1):
        y = TOP + (number - 1) * ROW
        parts += [
            _number(46, y + 18, number),
            _text(68, y + 23, label, TEXT),
            f'<rect x="240" y="{y}" width="230" height="36" rx="6" fill="{FIELD}" stroke="{LINE}"/>',
            _text(254, y + 23, value, TEXT, 'font-family="ui-monospace, monospace" font-size="14"'),
            _text(486, y + 23, remark, SOFT, 'font-size="13"'),
        ]
    if settings.button:
        y = TOP + len(settings.fields) * ROW
        width = 28 + 9 * len(settings.button)
        parts += [
            _number(46, y + 18, len(settings.fields) + 1),
            f'<rect x="240" y="{y}" width="{width}" height="36" rx="6" fill="{MARK}"/>',
            _text(240 + width / 2, y + 23, settings.button, "#ffffff", 'text-anchor="middle"'),
        ]
    parts += [_text(20, height - 15, NOTE, SOFT, 'font-size="12"'), "</svg>"]
    return "\n".join(parts) + "\n"


def _text(x: float, y: float, text: str, colour: str, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{colour}" {more}>{escape(text)}</text>' if text else ""


def _number(x: float, y: float, number: int) -> str:
    circle = f'<circle cx="{x:g}" cy="{y:g}" r="11" fill="none" stroke="{MARK}" stroke-width="2"/>'
    return circle + _text(x, y + 5, str(number), TEXT, 'text-anchor="middle" font-size="13"')


def main() -> None:
    """Write one file per viewer beside this script."""
    for settings in PAGES:
        (Path(__file__).parent / f"{settings.name}.svg").write_text(drawn(settings), encoding="utf-8")


if __name__ == "__main__":
    main()
