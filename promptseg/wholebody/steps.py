"""The steps of a whole-body case: how long each took, how far the present one is, and stopping between two."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["STEPS", "Clock", "OnStep", "Paused", "StepProgress"]

STEPS = ("preprocess", "wait", "infer", "resample")  # "wait": for the device while another case has it


@dataclass(frozen=True)
class StepProgress:
    """How far a case is: ``done`` of ``total`` tiles of the network at hand in the step of this name."""

    step: str
    done: int
    total: int


OnStep = Callable[[StepProgress], None]


class Paused(Exception):  # noqa: N818 - an outcome, not a fault
    """The run has come to the call at which it was to stop."""


class Clock:
    """Seconds per step; exactly one step runs at a time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._step: str | None = None
        self._since = 0.0

    def start(self, step: str | None) -> None:
        """End the present step and start another one; None only ends it."""
        now = time.perf_counter()
        if self._step is not None:
            self.seconds[self._step] = self.seconds.get(self._step, 0.0) + now - self._since
        self._step, self._since = step, now
