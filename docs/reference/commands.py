"""MkDocs' hook that writes the command line's reference into its page, from the program itself."""

from __future__ import annotations

from typing import Any

from typer.cli import get_docs_for_click
from typer.main import get_command
from typer.models import Context

PLACE = "<!-- commands -->"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return a page's text with every command in it."""
    if PLACE not in markdown:
        return markdown
    from promptseg.cli.main import app

    program = get_command(app)
    text = get_docs_for_click(obj=program, ctx=Context(program, info_name="promptseg"), name="promptseg")
    return markdown.replace(PLACE, text.replace("# `promptseg`", "", 1))
