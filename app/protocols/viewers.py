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

__all__ = ["Viewer", "Viewers"]

T = TypeVar("T")
SWEEP_S = 15.0  # the reference server looks as often


@dataclass(eq=False)
class Viewer(Generic[T]):
    """One viewer that is let in.

    Attributes:
        token: what the viewer names itself by; unguessable.
        owner: the user's id.
        content: what it works on.
        seen: monotonic time of its last sign of life.
        active: monotonic time of its last real request.
        busy: requests in flight; a busy viewer is never taken away.
    """

    token: str
    owner: str
    content: T
    seen: float
    active: float
    busy: int = 0


class Viewers(Generic[T]):
    """All viewers of one protocol.

    Args:
        limit: viewers in all.
        per_owner: viewers of one user; None: as many as there are.
        idle_s: a viewer without a real request for so long is taken away.
        liveness_s: one without any sign of life; 0: never for that.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        *,
        limit: int,
        idle_s: float,
        liveness_s: float = 0.0,
        per_owner: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit, self.idle_s, self.liveness_s, self._clock = limit, idle_s, liveness_s, clock
        self._per_owner = limit if per_owner is None else min(per_owner, limit)
        self._viewers: dict[str, Viewer[T]] = {}
        self._lock = threading.Lock()
        self._sweeper: threading.Thread | None = None

    def take(self, owner: str, content: T, *, make_room: bool = False) -> Viewer[T]:
        """Give a new viewer.

        Args:
            owner: the user's id.
            content: what the viewer works on.
            make_room: take the longest idle viewer away instead of refusing, first of all one of the same owner.

        Raises:
            FullError: all places are taken, or all of this user's.
        """
        self.sweep()
        now = self._clock()
        with self._lock:
            own = [viewer for viewer in self._viewers.values() if viewer.owner == owner]
            if make_room and (len(own) >= self._per_owner or len(self._viewers) >= self.limit):
                idle = [viewer for viewer in own or self._viewers.values() if not viewer.busy]
                for viewer in sorted(idle, key=lambda viewer: viewer.active)[:1]:
                    del self._viewers[viewer.token]
                    own = [other for other in own if other is not viewer]
            if len(self._viewers) >= self.limit:
                raise FullError(f"all {self.limit} places of this server are taken; try again in a moment")
            if len(own) >= self._per_owner:
                raise FullError(f"your {self._per_owner} places are taken; close another viewer, or wait a minute")
            viewer = Viewer(secrets.token_hex(16), owner, content, now, now)
            self._viewers[viewer.token] = viewer
            if self._sweeper is None:
                self._sweeper = threading.Thread(target=self._keep_sweeping, name="viewers", daemon=True)
                self._sweeper.start()
        return viewer

    def find(self, owner: str, token: str | None) -> Viewer[T] | None:
        """Return a viewer of this owner; None where there is none (any more)."""
        self.sweep()
        viewer = self._viewers.get(token or "")
        return viewer if viewer is not None and viewer.owner == owner else None

    def find_by(self, owner: str, wanted: Callable[[T], bool]) -> Viewer[T] | None:
        """Return a viewer of this owner by what it works on; None where there is none."""
        self.sweep()
        with self._lock:
            return next((s for s in self._viewers.values() if s.owner == owner and wanted(s.content)), None)

    def leave(self, owner: str, token: str | None) -> None:
        """Give a viewer up; nothing happens where there is none."""
        if self.find(owner, token) is not None:
            with self._lock:
                self._viewers.pop(token or "", None)

    def viewers(self) -> int:
        """Return how many viewers are taken."""
        self.sweep()
        return len(self._viewers)

    def left_s(self, viewer: Viewer[T]) -> float:
        """Return the seconds until a viewer is taken away for idleness."""
        return max(0.0, self.idle_s - (self._clock() - viewer.active))

    @contextmanager
    def using(self, viewer: Viewer[T]) -> Iterator[T]:
        """Hold a viewer while a real request works with its content."""
        with self._lock:
            viewer.busy += 1
        try:
            yield viewer.content
        finally:
            with self._lock:
                viewer.busy -= 1
                viewer.seen = viewer.active = self._clock()

    def sign_of_life(self, viewer: Viewer[T]) -> None:
        """Note that a viewer is there, though it asks for nothing."""
        viewer.seen = self._clock()

    def sweep(self) -> None:
        """Take away the viewers whose time is over."""
        now = self._clock()
        with self._lock:
            for viewer in list(self._viewers.values()):
                silent = self.liveness_s > 0 and now - viewer.seen > self.liveness_s
                if not viewer.busy and (silent or now - viewer.active > self.idle_s):
                    del self._viewers[viewer.token]

    def _keep_sweeping(self) -> None:
        while True:
            time.sleep(SWEEP_S)
            self.sweep()
            with self._lock:
                if not self._viewers:
                    self._sweeper = None
                    return
