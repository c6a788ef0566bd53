"""Who asks, and what the server holds: what every route takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from promptseg.app.state import AppState

__all__ = ["Caller", "Who", "caller"]


@dataclass(frozen=True)
class Caller:
    """A request's user and the server's state."""

    user: str
    state: AppState
    request: Request


def caller(request: Request) -> Caller:
    """Return who asks; the guard has found out."""
    return Caller(request.scope["state"]["user"], request.app.state.promptseg, request)


Who = Annotated[Caller, Depends(caller)]
