"""A served session's engine: made with its journal, or brought back from it.

As ``promptseg.open_session(folder=)`` and ``promptseg.resume``, for an image that is in memory already and may be
shared by several sessions.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from promptseg.engine.options import EngineOptions
from promptseg.engine.progress import OnProgress
from promptseg.errors import ReplayError
from promptseg.models.loading import load_predictor
from promptseg.session.journal import Journal
from promptseg.session.keeping import Guard, begin, bring_back
from promptseg.session.session import Session
from promptseg.volume import Volume, Window

__all__ = ["new_session", "resume_session"]


def new_session(volume: Volume, model: str, device: str, folder: Path, guard: Guard, embedding_bytes: int) -> Session:
    """Make a session and its journal.

    Args:
        volume: the image.
        model: id.
        device: see ``choose_device``.
        folder: of the journal; must not hold one.
        guard: wraps the journal's ``append``; may refuse to write.
        embedding_bytes: what the model may keep of the slices that it has seen.
    """
    session = Session(volume, load_predictor(model, device), cache_bytes=embedding_bytes)
    begin(session, folder, {"source": "study"}, guard=guard, alone=False)  # the store says where the image lies
    return session


def resume_session(
    volume: Volume,
    device: str,
    folder: Path,
    guard: Guard,
    embedding_bytes: int,
    on_progress: OnProgress | None = None,
) -> Session:
    """Bring a session back: labels, masks, and what undo and redo would do.

    Raises:
        ReplayError: no journal there, or the image has changed since.
    """
    journal, content = Journal.go_on(folder, alone=False)
    header = content.header
    try:
        window, options = Window(**header["window"]), EngineOptions(**header["engine"])
        model, image = str(header["model"]), header["image"]
    except (KeyError, TypeError) as exc:
        raise ReplayError(f"the session's journal lacks a field or holds a wrong value: {exc}") from exc
    if image != volume.content_hash:
        raise ReplayError("the image has changed since the session was made; open a new session on it")
    if window != volume.window:
        volume = replace(volume, window=window)
    session = Session(volume, load_predictor(model, device), options, cache_bytes=embedding_bytes)
    bring_back(session, folder, (journal, content), guard=guard, on_progress=on_progress)
    return session
