"""What people's work takes of the memory, against one limit for the whole process.

Counted are the images, the masks, and as much as a session's embeddings may take; viewers' drawings like sessions.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet

from promptseg.app.errors import BusyError

__all__ = ["MemoryBudget", "Sized", "give_back"]


def give_back() -> None:
    """Return freed memory to the system, which glibc otherwise keeps in pieces: one per thread that ever worked."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)


class Sized(Protocol):
    """Something that says how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes, its embeddings at their limit."""
        ...


class MemoryBudget:
    """The memory of one process.

    Args:
        limit: bytes of everything together.
        embeddings: bytes that one session's embeddings may take.
    """

    def __init__(self, limit: int, embeddings: int) -> None:
        self._limit, self.embeddings = limit, embeddings
        self._parts: list[Callable[[], int]] = []
        self._guests: WeakSet[Sized] = WeakSet()
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._promised = 0

    def count(self, part: Callable[[], int]) -> None:
        """Count what a function says, from now on."""
        self._parts.append(part)

    def hold(self, guest: Sized) -> None:
        """Count an object as long as it lives."""
        with self._lock:
            self._guests.add(guest)

    def held(self) -> int:
        """Return the bytes in use."""
        with self._lock:
            guests = list(self._guests)
        return self._promised + sum(part() for part in self._parts) + sum(guest.nbytes for guest in guests)

    @contextmanager
    def promised(self, more: int, leave: Iterable[Callable[[], object]] = ()) -> Iterator[None]:
        """Hold so many bytes free for what is being loaded while open; others who ask meanwhile find them taken.

        Raises:
            BusyError: as ``require``.
        """
        with self._asking:
            self.require(more, leave)
            self._promised += more
        try:
            yield
        finally:
            with self._asking:
                self._promised -= more

    def require(self, more: int, leave: Iterable[Callable[[], object]] = ()) -> None:
        """Make room for ``more`` bytes by calling ``leave`` one after the other.

        Raises:
            BusyError: it does not fit as long as the others work.
        """
        for go in leave:
            if self.held() + more <= self._limit:
                return
            go()
        if self.held() + more > self._limit:
            raise BusyError("there is no room in memory while others work; try again in a minute", 60.0, own=False)
