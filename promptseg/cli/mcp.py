"""``promptseg mcp``: tools for agents over a running server."""

from __future__ import annotations

import os
from typing import Annotated

import typer

__all__ = ["mcp"]

KEY = "PROMPTSEG_KEY"


def mcp(url: Annotated[str, typer.Option(help="Address of the server.")] = "http://127.0.0.1:7860") -> None:
    """Offer open, segment, measure and export to agents (Model Context Protocol, standard input and output).

    The server is a running `promptseg serve`. Where it knows users, the API key comes in the variable PROMPTSEG_KEY.
    """
    from promptseg.remote.agents import run

    run(url, os.environ.get(KEY) or None)
