"""Where a long call stands, told after every slice or pass and every 0.1 s of a slow one, with what has changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from promptseg.prompts import Plane
from promptseg.volume.label_voxels import Changed

__all__ = ["OnProgress", "Progress", "Reporter"]

LabelsIn: TypeAlias = Callable[[Changed], NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Progress:
    """One report.

    Attributes:
        done: slices finished, or the 3D network's passes.
        total: of them at most; a call mostly ends earlier.
        elapsed_s: seconds since the first one.
        plane: plane of the slice just finished.
        index: its index.
        changed: half-open voxel box that changed since the report before, or None.
    """

    done: int
    total: int
    elapsed_s: float
    plane: Plane | None = None
    index: int | None = None
    changed: Changed | None = None
    _labels_in: LabelsIn | None = field(default=None, repr=False)

    @property
    def left_s(self) -> float:
        """Seconds left if all remaining slices are needed."""
        return self.elapsed_s / max(self.done, 1) * (self.total - self.done)

    def labels_in(self, box: Changed) -> NDArray[np.uint8]:
        """Return all labels inside a half-open voxel box, uint8 (z, y, x), as they stand in the middle of the call.

        Only while ``on_progress`` runs, in its thread. After ``Cancelled`` the session is as it was before the call.
        """
        if self._labels_in is None:
            raise RuntimeError("this report has no voxels")
        return self._labels_in(box)


OnProgress: TypeAlias = Callable[[Progress], None]


class Reporter:
    """Counts finished slices of one call and tells ``on_progress``, which may raise ``Cancelled``.

    ``total`` (slices at most) is set once it is planned.

    Args:
        on_progress: whom to tell; None: nobody, slices are only counted.
        fresh: returns the box that changed since it was last called.
        labels_in: see ``Progress.labels_in``.
    """

    def __init__(
        self,
        on_progress: OnProgress | None,
        *,
        fresh: Callable[[], Changed | None] = lambda: None,
        labels_in: LabelsIn | None = None,
    ) -> None:
        self.done = self.total = 0
        self._on_progress = on_progress
        self._fresh, self._labels_in = fresh, labels_in
        self._started = time.perf_counter()

    def at(self, plane: Plane) -> Callable[[int], None]:
        """Return a function that reports one more finished slice of the plane, given its index."""
        return lambda index: self._step(plane, index)

    def passed(self) -> None:
        """Report one more pass of the 3D network."""
        self._step(None, None)

    def beat(self) -> None:
        """Report that a slice takes long: the same count again, so that the listener can cancel."""
        if self._on_progress is not None:
            self._on_progress(Progress(self.done, self.total, time.perf_counter() - self._started))

    def _step(self, plane: Plane | None, index: int | None) -> None:
        self.done += 1
        if self._on_progress is None:
            return
        elapsed_s = time.perf_counter() - self._started
        self._on_progress(Progress(self.done, self.total, elapsed_s, plane, index, self._fresh(), self._labels_in))
