"""The one way back: what was done becomes a session again, and whatever differs from then is said."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from promptseg.engine.progress import OnProgress
from promptseg.engine.slices import DEFAULT_CACHE_BYTES
from promptseg.errors import ChangedError
from promptseg.models.loading import load_predictor
from promptseg.models.predictor import Predictor
from promptseg.session.prompt_log import PromptLog
from promptseg.session.replaying import perform
from promptseg.session.session import Session
from promptseg.volume import Volume

__all__ = ["DEFAULT_MODEL", "predictor_of", "repeat", "require_unchanged", "restore"]

DEFAULT_MODEL = "builtin"  # of prompts whose log names none
LOGGER = logging.getLogger(__name__)


def predictor_of(log: PromptLog, device: str = "auto") -> Predictor:
    """Load the model that a log names.

    Raises:
        UnknownModelError, DeviceError: no such model, or the device is not there.
    """
    return load_predictor(log.model_id or DEFAULT_MODEL, device)


def restore(
    volume: Volume,
    log: PromptLog,
    predictor: Predictor,
    *,
    strict: bool = True,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
    on_progress: OnProgress | None = None,
) -> Session:
    """Make a session again from its log: labels, masks, confidences, undo.

    Image, weights and, entry by entry, the voxels are compared with what the log says of them; nothing is compared that
    it does not say. Another model than the logged one was chosen on purpose: then only the image is compared.

    Args:
        volume: the image; it is looked at through the logged window.
        log: what was done.
        predictor: the model that answers.
        strict: True: a difference is an error; False: it goes into the program's log.
        cache_bytes: see ``Session``.
        on_progress: called after every slice of every entry.

    Raises:
        ChangedError: with ``strict``: the image, the weights or an entry's voxels differ.
        PromptsegError: an entry does not fit the image.
    """
    if log.model_id not in (None, predictor.model_id):
        log = log.prompts_alone()
    if log.window is not None:
        volume = replace(volume, window=log.window)
    session = Session(volume, predictor, log.options, cache_bytes=cache_bytes)
    require_unchanged(session, log, strict=strict)
    repeat(session, log.entries, strict=strict, on_progress=on_progress)
    return session


def repeat(
    session: Session,
    entries: Iterable[Mapping[str, Any]],
    *,
    strict: bool = True,
    on_progress: OnProgress | None = None,
) -> None:
    """Perform entries, and compare the voxels that each gives with what it says of them.

    Raises:
        ChangedError: with ``strict``: they differ; the session is then where it came to.
        PromptsegError: an entry does not fit the session.
    """
    for number, entry in enumerate(entries, start=1):
        before = session.step_count
        perform(session, entry, on_progress)
        made = session.log[-1] if session.step_count > before else {}
        if "time" in entry and _result(entry) != _result(made):  # without a time: written by hand
            _differs(f"entry {number} of the log ({entry['op']}) gives other voxels than it did", strict)
            strict = False  # what follows differs for the same reason


def require_unchanged(session: Session, log: PromptLog, *, strict: bool = True) -> None:
    """Compare image and weights of a session with what a log says of them.

    Raises:
        ChangedError: with ``strict``: they differ.
    """
    if log.image_sha256 not in (None, session.volume.content_hash):
        _differs("the prompts were made on another image (its voxels or geometry differ)", strict, ("new",))
    if log.weights not in ("", session.weights_hash):
        _differs(f"the masks were made with other weights of the model {session.model_id!r}", strict)


def _result(entry: Mapping[str, Any]) -> list[Any]:
    return [entry.get("changed"), entry.get("digest")]


def _differs(what: str, strict: bool, choices: tuple[str, ...] = ("stored", "again", "new")) -> None:
    if strict:
        raise ChangedError(f"{what}; {_WAYS[choices[0]]}", choices=choices)
    LOGGER.warning("%s", what)


_WAYS = {
    "stored": "open the labels as they were stored, or take what the prompts give now (strict=False), or begin anew",
    "new": "begin anew on this image, or take what the prompts give here (strict=False)",
}
