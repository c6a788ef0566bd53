"""Structures asked for by their names: looked up once, segmented once, and landed in a session by one rule.

The rule: what is labelled already stays as it is. A structure becomes a new label where nothing is labelled yet, and
one whose name the session has is left out. The log entry holds the voxels, so a replay needs neither TotalSegmentator
nor its weights.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.progress import OnProgress, Progress
from promptseg.errors import PromptError
from promptseg.session.session import Session
from promptseg.session.verbs import SessionVerbs
from promptseg.volume import Labelmap, Volume
from promptseg.wholebody import OnStep, StepProgress, WholeBody
from promptseg.wholebody.modality import guess_modality
from promptseg.wholebody.names import Anatomy, resolve

__all__ = ["Structures", "StructuresByText", "Wanted", "anatomy_of", "land"]

KEPT = 2  # answers: one uint8 volume each
TASKS = {"CT": "total", "MR": "total_mr"}


@dataclass(frozen=True)
class Wanted:
    """What is to be segmented, checked beforehand.

    Attributes:
        task: one of the whole-body engine's.
        fast: its 3 mm model, where it has one.
        fastest: its 6 mm model, where it has one.
        only: the classes that become labels; all when empty.
    """

    task: str
    fast: bool = False
    fastest: bool = False
    only: tuple[str, ...] = ()


def anatomy_of(text: str, volume: Volume | None, task: str | None = None) -> Anatomy:
    """Return the task and class that a text means for an image.

    Args:
        text: a structure's name, English or Chinese.
        volume: its modality says which tasks come into question; None: all do.
        task: look only in this one.

    Raises:
        UnknownNameError: nothing, or several structures, have this name; ``choices`` has those that may be meant.
        MissingExtraError: TotalSegmentator is not installed.
    """
    modality = None if volume is None else guess_modality(volume)
    return resolve(text, task=task, modality=modality if modality in TASKS else None)


def land(session: SessionVerbs, found: Labelmap, only: Sequence[str] = (), *, missing_ok: bool = False) -> list[int]:
    """Make a label of every structure that was found, where the session has no label yet; return the new values.

    One step, and the last new label is selected.

    Args:
        session: where they go.
        found: on the session's grid.
        only: names of those to take; all when empty.
        missing_ok: nothing to land is no error.

    Raises:
        PromptError: nothing of it is new, in the image, and free.
    """
    known = {label.name for label in session.labels.values()}
    wanted = [label for label in found.labels.values() if label.name not in known and (not only or label.name in only)]
    keep = np.zeros(max(found.labels, default=0) + 1, found.array.dtype)
    keep[[label.value for label in wanted]] = [label.value for label in wanted]
    array = np.where(session.labelmap.array == 0, keep[found.array], keep[0])
    if array.any():
        return list(session.import_labels(Labelmap(array, found.geometry, {label.value: label for label in wanted})))
    if missing_ok:
        return []
    if not wanted:
        raise PromptError(f"the session has {' and '.join(only) or 'all of these labels'} already; delete it first")
    raise PromptError(f"{' and '.join(only) or 'nothing new'} was not found in this image; click on it instead")


class Structures:
    """The whole-body engines of one process: networks stay loaded, the last answers are kept. One case at a time.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:N".
    """

    def __init__(self, device: str = "auto") -> None:
        self._device = device
        self._engines: dict[Wanted, WholeBody] = {}
        self._answers: OrderedDict[tuple[str, Wanted], Labelmap] = OrderedDict()

    def whole(self, volume: Volume, task: str | None = None, *, fast: bool = False) -> Wanted:
        """Return what labels everything that a task knows; without a task the one for the image's modality.

        Raises:
            MissingExtraError: TotalSegmentator is not installed.
            ModelError: there is no such task, or it needs a licence number.
        """
        return self.checked(Wanted(task or TASKS.get(guess_modality(volume) or "CT", "total"), fast))

    def named(self, volume: Volume, text: str, task: str | None = None, *, fast: bool = False) -> Wanted:
        """Return what labels the structure that a text names.

        Raises:
            UnknownNameError: see ``anatomy_of``.
            MissingExtraError, ModelError: as ``whole``.
        """
        anatomy = anatomy_of(text, volume, task)
        return self.checked(Wanted(anatomy.task, fast, only=(anatomy.class_name,)))

    def checked(self, wanted: Wanted) -> Wanted:
        """Return the same without speeds that the task does not have; refuse what does not exist.

        Raises:
            MissingExtraError, ModelError: as ``whole``.
        """
        from promptseg.wholebody.totalseg import all_tasks

        known = all_tasks().get(wanted.task)
        fast = wanted.fast and (known is None or known.has_fast)
        fastest = wanted.fastest and (known is None or known.has_fastest)
        possible = Wanted(wanted.task, fast, fastest, wanted.only)
        self.engine(possible)
        return possible

    def engine(self, wanted: Wanted) -> WholeBody:
        """Return the engine for this, made once."""
        key = _all_of(wanted)
        if key not in self._engines:
            self._engines[key] = WholeBody(key.task, fast=key.fast, fastest=key.fastest, device=self._device)
        return self._engines[key]

    def has_answer(self, volume: Volume, wanted: Wanted) -> bool:
        """Return True where ``segment`` has nothing left to do."""
        return (volume.content_hash, _all_of(wanted)) in self._answers

    def segment(self, volume: Volume, wanted: Wanted, *, on_progress: OnStep | None = None) -> Labelmap:
        """Return all classes of the task, worked out or from the last answers.

        Raises:
            ModelError: weights are missing (the message says how to get them), or the volume cannot be segmented.
        """
        key = (volume.content_hash, _all_of(wanted))
        if key not in self._answers:
            self._answers[key] = self.engine(wanted).segment(volume, on_progress=on_progress)
        self._answers.move_to_end(key)
        while len(self._answers) > KEPT:
            self._answers.popitem(last=False)
        return self._answers[key]


def _all_of(wanted: Wanted) -> Wanted:
    return Wanted(wanted.task, wanted.fast, wanted.fastest)


class StructuresByText:
    """The engine behind ``TextPrompt`` that this package declares: whole-body classes by name.

    Args:
        structures: where networks and answers are kept; None: its own.
        fast: take the 3 mm model where the task has one.
        task: look only in this task.
    """

    def __init__(self, structures: Structures | None = None, *, fast: bool = True, task: str | None = None) -> None:
        self._structures, self._fast, self._task = structures or Structures(), fast, task

    def segment(self, volume: Volume, text: str, *, on_progress: OnProgress | None = None) -> NDArray[np.bool_]:
        """Return the structure's mask, bool (z, y, x), all False where it is not in the image; see ``TextEngine``.

        Raises:
            UnknownNameError: see ``anatomy_of``.
            ModelError: the task's weights are missing or it needs a licence number.
        """
        wanted, found = self._found(volume, text, on_progress)
        return found.mask(wanted.only[0])

    def add(self, session: Session, text: str, *, on_progress: OnProgress | None = None) -> int:
        """Land the structure in a session as a label of its own and select it; return its value.

        Raises:
            UnknownNameError, ModelError: as ``segment``. PromptError: as ``land``.
        """
        wanted, found = self._found(session.volume, text, on_progress)
        return land(session, found, wanted.only)[0]

    def _found(self, volume: Volume, text: str, on_progress: OnProgress | None) -> tuple[Wanted, Labelmap]:
        began = time.perf_counter()

        def told(step: StepProgress) -> None:
            if on_progress is not None:
                on_progress(Progress(step.done, step.total, time.perf_counter() - began))  # tiles, not slices

        wanted = self._structures.named(volume, text, self._task, fast=self._fast)
        return wanted, self._structures.segment(volume, wanted, on_progress=told)
