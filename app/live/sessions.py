"""Sessions as they are served: opened, found again, worked on, and put away.

The state of a session is its journal on disk. What lies in memory may go at any time, by idleness, for room, or with
the process: the next request brings it back by replay, here or in another process.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal, TypeVar
from weakref import ref

from filelock import FileLock

from promptseg.app.errors import BusyError, HeldElsewhereError
from promptseg.app.live.housekeeper import Housekeeper
from promptseg.app.live.leases import Leases
from promptseg.app.live.memory import MemoryBudget
from promptseg.app.live.queueing import ModelQueues, Priority, Turn, Work
from promptseg.app.live.room import SessionRoom
from promptseg.app.live.served import Change, Served
from promptseg.app.live.stored import StoredSessions
from promptseg.app.settings import ServeSettings
from promptseg.app.store import Database, SessionRow, Study
from promptseg.app.studies.series import Content, Series, VolumeCache
from promptseg.app.studies.sharing import Role, Shares
from promptseg.errors import ModelError
from promptseg.models.loading import load_predictor
from promptseg.models.weights.registry import model_card
from promptseg.session.keeping import OpenFolder, WriteGuard, begin
from promptseg.session.restoring import as_stored, predictor_of, restore
from promptseg.session.session import Session
from promptseg.volume import Volume
from promptseg.volume.label_voxels import Changed

__all__ = ["ServedSessions", "SessionStep"]

T = TypeVar("T")
SessionStep = Callable[[Session, Turn], Changed | None]
Changes = Literal["refuse", "again", "stored"]
Holding = Callable[[], Served | None]
TAKE_OVER_S = 6.0  # how long a request waits for another process to hand a session over


class ServedSessions:
    """All sessions that this process serves.

    Args:
        settings: limits, device.
        database: the store.
        volumes: images in memory.
        shares: who may do what.
    """

    def __init__(self, settings: ServeSettings, database: Database, volumes: VolumeCache, shares: Shares) -> None:
        self._settings, self._limits = settings, settings.limits
        self._database, self._volumes = database, volumes
        self.stored = StoredSessions(database, shares)
        self.queues = ModelQueues(per_user=self._limits.queue_per_user, total=self._limits.queue_total)
        self.leases = Leases(database, settings.data / "processes", settings.limits.lease_s)
        self._live: dict[str, Served] = {}
        self._active: dict[str, int] = {}
        self._lock = threading.RLock()
        self._opening: dict[str, threading.Lock] = {}
        self.memory = MemoryBudget(self._limits.memory_bytes, self._limits.embedding_bytes)
        self.memory.count(volumes.held_bytes)
        self.memory.count(lambda: sum(one.nbytes + self.memory.embeddings for one in list(self._live.values())))
        self.room = SessionRoom(self._live, self.memory, settings, self.put_away)
        self._housekeeper = Housekeeper(self._live, self.leases, self._limits, self.put_away, self._forget)

    # --- open, find, put away -----------------------------------------------------------------------------------

    def open(self, owner: str, study: Study, series: Series, frame: int | None, model: str) -> Served:
        """Open a new session.

        Raises:
            PromptsegError: the model or the image cannot be used.
            BusyError: there is no room in memory.
        """
        if self._settings.models and model not in self._settings.models:
            raise ModelError(f"expected one of the models {', '.join(self._settings.models)}, got {model!r}")
        model_card(model)
        with self.room.one_more(owner, self._volumes.needed(study.id, series, frame)):  # before anything is read
            volume = self._volumes.volume(study.id, Path(study.folder), series, frame)
            return self._begun(owner, study, series, frame, model, volume)

    def _begun(self, owner: str, study: Study, series: Series, frame: int | None, model: str, volume: Volume) -> Served:
        session_id = secrets.token_hex(16)
        folder = self._settings.data / "sessions" / session_id
        guard, hold = self._guard(session_id, folder)
        session = Session(volume, load_predictor(model, self._settings.device), cache_bytes=self.memory.embeddings)
        place = f"study {study.id} {series.id} {0 if frame is None else frame}"  # what the store says, too
        begin(session, folder, place, guard=guard, alone=False)
        now = time.time()
        row = SessionRow(
            id=session_id,
            owner=owner,
            study_id=study.id,
            series=series.id,
            frame=frame,
            title=study.title,
            model=session.model_id,
            folder=str(folder),
            view={},
            holder=self.leases.holder,
            lease_until=self.leases.wall(),
            created=now,
            last_seen=now,
        )
        until = self.leases.until()
        self.stored.add(row)
        return self._register(Served(session_id, owner, study.id, session, 0, lease_until=until), hold)

    def held(self, session_id: str) -> Served | None:
        """Return a session where it is in memory; the caller has looked at its row."""
        return self._live.get(session_id)

    def find(self, user: str, session_id: str, role: Role = Role.EDITOR) -> Served | None:
        """Return a session that is in memory to someone who may; None where it must be fetched. Waits for nobody."""
        served = self._live.get(session_id)
        if served is None or time.monotonic() > served.lease_until:
            return None
        if not self.stored.is_known(user, served.study_id):
            return None
        self.stored.require(user, served, role)
        served.last_seen = time.time()
        return served

    def get(self, user: str, session_id: str, role: Role = Role.EDITOR, changed: Changes = "refuse") -> Served:
        """Return a session to someone who may, from its journal where it is not in memory. May take long.

        Raises:
            NotFoundError: no such session, or none of this user's business.
            ForbiddenError: the user may look at it only.
            HeldElsewhereError: another process is working on it.
            ChangedError: its image, weights or masks are not those of then; ``changed`` is as in ``promptseg.resume``.
        """
        self.stored.row(user, session_id, role)
        with self._opening_of(session_id):
            served = self.find(user, session_id, role)  # the role is known since a moment ago
            return served if served is not None else self._bring_back(self.stored.row(user, session_id, role), changed)

    def put_away(self, session_id: str) -> bool:
        """Free a session's memory and give up its lease, unless it is at work or on its way back; nothing is lost.

        Who asks for it meanwhile waits until the lease is given up: taken before that, it would be lost again.
        """
        opening = self._opening_of(session_id)
        if not opening.acquire(blocking=False):
            return False
        try:
            with self._lock:
                if self._active.get(session_id, 0):
                    return False
                served = self._live.pop(session_id, None)
            if served is not None:
                served.session.snapshot()
                self.stored.change(session_id, last_seen=served.last_seen, labels=served.shown.names)
                self.leases.release(session_id)
            return True
        finally:
            opening.release()

    def remove(self, owner: str, session_id: str) -> None:
        """Delete a session for good.

        Raises:
            NotFoundError: no such session.
            BusyError: it is at work.
        """
        row = self.stored.row(owner, session_id, Role.OWNER)
        if not self.put_away(session_id):
            raise BusyError("the session is at work; cancel that first", 1.0, own=True)
        self.stored.remove(session_id)
        shutil.rmtree(row.folder, ignore_errors=True)
        with self._lock:
            self._opening.pop(session_id, None)

    def set_view(self, served: Served, value: int, **view: Any) -> None:
        """Keep how a label is shown (visible, opacity): no part of the mask, so no part of the journal."""
        served.view = {**served.view, str(value): {**served.view.get(str(value), {}), **view}}
        served.shown = served.look()
        self.stored.change(served.id, view=served.view)

    # --- work ---------------------------------------------------------------------------------------------------

    def submit(
        self,
        served: Served,
        step: SessionStep,
        priority: Priority = Priority.INTERACTIVE,
        *,
        needs_model: bool = True,
        job: str = "",
        then: Callable[[Future[Change]], None] | None = None,
    ) -> Work:
        """Queue a step on a session; the work's future gives its ``Change``.

        Args:
            served: the session.
            step: what to do.
            priority: when.
            needs_model: False: it asks the model nothing, and is done beside the model's thread.
            job: id of the long job that the step is. A click on the same session cancels it and is answered then.
            then: called with the future when the step has ended, whatever its end.

        Raises:
            BusyError: too much is waiting, or the step is long and another long one runs on this session.
            HeldElsewhereError: the session was put away; ``get`` brings it back.
        """
        if served.job and priority is Priority.INTERACTIVE:
            served.cancel_job()

        def call(turn: Turn) -> Change:
            return served.do(lambda session: step(session, turn))

        return self._queued(served, call, priority, job, then, needs_model)

    def ask(self, served: Served, question: Callable[[Session], T], priority: Priority = Priority.INTERACTIVE) -> Work:
        """Queue something that only reads the engine's session; the work's future gives the answer.

        Raises:
            BusyError, HeldElsewhereError: as ``submit``.
        """
        return self._queued(served, lambda _: question(served.session), priority, "", None, False)

    def _queued(
        self,
        served: Served,
        call: Callable[[Turn], Any],
        priority: Priority,
        job: str,
        then: Callable[[Future[Any]], None] | None,
        needs_model: bool,
    ) -> Work:
        def checked(turn: Turn) -> Any:
            if self._live.get(served.id) is not served:
                raise HeldElsewhereError("the session moved to another process; try again")
            return call(turn)

        work = Work(served.owner, served.id, priority, checked, needs_model)
        with self._lock:
            if self._live.get(served.id) is not served:
                raise HeldElsewhereError("the session was put away; try again")
            if served.job and (job or priority is Priority.BATCH):
                raise BusyError("a long job runs on this session; wait for it, or cancel it first", 1.0, own=True)
            if job:
                served.job, served.cancel_job = job, work.cancel
            self._enter(served.id)
        try:
            self.queues.of(served.session.model_id).submit(work)
        except BusyError:
            if job:
                served.job = ""
            self._leave(served.id)
            raise
        work.future.add_done_callback(lambda _: self._leave(served.id))
        if then is not None:
            work.future.add_done_callback(then)
        return work

    def close(self) -> None:
        """Stop: running steps are cancelled at their next pause, every session is given up."""
        self._housekeeper.stop()
        self.queues.close()
        self._housekeeper.join()
        for served in list(self._live.values()):
            served.session.snapshot()
            self.stored.change(served.id, last_seen=served.last_seen, labels=served.shown.names)
        self._live.clear()
        self.leases.close()

    def counts(self) -> dict[str, float]:
        """Return numbers for metrics: sessions, bytes, waiting jobs."""
        return {
            "sessions": len(self._live),
            "session_bytes": self.memory.held(),
            "waiting": self.queues.waiting(),
        }

    # --- inside -------------------------------------------------------------------------------------------------

    def _opening_of(self, session_id: str) -> threading.Lock:
        """Return what one thread holds at a time: the one that brings a session back, or puts it away."""
        with self._lock:
            return self._opening.setdefault(session_id, threading.Lock())

    def _enter(self, session_id: str) -> None:
        with self._lock:
            self._active[session_id] = self._active.get(session_id, 0) + 1

    def _leave(self, session_id: str) -> None:
        with self._lock:
            self._active[session_id] -= 1
            if not self._active[session_id]:
                del self._active[session_id]

    def _guard(self, session_id: str, folder: Path) -> tuple[WriteGuard, list[Holding]]:
        """Return what lets only the holder write, and a list for the served session: weak, as that holds the guard."""
        holding: list[Holding] = []
        lock = FileLock(folder / "lock", thread_local=False)

        def guard(append: Callable[[Any], None]) -> Callable[[Any], None]:
            def record(entry: Any) -> None:
                served = holding[0]()
                if served is None:
                    raise HeldElsewhereError("the session was put away; try again")
                with lock:
                    if time.monotonic() > served.lease_until and not self._renew_one(served):
                        raise HeldElsewhereError("the session moved to another process; try again")
                    append(entry)
                served.revision += 1

            return record

        return guard, holding

    def _renew_one(self, served: Served) -> bool:
        until, held = self.leases.renew([served.id])
        if held[0].mine:
            served.lease_until = until
        return held[0].mine

    def _register(self, served: Served, holding: list[Holding]) -> Served:
        holding.append(ref(served))
        with self._lock:
            self._live[served.id] = served
        return served

    def _bring_back(self, row: SessionRow, changed: Changes) -> Served:
        lock = FileLock(Path(row.folder) / "lock", thread_local=False)
        deadline = time.monotonic() + TAKE_OVER_S
        while (until := self.leases.acquire(row.id, lock)) is None:
            if time.monotonic() > deadline or self._housekeeper.stopped.is_set():
                raise HeldElsewhereError("another process of this server works on the session; try again in a moment")
            time.sleep(0.1)
        self._forget(row.id)
        with self._database.transaction() as store:
            study = store.get_one(Study, row.study_id)
        series = Content.from_dict(study.content).get(row.series)
        with self.room.one_more(row.owner, self._volumes.needed(study.id, series, row.frame)):
            volume = self._volumes.volume(study.id, Path(study.folder), series, row.frame)
            return self._from_journal(row, volume, changed, until)

    def _from_journal(self, row: SessionRow, volume: Volume, changed: Changes, until: float) -> Served:
        folder = Path(row.folder)
        guard, hold = self._guard(row.id, folder)

        def again(turn: Turn) -> Session:
            past, room = OpenFolder.open(folder, guard=guard, alone=False), self.memory.embeddings
            predictor = predictor_of(past, self._settings.device)
            if changed == "stored":
                return as_stored(volume, past, predictor, cache_bytes=room)
            strict, told = changed == "refuse", lambda _: turn.pause()
            return restore(volume, past, predictor, strict=strict, cache_bytes=room, on_progress=told)

        self._enter(row.id)
        try:
            future: Future[Session] = (
                self.queues.of(row.model).submit(Work(row.owner, row.id, Priority.OPEN, again)).future
            )
            session = self._await_held(row.id, future)
        finally:
            self._leave(row.id)
        served = Served(row.id, row.owner, row.study_id, session, session.revision, dict(row.view))
        served.lease_until = until
        if not self._renew_one(served):
            raise HeldElsewhereError("another process of this server took the session; try again in a moment")
        return self._register(served, hold)

    def _await_held(self, session_id: str, future: Future[Session]) -> Session:
        """Wait for a replay, however long, without losing the lease meanwhile."""
        while True:
            try:
                return future.result(timeout=self._limits.lease_s / 3)
            except TimeoutError:
                if future.done():
                    raise
                self.leases.renew([session_id])

    def _forget(self, session_id: str) -> None:
        with self._lock:
            self._live.pop(session_id, None)
