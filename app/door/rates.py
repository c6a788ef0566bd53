"""How much of the server one user, or one address, may take: so many requests a second, so many at a time."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["AtOnce", "Buckets"]

KEPT = 20_000  # users and addresses whose rate is remembered


class Buckets:
    """Token buckets by key: ``rate`` per second, at most ``burst`` at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Take a token; return 0 when there was one, else the seconds until there is."""
        wait = self.wait_s(key)
        if wait == 0.0:
            self._keep(key, self._level(key) - 1.0)
        return wait

    def spend(self, key: str, tokens: float) -> float:
        """Take so many tokens, whether there are as many or not; return the seconds until the debt is paid."""
        self._keep(key, self._level(key) - tokens)
        return max(0.0, -self._level(key) / self._rate)

    def wait_s(self, key: str) -> float:
        """Return the seconds until there is a token; takes none."""
        return max(0.0, (1.0 - self._level(key)) / self._rate)

    def _keep(self, key: str, level: float) -> None:
        self._levels[key] = (level, time.monotonic())
        self._levels.move_to_end(key)
        if len(self._levels) > KEPT:
            self._levels.popitem(last=False)

    def _level(self, key: str) -> float:
        level, at = self._levels.get(key, (self._burst, time.monotonic()))
        return min(self._burst, level + (time.monotonic() - at) * self._rate)


class AtOnce:
    """Counts what is under way by key; at most ``most`` of one key. For one thread, the event loop's."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def place(self, key: str) -> Iterator[bool]:
        """Hold a place while open; gives False where none is left."""
        if self._under_way[key] >= self._most:
            yield False
            return
        self._under_way[key] += 1
        try:
            yield True
        finally:
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]
