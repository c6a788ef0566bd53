"""Long work with progress: propagation, whole-body runs, downloads of models.

A job lives in the process that runs it; the store keeps how it ended. A process that dies takes its running jobs with
it: they are then told as failed, and the session is as it was before them.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import delete, update

from promptseg.app.errors import BusyError, HeldElsewhereError, NotFoundError
from promptseg.app.live.leases import Leases
from promptseg.app.live.queueing import Priority, Turn
from promptseg.app.live.served import Change, Served
from promptseg.app.live.sessions import ServedSessions
from promptseg.app.store import Database
from promptseg.app.store import Job as JobRow
from promptseg.engine.progress import Progress
from promptseg.errors import Cancelled, PromptsegError
from promptseg.session.session import Session
from promptseg.volume.label_voxels import Changed, union

__all__ = ["Jobs", "LiveJob", "TellProgress"]

LOGGER = logging.getLogger(__name__)
KEPT = 500  # finished jobs whose last event stays in memory
THREADS = 12  # whole-body runs wait in theirs, one case at a time
TRY_AGAIN_S = 0.5  # a finished run waits for the session like this
SHOWN_EVERY_S = 0.1  # progress events are no denser than this
T = TypeVar("T")
TellProgress = Callable[[int, int, float], None]  # done, total, seconds left
Watch = Callable[[Progress], None]
LAST = ("done", "cancelled", "failed")


@dataclass(eq=False)
class LiveJob:
    """A job of this process; ``listen`` calls back for the last event and each new one.

    An event is plain JSON types, but for its "delta": a ``Change`` or None.
    """

    id: str
    owner: str
    session_id: str | None
    kind: str
    created: float = field(default_factory=time.time)
    state: str = "waiting"
    last: dict[str, Any] | None = None
    cancel: Callable[[], None] = field(default=lambda: None, repr=False)
    in_thread: bool = False
    _listeners: list[Callable[[dict[str, Any]], None]] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def publish(self, event: dict[str, Any]) -> None:
        """Tell everyone who listens."""
        with self._lock:
            self.last = event
            self.state = event["kind"] if event["kind"] in LAST else "running"
            listeners = list(self._listeners)
        for listener in listeners:
            listener(event)

    def listen(self, listener: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Call back for the last event so far and every one from now on; the returned function ends that."""
        with self._lock:
            self._listeners.append(listener)
            last = self.last
        if last is not None:
            listener(last)
        return lambda: self._listeners.remove(listener)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``GET /jobs/{id}`` tells."""
        last = self.last or {}
        plain = {"id": self.id, "kind": self.kind, "session": self.session_id, "state": self.state}
        return {
            **plain,
            "created": self.created,
            "code": last.get("code", ""),
            "detail": last.get("detail", ""),
            "done": last.get("done"),
            "total": last.get("total"),
            "left_s": last.get("left_s"),
        }


class Jobs:
    """All jobs that this process runs.

    Args:
        database: the store.
        sessions: where jobs on sessions are queued.
        per_user: jobs in threads of their own of one user at a time.
    """

    def __init__(self, database: Database, sessions: ServedSessions, per_user: int) -> None:
        self._database, self._sessions, self._per_user = database, sessions, per_user
        self._jobs: OrderedDict[str, LiveJob] = OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="job")

    def on_session(self, served: Served, kind: str, step: Callable[[Session, Watch], Changed | None]) -> LiveJob:
        """Queue a long step on a session.

        Raises:
            BusyError: too much is waiting, or another job runs on the session.
            HeldElsewhereError: the session was put away; ``ServedSessions.get`` brings it back.
        """
        job = self._new(served.owner, served.id, kind)
        preview = _Preview(job, served)

        def run(session: Session, turn: Turn) -> Changed | None:
            return step(session, lambda progress: preview.show(progress, turn))

        def finish(future: Future[Change]) -> None:
            served.job = ""
            self._end(job, future, lambda change: {"kind": "done", "delta": change}, preview.taken_back)

        try:
            work = self._sessions.submit(served, run, Priority.BATCH, job=job.id, then=finish)
        except PromptsegError:
            self._drop(job)
            raise
        job.cancel = work.cancel
        return job

    def plain(self, owner: str, kind: str, call: Callable[[TellProgress], Any]) -> LiveJob:
        """Run long work that touches no session, in a thread.

        Raises:
            BusyError: as many of the owner's run already.
        """
        job = self._new(owner, None, kind, in_thread=True)
        future = self._pool.submit(call, self._reporter(job))
        future.add_done_callback(lambda f: self._end(job, f, lambda _: {"kind": "done", "delta": None}))
        return job

    def beside_session(
        self, served: Served, kind: str, work: Callable[[TellProgress], T], land: Callable[[Session, T], Changed | None]
    ) -> LiveJob:
        """Run long work in a thread while clicks go on, then put what it gave into the session as one step.

        Raises:
            BusyError: such a job runs beside the session already, or as many of the owner's elsewhere.
        """
        if self.on(served.id) is not None:
            raise BusyError("a long job runs for this session; wait for it, or cancel it first", 1.0, own=True)
        job = self._new(served.owner, served.id, kind, in_thread=True)
        report = self._reporter(job)

        def call() -> Change:
            result = work(report)
            while True:
                report(1, 1, 0.0)
                try:
                    now = self._sessions.get(job.owner, served.id)  # it may have been put away meanwhile
                    step = self._sessions.submit(now, lambda session, _: land(session, result), Priority.BATCH)
                    change: Change = step.future.result()
                    return change
                except (BusyError, HeldElsewhereError):  # a propagation runs: after it
                    time.sleep(TRY_AGAIN_S)

        future = self._pool.submit(call)
        future.add_done_callback(lambda f: self._end(job, f, lambda change: {"kind": "done", "delta": change}))
        return job

    def on(self, session_id: str) -> LiveJob | None:
        """Return the job of this process that runs on a session, None where none does."""
        running = (job for job in list(self._jobs.values()) if job.session_id == session_id and job.state not in LAST)
        return next(running, None)

    def _reporter(self, job: LiveJob) -> TellProgress:
        """Return what publishes progress, and ends a cancelled job's thread."""
        stop = threading.Event()
        job.cancel = stop.set

        def report(done: int, total: int, left_s: float) -> None:
            if stop.is_set():
                raise Cancelled("the job was cancelled")
            job.publish(_progress(done, total, left_s))

        return report

    def get(self, owner: str, job_id: str) -> LiveJob:
        """Return a job of this owner; one of another process as it stands in the store.

        Raises:
            NotFoundError: no such job, or another's.
        """
        job = self._jobs.get(job_id)
        if job is None:
            job = self._stored(job_id, self._sessions.leases)
        if job is None or (job.owner != owner and job.session_id is None):
            raise NotFoundError(f"no job {job_id!r}")
        if job.owner != owner:  # a colleague's session is looked at by whom its study is shared with
            try:
                self._sessions.stored.row(owner, str(job.session_id))
            except NotFoundError:
                raise NotFoundError(f"no job {job_id!r}") from None
        return job

    def running(self) -> int:
        """Return how many jobs have not ended."""
        return sum(job.state not in LAST for job in list(self._jobs.values()))

    def close(self) -> None:
        """Cancel what runs."""
        for job in list(self._jobs.values()):
            job.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _new(self, owner: str, session_id: str | None, kind: str, *, in_thread: bool = False) -> LiveJob:
        own = sum(job.in_thread and job.owner == owner and job.state not in LAST for job in list(self._jobs.values()))
        if in_thread and own >= self._per_user:
            raise BusyError(f"{own} long jobs of yours run already; wait for one, or cancel it first", 5.0, own=True)
        job = LiveJob(secrets.token_hex(16), owner, session_id, kind, in_thread=in_thread)
        with self._database.transaction() as store:
            store.add(
                JobRow(
                    id=job.id,
                    owner=owner,
                    session_id=session_id,
                    kind=kind,
                    state="running",
                    detail="",
                    holder=self._sessions.leases.holder,
                    created=job.created,
                )
            )
        with self._lock:
            self._jobs[job.id] = job
            while len(self._jobs) > KEPT:
                oldest = next(iter(self._jobs))
                if self._jobs[oldest].state not in LAST:
                    break
                del self._jobs[oldest]
        return job

    def _drop(self, job: LiveJob) -> None:
        """Forget a job that was refused: nothing runs."""
        with self._database.transaction() as store:
            store.execute(delete(JobRow).where(JobRow.id == job.id))
        with self._lock:
            self._jobs.pop(job.id, None)

    def _end(
        self,
        job: LiveJob,
        future: Future[Any],
        done: Callable[[Any], dict[str, Any]],
        undone: Callable[[], Change | None] = lambda: None,
    ) -> None:
        event: dict[str, Any]
        try:
            event = done(future.result())
        except (Cancelled, CancelledError):
            event = {"kind": "cancelled", "delta": undone()}
        except PromptsegError as exc:
            event = {**exc.facts, "kind": "failed", "code": exc.code, "detail": str(exc), "delta": undone()}
        except Exception as exc:
            detail = f"unexpected {type(exc).__name__}; the server's log has more"
            event = {"kind": "failed", "code": "unexpected", "detail": detail}
            LOGGER.exception("a job of the kind %s failed", job.kind)
        with self._database.transaction() as store:
            store.execute(
                update(JobRow)
                .where(JobRow.id == job.id)
                .values(state=event["kind"], detail=event.get("detail", ""), finished=time.time())
            )
        job.publish(event)

    def _stored(self, job_id: str, leases: Leases) -> LiveJob | None:
        with self._database.transaction() as store:
            row = store.get(JobRow, job_id)
        if row is None:
            return None
        job = LiveJob(row.id, row.owner, row.session_id, row.kind, created=row.created)
        if row.state in LAST:
            job.publish({"kind": row.state, "detail": row.detail, "delta": None})
        elif not leases.is_alive(row.holder):
            detail = "the server stopped while it ran; start it again"
            job.publish({"kind": "failed", "code": "stopped", "detail": detail})
        else:
            job.state = "running"
        return job


def _progress(done: int, total: int, left_s: float, delta: Change | None = None) -> dict[str, Any]:
    return {"kind": "progress", "done": done, "total": total, "left_s": round(left_s, 1), "delta": delta}


class _Preview:
    """Shows a long step's mask while it grows, and takes it back when the step does not come into force."""

    def __init__(self, job: LiveJob, served: Served) -> None:
        self._job, self._served = job, served
        self._shown_at = 0.0
        self._fresh: Changed | None = None
        self._all: Changed | None = None

    def show(self, progress: Progress, turn: Turn) -> None:
        """Tell how far the step is and what has changed since the last time."""
        turn.pause()
        if progress.plane is None:  # a breath inside a slow slice: nothing is finished
            return
        if progress.changed is not None:
            self._fresh = progress.changed if self._fresh is None else union([self._fresh, progress.changed])
        if time.monotonic() - self._shown_at < SHOWN_EVERY_S:
            return
        self._shown_at = time.monotonic()
        delta, box = None, self._fresh
        if box is not None:
            self._all = box if self._all is None else union([self._all, box])
            self._fresh = None
            delta = self._served.preview(box, progress.labels_in(box))
        self._job.publish(_progress(progress.done, progress.total, progress.left_s, delta))

    def taken_back(self) -> Change | None:
        """Return the Delta that undoes everything shown, None when nothing was."""
        return None if self._all is None else self._served.restored(self._all)
