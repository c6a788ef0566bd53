"""Whole-body segmentation with networks that stay loaded: ``WholeBody`` is made once and used for many volumes.

A case goes prepare -> infer -> finish. Only ``infer`` needs the loaded networks and the device; the values between
the steps can be pickled, so a batch may keep each step in a process of its own. ``segment`` does all three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ModelError
from promptseg.volume import Geometry, Label, Labelmap, Volume
from promptseg.wholebody.options import RunOptions
from promptseg.wholebody.own_model import find_own_model
from promptseg.wholebody.steps import Clock, OnStep, Paused
from promptseg.wholebody.task import class_labels
from promptseg.wholebody.tasks import checked_task, own_task

if TYPE_CHECKING:
    from promptseg.wholebody.networks import Networks
    from promptseg.wholebody.runs import Rehearsal
    from promptseg.wholebody.task import Model

__all__ = ["Inferred", "Prepared", "WholeBody", "WholeBodyResult", "segment_whole_body"]

DEFAULT_OPTIONS = RunOptions()
REHEARSAL_SHAPE, REHEARSAL_MM = (12, 13, 14), 4.0
# What changes neither the networks nor the order of calls, and needs a real image
IDLE_IN_REHEARSAL = {
    "statistics": False,
    "force_split": False,
    "remove_small_blobs": False,
    "save_probabilities": None,
}


@dataclass
class Prepared:
    """A volume ready for the networks. Can be pickled.

    Attributes:
        volume: the image.
        tape: what was worked out so far, in TotalSegmentator's order.
        seconds: per step.
    """

    volume: Volume
    tape: list[Any] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Inferred:
    """The networks' answer, class ids on the network's grid. Can be pickled.

    Attributes:
        tape: what was worked out after ``Prepared``, in order.
        labels: (z, y, x) on the volume's grid where nothing is left to do, else None.
        statistics: as ``WholeBody.statistics`` asked, where they are known already.
        seconds: per step.
    """

    tape: list[Any] = field(default_factory=list)
    labels: NDArray[Any] | None = None
    statistics: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class WholeBodyResult:
    """What one case gave.

    Attributes:
        labelmap: the labels on the volume's grid, with every class of the task named.
        seconds: per step: preprocess, wait (for the device), infer, resample.
        statistics: class to {"volume": mm³, "intensity": mean} as TotalSegmentator reckons them; None unless asked for.
    """

    labelmap: Labelmap
    seconds: Mapping[str, float]
    statistics: Mapping[str, Any] | None = None


class WholeBody:
    """TotalSegmentator, kept warm.

    Making one costs nothing and loads nothing. Several threads may use it: one infers while others resample.
    ``asked`` has the arguments of TotalSegmentator's function.

    Args:
        task: one of TotalSegmentator's tasks.
        fast: its 3 mm model.
        fastest: its 6 mm model.
        roi_subset: only these classes (tasks "total...").
        device: "auto", "cpu", "cuda" or "cuda:N".
        statistics: also let it measure volume and mean intensity of each class.
        model_folder: a user's own trained nnU-Net instead of a task. Its checkpoints are loaded as Python objects:
            only folders that the user trusts.
        options: what else TotalSegmentator's function takes.

    Raises:
        MissingExtraError: TotalSegmentator is not installed.
        ModelError: unknown task or class, no such fast model, the task needs a licence number and none is known; or
            the folder holds no model that can be used.
    """

    def __init__(
        self,
        task: str = "total",
        *,
        fast: bool = False,
        fastest: bool = False,
        roi_subset: Sequence[str] = (),
        device: str = "auto",
        statistics: bool = False,
        model_folder: str | Path | None = None,
        options: RunOptions = DEFAULT_OPTIONS,
    ) -> None:
        self.model_folder = None if model_folder is None else find_own_model(model_folder)
        if self.model_folder is None:
            self.task = checked_task(task, fast=fast, fastest=fastest, roi_subset=roi_subset)
        else:
            self.task = own_task(
                self.model_folder, fast or fastest or bool(roi_subset) or statistics or options != DEFAULT_OPTIONS
            )
        self.roi_subset, self.options = tuple(roi_subset or ()), options
        self.requested_device = device
        self.asked: dict[str, Any] = {
            "task": task,
            "fast": fast,
            "fastest": fastest,
            "roi_subset": list(self.roi_subset) or None,
            "statistics": statistics,
            **options.arguments(),
        }

    def __getstate__(self) -> dict[str, Any]:
        """Loaded networks stay behind: the copy loads its own."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_networks", "_rehearsal")}

    @property
    def labels(self) -> dict[int, Label]:
        """The labels that a result may hold, by value."""
        return class_labels(self.task.classes, self.roi_subset)

    @property
    def made_by(self) -> str:
        """Program and task in one short text, for what is written."""
        if self.model_folder is not None:
            return f"nnU-Net {self.task.name}"
        speed = " fast" if self.asked["fast"] else " fastest" if self.asked["fastest"] else ""
        return f"TotalSegmentator {version('TotalSegmentator')} {self.task.name}{speed}"

    @cached_property
    def _rehearsal(self) -> Rehearsal:
        """The networks that the task runs, and the order of its expensive calls."""
        from promptseg.wholebody.networks import to_nifti
        from promptseg.wholebody.runs import Rehearsal
        from promptseg.wholebody.totalseg import run_case

        array = np.arange(int(np.prod(REHEARSAL_SHAPE)), dtype=np.int16).reshape(REHEARSAL_SHAPE) % 500 + 1
        volume = Volume.from_array(array, Geometry(REHEARSAL_SHAPE, (REHEARSAL_MM,) * 3))
        arguments = self.asked | IDLE_IN_REHEARSAL
        rehearsal = Rehearsal()
        try:
            run_case(rehearsal, to_nifti(volume), arguments)
        except ModelError:  # TotalSegmentator 2.18 cannot separate vertebrae that are one single piece
            rehearsal = Rehearsal(apart=True)
            run_case(rehearsal, to_nifti(volume), arguments)
        return rehearsal

    @property
    def runs(self) -> tuple[Model, ...]:
        """The network of every run, in order; one may run twice."""
        return tuple(self._rehearsal.models)

    @property
    def models(self) -> tuple[Model, ...]:
        """Every network that the task needs, also those that find its region."""
        return tuple(dict.fromkeys(self.runs))

    @cached_property
    def _networks(self) -> Networks:
        from promptseg.models.runtime import choose_placement
        from promptseg.wholebody.networks import Networks
        from promptseg.wholebody.weights import find_model

        placed = choose_placement(self.requested_device, has_checkpoint=True, exports=(), runtime="torch")
        return Networks(str(placed.device), find_model)

    @property
    def device(self) -> str:
        """The device that is really used.

        Raises:
            DeviceError: the one asked for is not there.
        """
        return self._networks.device

    def require(self) -> None:
        """Say at once what is missing in any case; costs torch only where a GPU is asked for.

        Raises:
            DeviceError: there is no such device.
            ModelError: weights are missing; the message says how to get them.
        """
        from promptseg.models.runtime import checked_device
        from promptseg.wholebody.totalseg import certain_weights
        from promptseg.wholebody.weights import require_names

        if checked_device(self.requested_device) not in ("auto", "cpu"):
            _ = self.device
        if self.model_folder is None:
            require_names(certain_weights(self.asked), self.task.name, self.asked)

    def load(self) -> None:
        """Load all networks and keep them.

        Raises:
            ModelError: weights are missing (the message says how to get them) or damaged.
            DeviceError: the device is not there.
        """
        from promptseg.wholebody.trusted import check_unchanged
        from promptseg.wholebody.weights import require_models

        if self.model_folder is not None:
            self._networks.own_predictor(self.model_folder)
            return
        if self._networks.has(self.models):
            return
        require_models(self.models, self.task.name, self.asked)
        check_unchanged(self.models)
        for model in self.models:
            self._networks.predictor(model)

    # --- one case -------------------------------------------------------------------------------------------------

    def segment(self, volume: Volume, *, on_progress: OnStep | None = None) -> Labelmap:
        """Return all classes of the task on the volume's grid.

        Args:
            volume: a grey 3D volume; CT in Hounsfield units.
            on_progress: called after every tile of a network; raise ``Cancelled`` in it to stop.

        Raises:
            ModelError: as ``load``; or the volume cannot be segmented.
        """
        return self.run(volume, on_progress=on_progress).labelmap

    def run(self, volume: Volume, *, on_progress: OnStep | None = None) -> WholeBodyResult:
        """As ``segment``, with the time that each step took and the statistics."""
        from promptseg.wholebody.networks import from_nifti, to_nifti
        from promptseg.wholebody.runs import CaseRun
        from promptseg.wholebody.totalseg import run_case

        _require_grey_volume(volume)
        self.load()
        if self.model_folder is not None:
            prepared = self.prepare(volume)
            return self.finished(prepared, self.infer(prepared, on_progress=on_progress))
        run = CaseRun(self._networks, on_step=on_progress)
        run.clock.start("preprocess")
        image, statistics = run_case(run, to_nifti(volume), self.asked)
        labels = from_nifti(image, volume)
        run.clock.start(None)
        return WholeBodyResult(self._labelmap(labels, volume), run.clock.seconds, statistics)

    def prepare(self, volume: Volume) -> Prepared:
        """Do what comes before the first network. Needs no loaded network and no device."""
        _require_grey_volume(volume)
        prepared = Prepared(volume)
        if self.model_folder is not None:  # nnU-Net's own preparation belongs to the network's plans
            return prepared
        calls = self._rehearsal.calls
        self._go(prepared.volume, prepared, None, stop=calls.index("network"))
        return prepared

    def infer(self, prepared: Prepared, *, on_progress: OnStep | None = None) -> Inferred:
        """Run the networks, and what lies between the first and the last of them."""
        self.load()
        if self.model_folder is not None:
            clock = Clock()
            labels = self._networks.segment(self.model_folder, prepared.volume, clock, on_progress)
            return Inferred(labels=labels, seconds=clock.seconds)
        calls = self._rehearsal.calls
        inferred = Inferred(tape=list(prepared.tape))  # replayed, then left behind
        stop = len(calls) - calls[::-1].index("network")
        answer = self._go(prepared.volume, inferred, self._networks, stop=stop, on_step=on_progress)
        del inferred.tape[: len(prepared.tape)]
        if answer is not None:
            inferred.labels, inferred.statistics = answer
        return inferred

    def finish(self, prepared: Prepared, inferred: Inferred) -> Labelmap:
        """Bring the networks' answer back to the volume's grid."""
        return self.finished(prepared, inferred).labelmap

    def finished(self, prepared: Prepared, inferred: Inferred) -> WholeBodyResult:
        """As ``finish``, with the time of all steps and the statistics."""
        labels, statistics = inferred.labels, inferred.statistics
        last = Inferred(tape=[*prepared.tape, *inferred.tape])
        if labels is None:
            answer = self._go(prepared.volume, last, None, stop=len(self._rehearsal.calls))
            if answer is None:
                raise ModelError("expected the steps of one case, got those of another task or version")
            labels, statistics = answer
        seconds: dict[str, float] = {}
        for part in (prepared.seconds, inferred.seconds, last.seconds):
            for step, value in part.items():
                seconds[step] = seconds.get(step, 0.0) + value
        return WholeBodyResult(self._labelmap(labels, prepared.volume), seconds, statistics)

    def _go(
        self,
        volume: Volume,
        state: Prepared | Inferred,
        networks: Networks | None,
        *,
        stop: int,
        on_step: OnStep | None = None,
    ) -> tuple[NDArray[Any], dict[str, Any] | None] | None:
        """Go on from the tape until call ``stop``; return labels and statistics when the end came before it."""
        from promptseg.wholebody.networks import from_nifti, to_nifti
        from promptseg.wholebody.runs import CaseRun
        from promptseg.wholebody.totalseg import run_case

        run = CaseRun(networks, tape=state.tape, stop=stop, on_step=on_step)
        run.clock.start("resample" if state.tape and networks is None else "preprocess")
        try:
            image, statistics = run_case(run, to_nifti(volume), self.asked)
            return from_nifti(image, volume), statistics
        except Paused:
            return None
        finally:
            run.clock.start(None)
            state.seconds = run.clock.seconds

    def _labelmap(self, labels: NDArray[Any], volume: Volume) -> Labelmap:
        return Labelmap(labels, volume.geometry, self.labels)


def segment_whole_body(
    volume: Volume | str | Path,
    task: str = "total",
    *,
    fast: bool = False,
    fastest: bool = False,
    roi_subset: Sequence[str] = (),
    device: str = "auto",
    on_progress: OnStep | None = None,
) -> Labelmap:
    """Segment organs, bones, muscles and vessels automatically with TotalSegmentator, in one call.

    For many volumes make one ``WholeBody`` and call its ``segment``: it keeps the networks loaded.

    Args:
        volume: a ``Volume``, or anything that ``promptseg.read_volume`` reads.
        task: one of TotalSegmentator's tasks.
        fast: its 3 mm model.
        fastest: its 6 mm model.
        roi_subset: only these classes (tasks "total...").
        device: "auto", "cpu", "cuda" or "cuda:N".
        on_progress: called after every tile of a network with a ``StepProgress``.

    Returns:
        The labels on the volume's grid, every class of the task named.

    Raises:
        MissingExtraError: TotalSegmentator is not installed.
        ModelError: unknown task or class, or weights are missing; the message says what to do.
        DeviceError: the device is not there.
        ReadError: the image cannot be read.
    """
    if not isinstance(volume, Volume):
        from promptseg.io import read_volume

        volume = read_volume(volume)
    engine = WholeBody(task, fast=fast, fastest=fastest, roi_subset=roi_subset, device=device)
    return engine.segment(volume, on_progress=on_progress)


def _require_grey_volume(volume: Volume) -> None:
    if volume.is_rgb or min(volume.shape) < 2:
        kind = "a colour image" if volume.is_rgb else f"shape (z, y, x) {volume.shape}"
        raise ModelError(f"whole-body segmentation expects a grey volume of several slices, got {kind}")
