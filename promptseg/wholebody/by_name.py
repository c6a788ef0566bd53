"""A structure asked for by its name: whole-body classes as labels of a session, which clicks correct.

Each is one undoable entry of the prompt log with its mask in it, so a replay needs neither TotalSegmentator nor its
weights. (``Session.import_labels`` takes a whole result, as one entry too.)
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.progress import OnProgress, Progress
from promptseg.prompts import MaskPrompt
from promptseg.session.session import Session
from promptseg.volume import Labelmap, Volume
from promptseg.wholebody import OnStep, StepProgress, WholeBody
from promptseg.wholebody.modality import guess_modality
from promptseg.wholebody.names import Anatomy, resolve

__all__ = ["OrganText", "WholeBodyText"]


@dataclass
class WholeBodyText:
    """Answers "left kidney" with a mask; networks stay loaded, and the last image's labels are kept.

    Attributes:
        fast: take the 3 mm model where the task has one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        task: look only in this task.
    """

    fast: bool = True
    device: str = "auto"
    task: str | None = None
    _engines: dict[str, WholeBody] = field(default_factory=dict)
    _found: dict[str, Labelmap] = field(default_factory=dict)
    _image: str = ""

    def find(self, volume: Volume, text: str) -> Anatomy:
        """Return the task and class that a text means for this image.

        Raises:
            PromptError: nothing, or several structures, have this name; the message lists the choices.
        """
        modality = guess_modality(volume)
        return resolve(text, task=self.task, modality=modality if modality in ("CT", "MR") else None)

    def segment(self, volume: Volume, text: str, *, on_progress: OnStep | None = None) -> NDArray[np.bool_]:
        """Return the structure's mask, bool (z, y, x); all False where it is not in the image.

        Raises:
            PromptError: as ``find``.
            ModelError: the task's weights are missing or it needs a licence number.
        """
        anatomy = self.find(volume, text)
        if volume.content_hash != self._image:
            self._found, self._image = {}, volume.content_hash
        if anatomy.task not in self._found:
            self._found[anatomy.task] = self._engine(anatomy.task).segment(volume, on_progress=on_progress)
        return self._found[anatomy.task].mask(anatomy.class_name)

    def add(self, session: Session, text: str, *, on_progress: OnStep | None = None) -> int:
        """Add the structure to a session as a label of its own and select it; return its value.

        Raises:
            PromptError: as ``find``; or the structure is not in the image, or the session has a label of this name.
            ModelError: as ``segment``.
        """
        from promptseg.errors import PromptError

        anatomy = self.find(session.volume, text)
        mask = self.segment(session.volume, text, on_progress=on_progress)
        if not mask.any():
            raise PromptError(f"{text!r} ({anatomy.class_name}) was not found in this image; click on it instead")
        value = session.new_label(anatomy.class_name)
        session.add(MaskPrompt(mask))
        return value

    def _engine(self, task: str) -> WholeBody:
        if task not in self._engines:
            from promptseg.wholebody.totalseg import all_tasks

            self._engines[task] = WholeBody(task, fast=self.fast and all_tasks()[task].has_fast, device=self.device)
        return self._engines[task]


class OrganText:
    """The engine behind ``TextPrompt`` that this package declares: whole-body classes by name."""

    def __init__(self) -> None:
        self._texts = WholeBodyText()

    def segment(self, volume: Volume, text: str, *, on_progress: OnProgress | None = None) -> NDArray[np.bool_]:
        """As ``WholeBodyText.segment``; progress counts the network's tiles."""
        began = time.perf_counter()

        def told(step: StepProgress) -> None:
            if on_progress is not None:
                on_progress(Progress(step.done, step.total, time.perf_counter() - began))

        return self._texts.segment(volume, text, on_progress=told)
