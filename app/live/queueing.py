"""One worker thread per model, and who comes next: people in turn, clicks before long work.

A job calls ``Turn.pause`` between two slices. There a cancelled job ends, and more urgent work of other sessions is
done: a person who clicks waits for a slice, never for another person's propagation. A session that is brought back
takes turns with the clicks once it has waited ``OPEN_PATIENCE_S``: people who click without a pause kept
it out for ever.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from promptseg.app.errors import BusyError
from promptseg.errors import Cancelled

__all__ = ["ModelQueue", "ModelQueues", "Priority", "Turn", "Work"]

FIRST_GUESS_S = {"interactive": 0.1, "open": 1.0, "batch": 5.0}  # until something was measured
CLOSE_S = 10.0  # how long the running step may take to its next pause when the server stops
SMOOTHING = 0.2  # weight of the newest duration
OPEN_PATIENCE_S = 2.0  # about one turn of each of twenty people on two cores: waiting as a click would


class Priority(StrEnum):
    """What comes first: clicks, then sessions that are brought back (in turn with clicks once late), then long work."""

    INTERACTIVE = "interactive"
    OPEN = "open"
    BATCH = "batch"


@dataclass(eq=False)
class Work:
    """One job in the queue: ``future`` gets its result; ``cancel`` asks it to stop at its next pause."""

    user: str
    session: str
    priority: Priority
    call: Callable[[Turn], Any] = field(repr=False)
    future: Future[Any] = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)
    since: float = field(default_factory=time.monotonic)

    def cancel(self) -> None:
        """Stop a running job at its next pause; a waiting one never starts."""
        self.cancelled.set()


class Turn:
    """What a running job holds: its way to pause."""

    def __init__(self, queue: ModelQueue, work: Work) -> None:
        self._queue, self._work = queue, work

    def pause(self) -> None:
        """Do what came meanwhile for other sessions and is more urgent, then go on.

        Raises:
            Cancelled: somebody asked the job to stop.
        """
        self._queue.beat()
        if self._work.cancelled.is_set():
            raise Cancelled("the job was cancelled; the session is as it was before")
        self._queue.answer_waiting(before=self._work.priority, besides=self._work.session)


class ModelQueue:
    """The queue of one model and its thread.

    Args:
        name: of the thread.
        per_user: waiting jobs of one user.
        total: waiting jobs in all.
    """

    def __init__(self, name: str, *, per_user: int, total: int) -> None:
        self._per_user, self._total = per_user, total
        self._waiting: dict[Priority, OrderedDict[str, deque[Work]]] = {kind: OrderedDict() for kind in Priority}
        self._changed = threading.Condition()
        self._closed = False
        self._opened_last = False  # then a click comes first: neither keeps the other out
        self._typical_s = dict(FIRST_GUESS_S)
        self._running: list[tuple[Work, float]] = []
        self._beaten = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"model {name}", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> Work:
        """Put a job behind the others.

        Raises:
            BusyError: too much is waiting.
        """
        with self._changed:
            if self._closed:
                raise BusyError("the server is stopping; try again in a moment", 5.0, own=False)
            own = sum(len(line.get(work.user, ())) for line in self._waiting.values())
            if own >= self._per_user:
                raise BusyError(
                    f"{own} of your requests are waiting already; wait for their answers first",
                    self._wait_s(work.user, work.priority),
                    own=True,
                )
            if self.waiting() >= self._total:
                wait = self._wait_s(work.user, work.priority)
                raise BusyError(f"the server is busy: about {wait:.0f} s of work are waiting", wait, own=False)
            self._waiting[work.priority].setdefault(work.user, deque()).append(work)
            self._changed.notify()
        return work

    def waiting(self) -> int:
        """Return how many jobs wait."""
        return sum(len(jobs) for line in self._waiting.values() for jobs in line.values())

    def beat(self) -> None:
        """Note that the thread is getting on."""
        self._beaten = time.monotonic()

    def silent_s(self) -> float:
        """Return for how long the thread has been inside one call without a pause, in seconds; 0 while it waits."""
        return time.monotonic() - self._beaten if self._running else 0.0

    def wait_s(self, user: str, priority: Priority) -> float:
        """Return about how long a new job of this user would wait, in seconds, by the durations seen so far."""
        with self._changed:
            return self._wait_s(user, priority)

    def _wait_s(self, user: str, priority: Priority) -> float:
        seconds = 0.0
        for kind in _up_to(priority):
            line = self._waiting[kind]
            own = len(line.get(user, ()))
            turns = own + 1 if kind is priority else self._total
            ahead = own + sum(min(len(jobs), turns) for name, jobs in line.items() if name != user)
            seconds += ahead * self._typical_s[kind]
        for work, began in self._running:
            if work.priority in _up_to(priority):
                seconds += max(0.0, self._typical_s[work.priority] - (time.monotonic() - began))
        return seconds

    def close(self) -> None:
        """Stop the thread after the running job; waiting ones are told."""
        with self._changed:
            self._closed = True
            left = [work for line in self._waiting.values() for jobs in line.values() for work in jobs]
            for line in self._waiting.values():
                line.clear()
            for work, _ in self._running:
                work.cancel()
            self._changed.notify_all()
        for work in left:
            work.future.set_exception(BusyError("the server is stopping; try again in a moment", 5.0, own=False))
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=CLOSE_S)

    def answer_waiting(self, *, before: Priority, besides: str) -> None:
        """Do what waits now and is more urgent, but for one session; called by a job between two slices."""
        for _ in range(self.waiting()):
            with self._changed:
                work = self._take([kind for kind in _up_to(before) if kind is not before], besides)
            if work is None:
                return
            self._do(work)

    def _take(self, kinds: Sequence[Priority], besides: str | None = None) -> Work | None:
        if Priority.OPEN in kinds and not self._opened_last and self._open_is_late():
            kinds = sorted(kinds, key=lambda kind: kind is not Priority.OPEN)
        work = next((work for kind in kinds if (work := self._next(kind, besides)) is not None), None)
        self._opened_last = work is not None and work.priority is Priority.OPEN
        return work

    def _open_is_late(self) -> bool:
        limit = time.monotonic() - OPEN_PATIENCE_S
        return any(job.since <= limit for jobs in self._waiting[Priority.OPEN].values() for job in jobs)

    def _next(self, priority: Priority, besides: str | None = None) -> Work | None:
        """Take the first job of the user whose turn it is; that user goes to the end of the line."""
        line = self._waiting[priority]
        for user in list(line):
            jobs = line[user]
            work = next((job for job in jobs if job.session != besides), None)
            if work is None:
                continue
            jobs.remove(work)
            line.move_to_end(user)
            if not jobs:
                del line[user]
            return work
        return None

    def _run(self) -> None:
        while True:
            with self._changed:
                while (work := self._take(tuple(Priority))) is None:
                    if self._closed:
                        return
                    self._changed.wait()
            self._do(work)

    def _do(self, work: Work) -> None:
        if work.cancelled.is_set() or not work.future.set_running_or_notify_cancel():
            if not work.future.done():
                work.future.set_exception(Cancelled("the job was cancelled before it began"))
            return
        began = self._beaten = time.monotonic()
        with self._changed:
            self._running.append((work, began))
        try:
            result = work.call(Turn(self, work))
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the one who waits gets it
            work.future.set_exception(exc)
        else:
            work.future.set_result(result)
        finally:
            with self._changed:
                self._running.remove((work, began))
                self._beaten = time.monotonic()
                old = self._typical_s[work.priority]
                self._typical_s[work.priority] = old + SMOOTHING * (time.monotonic() - began - old)


def _up_to(priority: Priority) -> list[Priority]:
    """Return the priorities that come before this one, and itself."""
    kinds = list(Priority)
    return kinds[: kinds.index(priority) + 1]


class ModelQueues:
    """The queues of all models; each comes into being with the first job.

    Args:
        per_user: as ``ModelQueue``.
        total: as ``ModelQueue``.
    """

    def __init__(self, *, per_user: int, total: int) -> None:
        self._per_user, self._total = per_user, total
        self._queues: dict[str, ModelQueue] = {}
        self._lock = threading.Lock()

    def of(self, model: str) -> ModelQueue:
        """Return the queue of a model."""
        with self._lock:
            if model not in self._queues:
                self._queues[model] = ModelQueue(model, per_user=self._per_user, total=self._total)
            return self._queues[model]

    def by_model(self) -> dict[str, ModelQueue]:
        """Return the queues that there are."""
        with self._lock:
            return dict(self._queues)

    def waiting(self) -> int:
        """Return how many jobs wait, for all models."""
        return sum(queue.waiting() for queue in self.by_model().values())

    def silent_s(self) -> float:
        """Return for how long the most silent model's thread has been inside one call without a pause, in seconds."""
        return max((queue.silent_s() for queue in self.by_model().values()), default=0.0)

    def close(self) -> None:
        """Close all queues."""
        for queue in self.by_model().values():
            queue.close()
