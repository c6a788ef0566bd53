"""HTML pages from Jinja2 templates that lie beside the module that fills them. Every value is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ["fill", "stream"]


def fill(template: Path, **values: Any) -> str:
    """Return a template (``NAME.html.jinja``) with these values; a name that it lacks is an error."""
    return _environment(template.parent).get_template(template.name).render(values)


def stream(template: Path, **values: Any) -> Iterator[str]:
    """Return the same in pieces, for a page of many rows: iterators among the values are read as it goes."""
    yield from _environment(template.parent).get_template(template.name).generate(values)


@cache
def _environment(folder: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
