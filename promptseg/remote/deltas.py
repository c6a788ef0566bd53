"""What a step on a server changed, laid into a copy of the labels that is kept here."""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.progress import OnProgress, Progress
from promptseg.volume.label_voxels import Changed, as_slices

__all__ = ["JobProgress", "lay"]


def lay(delta: Mapping[str, Any], array: NDArray[np.uint8]) -> Changed | None:
    """Write a Delta's voxels into an array (z, y, x); return the half-open box."""
    if delta["changed"] is None:
        return None
    (z0, y0, x0), (z1, y1, x1) = delta["changed"]
    box: Changed = ((z0, y0, x0), (z1, y1, x1))
    part = array[as_slices(box)]
    part[...] = np.frombuffer(zlib.decompress(base64.b64decode(delta["voxels"])), np.uint8).reshape(part.shape)
    return box


class JobProgress:
    """Tells how far a job is, as a ``Progress`` with the voxels that have changed so far."""

    def __init__(self, on_progress: OnProgress, array: NDArray[np.uint8]) -> None:
        self._on_progress: Callable[[Progress], None] = on_progress
        self._array, self._began = array.copy(), time.perf_counter()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Tell what a job's event says."""
        changed = None if event.get("delta") is None else lay(event["delta"], self._array)
        elapsed_s = time.perf_counter() - self._began
        progress = Progress(event["done"], event["total"], elapsed_s, changed=changed, _labels_in=self._labels_in)
        self._on_progress(progress)

    def _labels_in(self, box: Changed) -> NDArray[np.uint8]:
        return self._array[as_slices(box)].copy()
