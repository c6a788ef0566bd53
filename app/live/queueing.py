"""One worker thread per model, and who comes next: who had least of it lately, clicks before long work.

A job calls ``Turn.pause`` between two slices. There a cancelled job ends, and more urgent work of other sessions is
done, as is equally urgent work of people who had less than half as much of the thread lately: who clicks waits for a
slice, never for another person's propagation or large stroke. A session that is brought back takes turns with the
clicks once it has waited ``OPEN_PATIENCE_S``: people who click without a pause kept it out for ever.

What needs no model (edits by hand, undo, questions) is done beside that thread, in two more. A session's jobs are done
one at a time and, for one person, in their order, whichever thread does them.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from promptseg.app.errors import BusyError
from promptseg.app.live.fairness import TimeUsed
from promptseg.errors import Cancelled

__all__ = ["ModelQueue", "ModelQueues", "Priority", "Turn", "Work"]

FIRST_GUESS_S = {"interactive": 0.1, "open": 1.0, "batch": 5.0}  # until something was measured
CLOSE_S = 10.0  # how long the running step may take to its next pause when the server stops
SMOOTHING = 0.2  # weight of the newest duration
OPEN_PATIENCE_S = 2.0  # about one turn of each of twenty people on two cores: waiting as a click would
BESIDE = 2  # threads beside the model's; one person's jobs take one of them at a time
QUANTUM_S = 1.0  # people whose time differs by less take turns
MOST_NESTED = 8  # jobs that have given way to another, in one thread


class Priority(StrEnum):
    """What comes first: clicks, then sessions that are brought back (in turn with clicks once late), then long work."""

    INTERACTIVE = "interactive"
    OPEN = "open"
    BATCH = "batch"


@dataclass(eq=False)
class Work:
    """One job in the queue: ``future`` gets its result; ``cancel`` asks it to stop at its next pause.

    ``needs_model`` False: it only reads or edits a session, and is done beside the model's thread.
    """

    user: str
    session: str
    priority: Priority
    call: Callable[[Turn], Any] = field(repr=False)
    needs_model: bool = True
    future: Future[Any] = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)
    since: float = field(default_factory=time.monotonic)

    def cancel(self) -> None:
        """Stop a running job at its next pause; a waiting one never starts."""
        self.cancelled.set()


@dataclass(eq=False)
class _Lane:
    """One thread: its running jobs, the innermost last; since when that one has had it; its last sign of life."""

    needs_model: bool
    used: TimeUsed
    running: list[tuple[Work, float]] = field(default_factory=list)
    resumed: float = 0.0
    beaten: float = field(default_factory=time.monotonic)

    def charge(self) -> None:
        """Put the time since ``resumed`` down to the innermost job's user."""
        now = time.monotonic()
        if self.running:
            self.used.add(self.running[-1][0].user, now - self.resumed)
        self.resumed = self.beaten = now


class Turn:
    """What a running job holds: its way to pause."""

    def __init__(self, queue: ModelQueue, lane: _Lane, work: Work) -> None:
        self._queue, self._lane, self._work = queue, lane, work

    def pause(self) -> None:
        """Do what came meanwhile for other sessions and comes first, then go on.

        Raises:
            Cancelled: somebody asked the job to stop.
        """
        self._lane.charge()
        if self._work.cancelled.is_set():
            raise Cancelled("the job was cancelled; the session is as it was before")
        self._queue.give_way(self._lane, self._work)


class ModelQueue:
    """The queue of one model and its threads.

    Args:
        name: of the model's thread.
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
        beside = TimeUsed()
        self._model = _Lane(True, TimeUsed())
        self._lanes = (self._model, *(_Lane(False, beside) for _ in range(BESIDE)))
        self._threads = [
            threading.Thread(
                target=self._run, args=(lane,), name=f"{'model' if lane.needs_model else 'beside'} {name}", daemon=True
            )
            for lane in self._lanes
        ]
        for thread in self._threads:
            thread.start()

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
            self._changed.notify_all()
        return work

    def waiting(self) -> int:
        """Return how many jobs wait."""
        return sum(len(jobs) for line in self._waiting.values() for jobs in line.values())

    def silent_s(self) -> float:
        """Return for how long a thread has been inside one call without a pause, in seconds; 0 while all wait."""
        now = time.monotonic()
        return max((now - lane.beaten for lane in self._lanes if lane.running), default=0.0)

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
        for work, began in self._model.running:
            if work.priority in _up_to(priority):
                seconds += max(0.0, self._typical_s[work.priority] - (time.monotonic() - began))
        return seconds

    def close(self) -> None:
        """Stop the threads after the running jobs; waiting ones are told."""
        with self._changed:
            self._closed = True
            left = [work for line in self._waiting.values() for jobs in line.values() for work in jobs]
            for line in self._waiting.values():
                line.clear()
            for lane in self._lanes:
                for work, _ in lane.running:
                    work.cancel()
            self._changed.notify_all()
        for work in left:
            work.future.set_exception(BusyError("the server is stopping; try again in a moment", 5.0, own=False))
        deadline = time.monotonic() + CLOSE_S
        for thread in self._threads:
            if threading.current_thread() is not thread:
                thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def give_way(self, lane: _Lane, work: Work) -> None:
        """Do what comes before a running job, which calls this between two slices."""
        for _ in range(self.waiting()):
            with self._changed:
                other = self._take(_up_to(work.priority)[:-1], lane)
                if other is None and len(lane.running) < MOST_NESTED:
                    had_s = lane.used.of(work.user)
                    other = self._next(work.priority, lane, below_s=min(had_s / 2, had_s - QUANTUM_S))
            if other is None:
                return
            self._do(lane, other)

    def _take(self, kinds: Sequence[Priority], lane: _Lane) -> Work | None:
        if Priority.OPEN in kinds and not self._opened_last and self._open_is_late():
            kinds = sorted(kinds, key=lambda kind: kind is not Priority.OPEN)
        work = next((work for kind in kinds if (work := self._next(kind, lane)) is not None), None)
        if lane.needs_model:
            self._opened_last = work is not None and work.priority is Priority.OPEN
        return work

    def _open_is_late(self) -> bool:
        limit = time.monotonic() - OPEN_PATIENCE_S
        return any(job.since <= limit for jobs in self._waiting[Priority.OPEN].values() for job in jobs)

    def _next(self, priority: Priority, lane: _Lane, below_s: float = math.inf) -> Work | None:
        """Take the first job of who had least of the thread lately, and less than ``below_s``; in turn where equal."""
        line = self._waiting[priority]
        found = [(user, job) for user, jobs in line.items() if (job := self._first(jobs, lane)) is not None]
        found = [one for one in found if lane.used.of(one[0]) < below_s]
        if not found:
            return None
        user, job = min(found, key=lambda one: int(lane.used.of(one[0]) / QUANTUM_S))
        line[user].remove(job)
        line.move_to_end(user)
        if not line[user]:
            del line[user]
        return job

    def _first(self, jobs: Iterable[Work], lane: _Lane) -> Work | None:
        """Return the first of one person's jobs that this thread may do now."""
        running = [(work, other) for other in self._lanes for work, _ in other.running]
        taken = {work.session for work, _ in running}
        beside = {work.user for work, other in running if not other.needs_model and other is not lane}
        for job in jobs:
            if job.session not in taken and job.needs_model is lane.needs_model:
                return job if lane.needs_model or job.user not in beside else None
            taken.add(job.session)  # what comes later on this session comes later
        return None

    def _run(self, lane: _Lane) -> None:
        while True:
            with self._changed:
                while (work := self._take(tuple(Priority), lane)) is None:
                    if self._closed:
                        return
                    self._changed.wait()
            self._do(lane, work)

    def _do(self, lane: _Lane, work: Work) -> None:
        if work.cancelled.is_set() or not work.future.set_running_or_notify_cancel():
            if not work.future.done():
                work.future.set_exception(Cancelled("the job was cancelled before it began"))
            return
        with self._changed:
            lane.charge()
            began = lane.resumed
            lane.running.append((work, began))
        try:
            result = work.call(Turn(self, lane, work))
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the one who waits gets it
            work.future.set_exception(exc)
        else:
            work.future.set_result(result)
        finally:
            with self._changed:
                lane.charge()
                lane.running.remove((work, began))
                if lane.needs_model:
                    old = self._typical_s[work.priority]
                    self._typical_s[work.priority] = old + SMOOTHING * (time.monotonic() - began - old)
                self._changed.notify_all()  # its session's next job may be another thread's


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
