"""Python embedding: open a session, segment in one call, replay a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from promptseg.engine.options import EngineOptions
from promptseg.engine.progress import OnProgress
from promptseg.errors import SettingsError
from promptseg.io.sources import VolumeLike
from promptseg.models.declared import require_predictor
from promptseg.models.loading import load_predictor
from promptseg.models.predictor import Predictor
from promptseg.prompts import Prompt
from promptseg.session.keeping import OpenFolder, begin
from promptseg.session.prompt_log import PromptLog, read_log
from promptseg.session.restoring import DEFAULT_MODEL, as_stored, predictor_of, restore
from promptseg.session.session import Session
from promptseg.volume import Labelmap, Volume, Window, parse_window
from promptseg.volume.intensity import choose_window

__all__ = ["open_session", "replay", "resume", "segment"]

LOGGER = logging.getLogger(__name__)


def open_session(
    volume: VolumeLike,
    model: str | Predictor = DEFAULT_MODEL,
    device: str = "auto",
    *,
    modality: str | None = None,
    window: Window | str | None = None,
    options: EngineOptions | None = None,
    folder: str | Path | None = None,
) -> Session:
    """Open one person's work on one volume.

    Args:
        volume: a ``Volume``, or anything that ``promptseg.read_volume`` reads.
        model: id of a promptable model (``promptseg models list``), or an object of your own with the two verbs of
            ``promptseg.models.predictor.Predictor``.
        device: "auto", "cpu", "cuda" or "cuda:N".
        modality: DICOM modality ("CT", "MR", ...) of an image that does not say its own; decides on the window.
        window: replaces the volume's own intensity window: a ``Window``, a CT preset ("lung") or "LEVEL,WIDTH".
        options: the engine's numbers.
        folder: keep a journal there: a killed process loses nothing, ``promptseg.resume(folder)`` goes on. The image
            must then be given as a path.

    Raises:
        ReadError: the image cannot be read.
        UnknownModelError: no such model.
        DeviceError: the device is not there.
        SettingsError: a modality, window or options of another type, or an unknown preset.
        WriteError: the folder cannot be written, or holds a session already.
    """
    if folder is not None and not isinstance(volume, str | Path):
        raise SettingsError(
            "expected the image as a path when a folder for the journal is given, got a value in memory"
        )
    _require_types(modality, window, options)
    started = time.perf_counter()
    chosen = parse_window(window) if isinstance(window, str) else window
    predictor = load_predictor(model, device) if isinstance(model, str) else require_predictor(model)
    how = getattr(predictor, "described", predictor.model_id)
    LOGGER.debug("model %s: %s, ready in %.2f s", predictor.model_id, how, time.perf_counter() - started)
    image = _as_volume(volume, modality, chosen)
    session = Session(image, predictor, options)
    if folder is not None:
        begin(session, Path(folder), str(image.sources[0].resolve()))
    return session


def resume(
    folder: str | Path,
    device: str = "auto",
    *,
    changed: Literal["refuse", "again", "stored"] = "refuse",
    on_progress: OnProgress | None = None,
) -> Session:
    """Bring back a session that was opened with ``folder=``: labels, masks, and what undo and redo would do.

    What the disk has damaged is cut off and kept beside the journal; ``session.findings`` says so. ``session.close()``
    lets others go on with the folder.

    Args:
        folder: the session's.
        device: see ``open_session``.
        changed: what happens where the image, the weights or the masks are not those of then. "refuse": an error that
            says so; "again": what the prompts give now counts; "stored": the labels as they were stored, without what
            led to them. With the latter two the folder gets a new journal and keeps the old one.
        on_progress: called after every slice that is worked out again.

    Raises:
        ChangedError: with "refuse": something differs; ``choices`` says what can be done.
        ReplayError: no journal there; with "stored": no labels are stored there.
        ReadError: the image cannot be read any more.
        WriteError: the session is open already, here or in another process.
    """
    opened = OpenFolder.open(Path(folder))
    try:
        volume, predictor = _as_volume(opened.source), predictor_of(opened, device)
        if changed == "stored":
            return as_stored(volume, opened, predictor)
        return restore(volume, opened, predictor, strict=changed == "refuse", on_progress=on_progress)
    except BaseException:
        opened.close()
        raise


def segment(
    volume: VolumeLike,
    prompts: Sequence[Prompt] | str | Path,
    model: str | Predictor | None = None,
    device: str = "auto",
    *,
    on_progress: OnProgress | None = None,
) -> Labelmap:
    """Segment in one call.

    Args:
        volume: a ``Volume``, or anything that ``promptseg.read_volume`` reads.
        prompts: prompts for one label, applied as one step; or the path of a prompt log (any number of labels), which
            must be of this image.
        model: as in ``open_session``; default: the log's, else "builtin".
        device: see ``open_session``.
        on_progress: called after every slice.

    Returns:
        The labels on the volume's grid.
    """
    if isinstance(prompts, str | Path):
        log = read_log(Path(prompts))
        predictor = _model_of(log, model, device)
        return restore(_as_volume(volume), log, predictor, on_progress=on_progress).labelmap
    session = open_session(volume, model or DEFAULT_MODEL, device)
    session.add(*prompts, on_progress=on_progress)
    return session.labelmap


def replay(
    volume: VolumeLike,
    log: str | Path | PromptLog,
    *,
    model: str | Predictor | None = None,
    device: str = "cpu",
    strict: bool = True,
    on_progress: OnProgress | None = None,
) -> Labelmap:
    """Make the masks of a prompt log again: the same model, window, engine numbers and prompts on the same image.

    On the CPU the result equals the logged one bit for bit.

    Args:
        volume: the image that the log was made on.
        log: a log or its path.
        model: the log's own where none is given. One of your own that no package declares must be given.
        device: see ``open_session``.
        strict: True: another image, other weights, or voxels that differ from the logged digests are an error; False:
            they are noted in the program's log and the result returned.
        on_progress: called after every slice.

    Raises:
        ChangedError: with ``strict``: image, weights or voxels differ from the log's.
    """
    content = log if isinstance(log, PromptLog) else read_log(Path(log))
    predictor = _model_of(content, model, device)
    return restore(_as_volume(volume), content, predictor, strict=strict, on_progress=on_progress).labelmap


def _model_of(log: PromptLog, model: str | Predictor | None, device: str) -> Predictor:
    if model is None:
        return predictor_of(log, device)
    return load_predictor(model, device) if isinstance(model, str) else require_predictor(model)


def _require_types(modality: object, window: object, options: object) -> None:
    for name, given, kinds, expected in (
        ("modality", modality, str, 'text ("CT", "MR", ...)'),
        ("window", window, Window | str, 'a promptseg.Window, a preset ("lung") or "LEVEL,WIDTH"'),
        ("options", options, EngineOptions, "promptseg.EngineOptions"),
    ):
        if given is not None and not isinstance(given, kinds):
            raise SettingsError(f"expected {name} as {expected}, got {type(given).__name__}")


def _as_volume(volume: VolumeLike, modality: str | None = None, window: Window | None = None) -> Volume:
    from promptseg.io import read_volume

    image = read_volume(volume)
    if modality is not None and modality != image.modality:
        image = replace(image, modality=modality, window=choose_window(image.array, modality=modality))
    return image if window is None else replace(image, window=window)
