"""Whole-body runs beside served sessions: engines stay loaded for everybody, one case at a time.

A run touches no session: people go on clicking meanwhile. What it found goes into the session as one step.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from promptseg.volume import Labelmap, Volume
from promptseg.wholebody.by_name import Structures, Wanted
from promptseg.wholebody.steps import StepProgress

if TYPE_CHECKING:
    from promptseg.app.live.jobs import TellProgress

__all__ = ["WholeBodyRuns"]

WAIT_S = 0.2  # between two looks whether a run that waits for the device was cancelled
PER_NETWORK = 1000  # parts of the progress bar for one of a task's networks


class WholeBodyRuns:
    """The whole-body engines of one server process.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:N".

    Attributes:
        structures: what can be asked for, and the engines.
    """

    def __init__(self, device: str) -> None:
        self.structures = Structures(device)
        self._running = threading.Lock()  # networks and answers: one case at a time

    def segment(self, volume: Volume, wanted: Wanted, report: TellProgress) -> Labelmap:
        """Do a run when it is its turn, or take its answer from the last ones.

        Raises:
            Cancelled: ``report`` raised it.
            ModelError: weights are missing (the message says how to get them), or the volume cannot be segmented.
        """
        while not self._running.acquire(timeout=WAIT_S):
            report(0, 0, 0.0)
        try:
            report(0, 0, 0.0)
            networks = len(self.structures.engine(wanted).models)
            return self.structures.segment(volume, wanted, on_progress=_told(networks, report))
        finally:
            self._running.release()


def _told(networks: int, report: TellProgress) -> Callable[[StepProgress], None]:
    """Return what turns tiles of one network after the other into one bar."""
    began, before, last = time.monotonic(), 0, 0

    def told(step: StepProgress) -> None:
        nonlocal before, last
        if step.done < last:
            before += PER_NETWORK
        last = step.done
        total = max(networks * PER_NETWORK, before + PER_NETWORK)
        done = before + PER_NETWORK * step.done // max(step.total, 1)
        report(done, total, (time.monotonic() - began) / max(done, 1) * (total - done))

    return told
