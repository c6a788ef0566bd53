"""The one way back: a prompt log or a session's folder becomes a session again, and whatever differs is said."""

from __future__ import annotations

import logging
from dataclasses import replace

from promptseg.engine.progress import OnProgress
from promptseg.engine.slices import DEFAULT_CACHE_BYTES
from promptseg.errors import ReplayError
from promptseg.models.loading import load_predictor
from promptseg.models.predictor import Predictor
from promptseg.session.comparing import repeat, require_unchanged
from promptseg.session.keeping import OpenFolder, bring_back, keep_anew
from promptseg.session.prompt_log import PromptLog
from promptseg.session.session import Session
from promptseg.volume import Volume

__all__ = ["DEFAULT_MODEL", "as_stored", "predictor_of", "restore"]

LOGGER = logging.getLogger(__name__)
DEFAULT_MODEL = "builtin"  # of prompts whose log names none


def predictor_of(past: PromptLog | OpenFolder, device: str = "auto") -> Predictor:
    """Load the model that a log or a session's folder names.

    Raises:
        UnknownModelError, DeviceError: no such model, or the device is not there.
    """
    log = past.log if isinstance(past, OpenFolder) else past
    return load_predictor(log.model_id or DEFAULT_MODEL, device)


def restore(
    volume: Volume,
    past: PromptLog | OpenFolder,
    predictor: Predictor,
    *,
    strict: bool = True,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
    on_progress: OnProgress | None = None,
) -> Session:
    """Make a session again: labels, masks, confidences, undo; from its folder also redo, and it is kept there further.

    Image, weights and, entry by entry, the voxels are compared with what is written of them; nothing is compared that
    is not written. Another model than the logged one was chosen on purpose: then only the image is compared.

    Args:
        volume: the image; it is looked at through the logged window.
        past: what was done.
        predictor: the model that answers.
        strict: True: a difference is an error; False: it goes into the program's log, and what the prompts give now
            counts. A folder then gets a new journal; the old one is kept beside it.
        cache_bytes: see ``Session``.
        on_progress: called after every slice of every entry that is worked out again.

    Raises:
        ChangedError: with ``strict``: the image, the weights or an entry's voxels differ.
        PromptsegError: an entry does not fit the image.
    """
    log = past.log if isinstance(past, OpenFolder) else past
    how = getattr(predictor, "described", predictor.model_id)
    LOGGER.debug("model %s: %s answers %d entries", predictor.model_id, how, len(log.entries))
    if log.model_id not in (None, predictor.model_id):
        log = log.prompts_alone()
    session = _fresh(volume, log, predictor, cache_bytes)
    if not isinstance(past, OpenFolder):
        require_unchanged(session, log, strict=strict)
        repeat(session, log.entries, strict=strict, on_progress=on_progress)
    elif require_unchanged(session, log, strict=strict, choices=past.choices):
        if not bring_back(session, past, strict=strict, on_progress=on_progress):
            keep_anew(session, past)
    else:
        past.work_out(session, on_progress)
        keep_anew(session, past)
    return session


def as_stored(
    volume: Volume, past: OpenFolder, predictor: Predictor, *, cache_bytes: int = DEFAULT_CACHE_BYTES
) -> Session:
    """Open the labels of a session's folder as they were stored, without asking the model anything.

    They are one entry, behind which undo cannot go; prompts go on from them with the present weights. The folder gets
    a new journal; the old one is kept beside it. Steps that were taken after the labels were stored are not there;
    ``session.findings`` says so.

    Raises:
        ReplayError: no labels are stored there. GeometryMismatchError: they lie on another grid than the image.
    """
    stored = past.stored()
    if stored is None:
        raise ReplayError(f"no labels are stored in {past.folder}; take what the prompts give now, or begin anew")
    session, old = (_fresh(volume, past.log, predictor, cache_bytes) for _ in range(2))
    old.go_on_from(stored)
    old.geometry.require_same(volume.geometry, "the image and the stored labels")
    session.import_labels(old.labelmap)
    for value, label in old.labels.items():
        if label.name not in {known.name for known in session.labels.values()}:  # it has no voxel
            session.new_label(label.name)
            session.recolour(label.name, label.color)
        if value in old.locked:
            session.lock(label.name)
    missed = past.missed
    autosave = keep_anew(session, past)
    if missed:
        autosave.findings = (
            f"the last {missed} step(s) were taken after the labels had been stored: they are not here",
        )
    return session


def _fresh(volume: Volume, log: PromptLog, predictor: Predictor, cache_bytes: int) -> Session:
    if log.window is not None and log.window != volume.window:
        volume = replace(volume, window=log.window)
    return Session(volume, predictor, log.options, cache_bytes=cache_bytes)
