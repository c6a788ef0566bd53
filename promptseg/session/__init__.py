"""One user's work: an image, its labels, and the log of prompts that made them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptseg.session.session import Session as Session
    from promptseg.session.verbs import SessionVerbs as SessionVerbs
    from promptseg.session.verbs import SliceReview as SliceReview

_HOME = {"Session": "session", "SessionVerbs": "verbs", "SliceReview": "verbs"}

__all__ = ["Session", "SessionVerbs", "SliceReview"]


def __getattr__(name: str) -> Any:
    """Import the session at first use: its parts are imported without it."""
    if name not in _HOME:
        raise AttributeError(f"module 'promptseg.session' has no attribute {name!r}")
    return getattr(import_module(f"promptseg.session.{_HOME[name]}"), name)
