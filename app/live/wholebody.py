"""Whole-body labels in served sessions: engines stay loaded for everybody, one case at a time, last answers are kept.

A run touches no session: people go on clicking meanwhile. What it found goes into the session as one step, and only
where nothing is labelled yet: what a person has made stays.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptseg.errors import PromptError
from promptseg.session.session import Session
from promptseg.volume import Labelmap, Volume
from promptseg.volume.label_voxels import Changed, bounds
from promptseg.wholebody import WholeBody
from promptseg.wholebody.modality import guess_modality
from promptseg.wholebody.names import resolve
from promptseg.wholebody.steps import StepProgress

if TYPE_CHECKING:
    from promptseg.app.live.jobs import Report

__all__ = ["OrganRun", "Organs", "land"]

KEPT = 2  # answers: one uint8 volume each
WAIT_S = 0.2  # between two looks whether a run that waits for the device was cancelled
PER_NETWORK = 1000  # parts of the progress bar for one of a task's networks
TASKS = {"CT": "total", "MR": "total_mr"}


@dataclass(frozen=True)
class OrganRun:
    """What is to be segmented, checked beforehand.

    Attributes:
        task: one of the whole-body engine's.
        fast: its 3 mm model, where it has one.
        only: the classes that become labels; all when empty.
    """

    task: str
    fast: bool
    only: tuple[str, ...] = ()


class Organs:
    """The whole-body engines of one server process.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:N".
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._engines: dict[tuple[str, bool], WholeBody] = {}
        self._answers: OrderedDict[tuple[str, str, bool], Labelmap] = OrderedDict()
        self._running = threading.Lock()  # networks and answers: one case at a time

    def whole(self, volume: Volume, task: str | None, fast: bool) -> OrganRun:
        """Return the run that labels everything that a task knows; without a task the one for the image's modality.

        Raises:
            MissingExtraError: TotalSegmentator is not installed.
            ModelError: there is no such task, or it needs a licence number.
        """
        return self._checked(task or TASKS.get(guess_modality(volume) or "CT", "total"), fast)

    def named(self, volume: Volume, text: str, fast: bool) -> OrganRun:
        """Return the run that labels the structure that a text names.

        Raises:
            PromptError: nothing, or several structures, have this name; the message lists the choices.
            MissingExtraError, ModelError: as ``whole``.
        """
        modality = guess_modality(volume)
        found = resolve(text, modality=modality if modality in TASKS else None)
        return self._checked(found.task, fast, (found.class_name,))

    def segment(self, volume: Volume, run: OrganRun, report: Report) -> Labelmap:
        """Do a run, or take its answer from the last ones.

        Raises:
            Cancelled: ``report`` raised it.
            ModelError: weights are missing (the message says how to get them), or the volume cannot be segmented.
        """
        while not self._running.acquire(timeout=WAIT_S):
            report(0, 0, 0.0)
        try:
            key = (volume.content_hash, run.task, run.fast)
            if key not in self._answers:
                report(0, 0, 0.0)
                engine = self._engine(run)
                self._answers[key] = engine.segment(volume, on_progress=_told(engine, report))
            self._answers.move_to_end(key)
            while len(self._answers) > KEPT:
                self._answers.popitem(last=False)
            return self._answers[key]
        finally:
            self._running.release()

    def _checked(self, task: str, fast: bool, only: tuple[str, ...] = ()) -> OrganRun:
        from promptseg.wholebody.totalseg import all_tasks

        known = all_tasks().get(task)
        run = OrganRun(task, fast and (known is None or known.has_fast), only)
        self._engine(run)  # refuses what does not exist
        return run

    def _engine(self, run: OrganRun) -> WholeBody:
        key = (run.task, run.fast)
        if key not in self._engines:
            self._engines[key] = WholeBody(run.task, fast=run.fast, device=self._device)
        return self._engines[key]


def _told(engine: WholeBody, report: Report) -> Callable[[StepProgress], None]:
    """Return what turns tiles of one network after the other into one bar."""
    began, before, last = time.monotonic(), 0, 0

    def told(step: StepProgress) -> None:
        nonlocal before, last
        if step.done < last:
            before += PER_NETWORK
        last = step.done
        total = max(len(engine.models) * PER_NETWORK, before + PER_NETWORK)
        done = before + PER_NETWORK * step.done // max(step.total, 1)
        report(done, total, (time.monotonic() - began) / max(done, 1) * (total - done))

    return told


def land(session: Session, found: Labelmap, only: Sequence[str] = ()) -> Changed | None:
    """Make a label of every structure that was found, where the session has no label yet; return the changed box.

    A structure whose name the session has already is left out.

    Raises:
        PromptError: nothing of it is in the image, or free.
    """
    known = {label.name for label in session.labels.values()}
    wanted = [label for label in found.labels.values() if label.name not in known and (not only or label.name in only)]
    if not wanted:
        raise PromptError(f"the session has {' and '.join(only) or 'all of these labels'} already; delete it first")
    keep = np.zeros(256, np.uint8)
    keep[[label.value for label in wanted]] = [label.value for label in wanted]
    whole: Changed = ((0, 0, 0), session.volume.shape)
    array = np.where(session.labels_in(whole) == 0, keep[found.array], np.uint8(0))
    box = bounds(array != 0)
    if box is None:
        raise PromptError(f"{' and '.join(only) or 'nothing new'} was not found in this image; click on it instead")
    session.import_labels(Labelmap(array, found.geometry, {label.value: label for label in wanted}))
    return box
