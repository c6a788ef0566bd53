"""Choosing a task: names, classes and licences as TotalSegmentator's own registry has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from promptseg.errors import ModelError, did_you_mean
from promptseg.wholebody.task import Task

__all__ = ["LICENCE_PAGE", "checked_task", "own_task"]

LICENCE_PAGE = "https://backend.totalsegmentator.com/license-academic/"  # named in TotalSegmentator's own messages


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
        raise ModelError(
            "fast, fastest, roi_subset, statistics and the like belong to TotalSegmentator's tasks, not to a folder"
        )
    return Task(folder.name, own_channel(folder), False, own_classes(folder), False, False)
