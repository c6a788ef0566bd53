"""Choosing a task: names, classes and licences as TotalSegmentator's own registry has them."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from promptseg.errors import ModelError, did_you_mean
from promptseg.volume import Label

__all__ = ["LICENCE_PAGE", "Model", "Task", "checked_task", "class_labels", "own_task"]

LICENCE_PAGE = "https://backend.totalsegmentator.com/license-academic/"  # named in TotalSegmentator's own messages
GOLDEN_RATIO = 0.6180339887  # hues that lie this far apart (mod 1) stay distinct for any number of classes


@dataclass(frozen=True)
class Task:
    """One of TotalSegmentator's tasks, from its own registry.

    Attributes:
        name: as it calls it.
        modality: "CT" or "MR".
        needs_licence: its weights and its use need a licence number from its authors.
        classes: label value to class name.
        has_fast: a 3 mm model exists; ``fast`` means that.
        has_fastest: a 6 mm model exists.
    """

    name: str
    modality: str
    needs_licence: bool
    classes: Mapping[int, str]
    has_fast: bool
    has_fastest: bool

    @property
    def takes_subset(self) -> bool:
        """True where TotalSegmentator accepts ``roi_subset``."""
        return self.name.startswith("total")


@dataclass(frozen=True)
class Model:
    """One trained network.

    Attributes:
        dataset_id: TotalSegmentator's number.
        name: the folder of its weights.
        url: where TotalSegmentator publishes them; "" where only its licence server has them, or nobody has.
        folder: nnU-Net's folder inside: trainer, plans and configuration.
        folds: which of its folds vote; None for all that are there.
        step_size: how far the network's window moves, in window sizes.
    """

    dataset_id: int
    name: str
    url: str
    folder: str
    folds: tuple[int, ...] | None
    step_size: float


def checked_task(task: str, *, fast: bool = False, fastest: bool = False, roi_subset: Sequence[str] = ()) -> Task:
    """Return the task after checking everything that can be checked without loading it.

    Raises:
        MissingExtraError: TotalSegmentator is not installed.
        ModelError: unknown task or class, no such fast model, a subset where there is none, no licence number.
    """
    from promptseg.wholebody.totalseg import all_tasks
    from promptseg.wholebody.weights import licence_number

    known = all_tasks()
    if task not in known:
        raise ModelError(f"no whole-body task {task!r}{did_you_mean(task, known)}; see: promptseg wholebody --tasks")
    found = known[task]
    if fast and fastest:
        raise ModelError("expected --fast or --fastest, got both")
    for asked, there, word in ((fast, found.has_fast, "fast"), (fastest, found.has_fastest, "fastest")):
        if asked and not there:
            raise ModelError(f"the task {task!r} has no {word} model; leave --{word} away")
    if roi_subset and not found.takes_subset:
        raise ModelError(f"a subset of classes works with the tasks total, total_mr and total_v3, not with {task!r}")
    names = set(found.classes.values())
    for name in roi_subset:
        if name not in names:
            raise ModelError(
                f"the task {task!r} has no class {name!r}{did_you_mean(name, names)}; "
                f"see: promptseg wholebody --classes {task}"
            )
    if found.needs_licence and not licence_number():
        raise ModelError(
            f"the task {task!r} needs a licence number from TotalSegmentator's authors (free for non-commercial use: "
            f"{LICENCE_PAGE}); give it once with --licence-number NUMBER"
        )
    return found


def own_task(folder: Path, with_task_options: bool) -> Task:
    """Return a user's own nnU-Net model as a task; its name is the folder's, its modality what its channel says.

    Raises:
        ModelError: no usable labels, or options of TotalSegmentator's tasks were given with it.
    """
    from promptseg.wholebody.own_model import own_channel, own_classes

    if with_task_options:
        raise ModelError("fast, fastest, roi_subset and statistics belong to TotalSegmentator's tasks, not to a folder")
    return Task(folder.name, own_channel(folder), False, own_classes(folder), False, False)


def class_labels(classes: Mapping[int, str], only: Sequence[str] = ()) -> dict[int, Label]:
    """Return a named, coloured label per class; with ``only``, of these classes."""
    return {
        value: Label(value, name, _color(value))
        for value, name in sorted(classes.items())
        if value > 0 and (not only or name in only)
    }


def _color(value: int) -> tuple[int, int, int]:
    """A colour per class: hues by the golden ratio, two brightnesses."""
    channels = colorsys.hsv_to_rgb(value * GOLDEN_RATIO % 1.0, 0.65, 0.95 if value % 2 else 0.75)
    red, green, blue = (round(255 * channel) for channel in channels)
    return (red, green, blue)
