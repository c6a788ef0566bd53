"""The browser page: plain modules under ``static/`` around NiiVue, one file that is fetched at build time."""

from __future__ import annotations

from pathlib import Path

__all__ = ["STATIC", "library_path"]

STATIC = Path(__file__).resolve().parent / "static"


def library_path() -> Path:
    """Return where the built NiiVue lies; ``python -m promptseg.app.viewer.build`` puts it there."""
    return STATIC / "vendor" / "niivue.js"
