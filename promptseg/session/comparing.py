"""What was done, done again, and held against what is written of it: the image, the weights, every entry's voxels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from promptseg.engine.progress import OnProgress
from promptseg.errors import ChangedError
from promptseg.session.prompt_log import PromptLog
from promptseg.session.replaying import perform
from promptseg.session.session import Session
from promptseg.volume import Volume

__all__ = ["ANEW", "EVERY_WAY", "repeat", "require_image", "require_unchanged"]

LOGGER = logging.getLogger(__name__)
EVERY_WAY = ("stored", "again", "new")  # what can be done about a difference; see ``ChangedError``
ANEW = ("again", "new")  # where no labels are stored
WAYS = {
    "stored": "open the labels as they were stored",
    "again": "take what the prompts give now",
    "new": "begin anew on this image",
}


def require_image(volume: Volume, log: PromptLog, *, strict: bool = True) -> bool:
    """Compare an image with the one that a log was made on; return True where it is the same, or none is named.

    Raises:
        ChangedError: with ``strict``: it is another one.
    """
    if log.image_sha256 in (None, volume.content_hash):
        return True
    return _differs("the image has changed: the prompts were made on another image", strict, ("new",))


def require_unchanged(
    session: Session, log: PromptLog, *, strict: bool = True, choices: tuple[str, ...] = ANEW
) -> bool:
    """Compare image and weights of a session with what a log says of them; return True where they are the same.

    Args:
        session: that is to be like the logged one.
        log: only its header counts.
        strict: a difference is an error; else it goes into the program's log.
        choices: what can be done about other weights.

    Raises:
        ChangedError: with ``strict``: they differ.
    """
    if not require_image(session.volume, log, strict=strict):
        return False
    if log.weights not in ("", session.weights_hash):
        return _differs(f"the masks were made with other weights of the model {session.model_id!r}", strict, choices)
    return True


def repeat(
    session: Session,
    entries: Iterable[Mapping[str, Any]],
    *,
    strict: bool = True,
    choices: tuple[str, ...] = ANEW,
    on_progress: OnProgress | None = None,
) -> bool:
    """Perform entries, and compare the voxels that each gives with what it says; return True where they are the same.

    Raises:
        ChangedError: with ``strict``: they differ; the session is then where it came to.
        PromptsegError: an entry does not fit the session.
    """
    same = True
    for number, entry in enumerate(entries, start=1):
        before = session.step_count
        perform(session, entry, on_progress)
        made = session.log[-1] if session.step_count > before else {}
        if same and "time" in entry and _result(entry) != _result(made):  # without a time: written by hand
            what = f"entry {number} of the log ({entry['op']}) gives other voxels than it did"
            same = _differs(what, strict, choices)  # what follows differs for the same reason
    return same


def _result(entry: Mapping[str, Any]) -> list[Any]:
    return [entry.get("changed"), entry.get("digest")]


def _differs(what: str, strict: bool, choices: tuple[str, ...]) -> bool:
    if strict:
        raise ChangedError(f"{what}; {', or '.join(WAYS[choice] for choice in choices)}", choices=choices)
    LOGGER.warning("%s", what)
    return False
