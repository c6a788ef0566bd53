"""One case on its way through TotalSegmentator, and the rehearsal that tells what a task will call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from promptseg.errors import ModelError
from promptseg.wholebody.steps import Clock, OnStep, Paused
from promptseg.wholebody.task import Model

if TYPE_CHECKING:
    from promptseg.wholebody.networks import Answering, Networks

__all__ = ["CaseRun", "Rehearsal"]

MADE_UP = 200  # classes of a rehearsal's answers; more than any task has


@dataclass
class CaseRun:
    """One case on its way through TotalSegmentator.

    Its expensive calls (resampling, networks) are numbered. What is on the tape is not computed again; call number
    ``stop`` raises ``Paused`` when it is not on the tape.
    """

    networks: Networks | None
    clock: Clock = field(default_factory=Clock)
    tape: list[Any] = field(default_factory=list)
    stop: int | None = None
    on_step: OnStep | None = None
    _next: int = 0

    def resample(self, compute: Callable[[], Any]) -> Any:
        """Answer TotalSegmentator's call for another voxel size."""
        return self._answer(compute)

    def network(self, model: Model, source: Path, target: Path, answering: Answering) -> None:
        """Answer its call of nnU-Net: result files appear in ``target``."""

        def compute() -> dict[str, bytes]:
            if self.networks is None:
                raise ModelError("expected loaded networks for this step, got none; call load() first")
            before = set(target.glob("*.nii.gz"))
            predictor = self.networks.predictor(model)
            self.networks.predict(predictor, source, target, self.clock, self.on_step, answering)
            return {path.name: path.read_bytes() for path in set(target.glob("*.nii.gz")) - before}

        for name, content in self._answer(compute).items():
            (target / name).write_bytes(content)
        self.clock.start("resample")

    def _answer(self, compute: Callable[[], Any]) -> Any:
        number, self._next = self._next, self._next + 1
        if number < len(self.tape):
            return self.tape[number]
        if self.stop is not None and number >= self.stop:
            raise Paused
        result = compute()
        if self.stop is not None:
            self.tape.append(result)
        return result


@dataclass
class Rehearsal:
    """Notes what a task would call, on an image of a few voxels, with made-up answers.

    Attributes:
        apart: no two voxels of a made-up answer touch; else it fills the image with all classes.
        models: the network of every run, in order.
        calls: "resample" or "network", in order.
    """

    apart: bool = False
    models: list[Model] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def resample(self, compute: Callable[[], Any]) -> Any:
        """Note it and do it."""
        self.calls.append("resample")
        return compute()

    def network(self, model: Model, source: Path, target: Path, answering: Answering) -> None:
        """Note it; the answer holds all classes, so that no crop comes out empty."""
        import nibabel

        self.calls.append("network")
        self.models.append(model)
        for path in source.glob("*_0000.nii.gz"):
            image = nibabel.load(path)
            labels = np.zeros(image.shape, np.uint8)
            answered = labels[::2, ::2, ::2] if self.apart else labels
            answered[...] = (np.arange(answered.size) % MADE_UP).reshape(answered.shape)
            nibabel.save(nibabel.Nifti1Image(labels, image.affine), target / path.name.replace("_0000", ""))
