"""Is it a CT or an MR, and does the task fit?"""

from __future__ import annotations

import numpy as np

from promptseg.volume import Volume
from promptseg.wholebody.task import Task

__all__ = ["guess_modality", "misfit"]

AIR_HU = -200.0  # a CT of a person holds air and fat below this; an MR has no such values
SEEN = 200_000  # voxels looked at, evenly spread


def guess_modality(volume: Volume) -> str | None:
    """Return "CT", "MR" or another DICOM modality as the file states it, else guess from the intensities.

    A guess is "CT" where at least 1 % of the voxels lie below -200 (Hounsfield units of air and lung), and "MR" where
    next to none is negative: at most 0.1 % lie below -5 % of the 99th percentile (interpolation rings a little). None
    where neither holds.
    """
    if volume.modality:
        return volume.modality
    if volume.is_rgb:
        return None
    step = max(1, volume.array.size // SEEN)
    values = volume.array.reshape(-1)[::step]
    if float(np.mean(values < AIR_HU)) >= 0.01:
        return "CT"
    floor = -0.05 * float(np.percentile(values, 99))
    return "MR" if floor <= 0 and float(np.mean(values < floor)) <= 0.001 else None


def misfit(volume: Volume, task: Task) -> str | None:
    """Return a sentence when the image does not look like what the task was trained on; None when it does."""
    found = guess_modality(volume)
    if found is None or found == task.modality or task.modality not in ("CT", "MR"):
        return None
    other = {"total": "total_mr", "total_mr": "total", "body": "body_mr", "body_mr": "body"}.get(task.name)
    instead = f"; for this image try --task {other}" if other and found in ("CT", "MR") else ""
    if volume.modality:
        return f"the task {task.name!r} expects {task.modality}, the file says {found}{instead}"
    looks = "an MR, or a CT that is not in Hounsfield units" if found == "MR" else "a CT"
    return f"the task {task.name!r} expects {task.modality}, this image looks like {looks}{instead}"
