"""Who is drawing at the moment: entries in memory with an owner, two clocks and a limit.

Unlike a session of ours, a viewer's drawing is not brought back after its end: the viewer holds the image and the mask
and sends them again.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from promptseg.app.errors import FullError

__all__ = ["Desk", "Seat"]

T = TypeVar("T")
SWEEP_S = 15.0  # the reference server looks as often


@dataclass(eq=False)
class Seat(Generic[T]):
    """One viewer's place.

    Attributes:
        token: what the viewer names itself by; unguessable.
        owner: the user's id.
        content: what it works on.
        seen: monotonic time of its last sign of life.
        active: monotonic time of its last real request.
        busy: requests in flight; a busy seat is never taken away.
    """

    token: str
    owner: str
    content: T
    seen: float
    active: float
    busy: int = 0


class Desk(Generic[T]):
    """All seats of one protocol.

    Args:
        limit: seats in all.
        idle_s: a seat without a real request for so long is taken away.
        liveness_s: one without any sign of life; 0: never for that.
        clock: seconds that never go back.
    """

    def __init__(
        self, *, limit: int, idle_s: float, liveness_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit, self.idle_s, self.liveness_s, self._clock = limit, idle_s, liveness_s, clock
        self._seats: dict[str, Seat[T]] = {}
        self._lock = threading.Lock()
        self._sweeper: threading.Thread | None = None

    def take(self, owner: str, content: T, *, make_room: bool = False) -> Seat[T]:
        """Give a new seat.

        Args:
            owner: the user's id.
            content: what the viewer works on.
            make_room: take the longest idle seat away instead of refusing, first of all one of the same owner.

        Raises:
            FullError: all seats are taken.
        """
        self.sweep()
        now = self._clock()
        with self._lock:
            if len(self._seats) >= self.limit and make_room:
                idle = [seat for seat in self._seats.values() if not seat.busy]
                for seat in sorted(idle, key=lambda seat: (seat.owner != owner, seat.active))[:1]:
                    del self._seats[seat.token]
            if len(self._seats) >= self.limit:
                raise FullError(f"all {self.limit} places of this server are taken; try again in a moment")
            seat = Seat(secrets.token_hex(16), owner, content, now, now)
            self._seats[seat.token] = seat
            if self._sweeper is None:
                self._sweeper = threading.Thread(target=self._keep_sweeping, name="desk", daemon=True)
                self._sweeper.start()
        return seat

    def find(self, owner: str, token: str | None) -> Seat[T] | None:
        """Return a seat of this owner; None where there is none (any more)."""
        self.sweep()
        seat = self._seats.get(token or "")
        return seat if seat is not None and seat.owner == owner else None

    def find_by(self, owner: str, wanted: Callable[[T], bool]) -> Seat[T] | None:
        """Return a seat of this owner by what it works on; None where there is none."""
        self.sweep()
        with self._lock:
            return next((s for s in self._seats.values() if s.owner == owner and wanted(s.content)), None)

    def leave(self, owner: str, token: str | None) -> None:
        """Give a seat up; nothing happens where there is none."""
        if self.find(owner, token) is not None:
            with self._lock:
                self._seats.pop(token or "", None)

    def seats(self) -> int:
        """Return how many seats are taken."""
        self.sweep()
        return len(self._seats)

    def left_s(self, seat: Seat[T]) -> float:
        """Return the seconds until a seat is taken away for idleness."""
        return max(0.0, self.idle_s - (self._clock() - seat.active))

    @contextmanager
    def using(self, seat: Seat[T]) -> Iterator[T]:
        """Hold a seat while a real request works with its content."""
        with self._lock:
            seat.busy += 1
        try:
            yield seat.content
        finally:
            with self._lock:
                seat.busy -= 1
                seat.seen = seat.active = self._clock()

    def sign_of_life(self, seat: Seat[T]) -> None:
        """Note that a viewer is there, though it asks for nothing."""
        seat.seen = self._clock()

    def sweep(self) -> None:
        """Take away the seats whose time is over."""
        now = self._clock()
        with self._lock:
            for seat in list(self._seats.values()):
                silent = self.liveness_s > 0 and now - seat.seen > self.liveness_s
                if not seat.busy and (silent or now - seat.active > self.idle_s):
                    del self._seats[seat.token]

    def _keep_sweeping(self) -> None:
        while True:
            time.sleep(SWEEP_S)
            self.sweep()
            with self._lock:
                if not self._seats:
                    self._sweeper = None
                    return
