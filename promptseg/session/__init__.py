"""One user's work: an image, its labels, and the log of prompts that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptseg.session.session import Session as Session
    from promptseg.session.session import SliceReview as SliceReview

__all__ = ["Session", "SliceReview"]


def __getattr__(name: str) -> Any:
    """Import the session at first use: its parts are imported without it."""
    if name not in __all__:
        raise AttributeError(f"module 'promptseg.session' has no attribute {name!r}")
    from promptseg.session import session

    return getattr(session, name)
