"""How much of a thread each person had lately."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["HALF_S", "TimeUsed"]

HALF_S = 10.0  # what is so old counts half


class TimeUsed:
    """Seconds by user, fading.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def add(self, user: str, seconds: float) -> None:
        """Put more down to a user."""
        with self._lock:
            self._seconds[user] = (self._now(user) + seconds, self._clock())
            faded = [name for name in self._seconds if self._now(name) < 1e-3]
            for name in faded:
                del self._seconds[name]

    def of(self, user: str) -> float:
        """Return a user's seconds as they count now."""
        with self._lock:
            return self._now(user)

    def _now(self, user: str) -> float:
        seconds, at = self._seconds.get(user, (0.0, 0.0))
        return float(seconds * 0.5 ** ((self._clock() - at) / HALF_S))
