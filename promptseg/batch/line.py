"""An assembly line: three warm processes (prepare, infer, finish) on one device, a few cases on the way between them.

While the network works on one case, the next is read and resampled and the last one written. Cases wait in a queue
before each step; ``DEPTH`` bounds them all together, and with them memory and disk.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptseg.batch.case import Case
from promptseg.batch.job import JobSpec
from promptseg.batch.process import Limits, WorkerProcess
from promptseg.batch.worker import ROLES
from promptseg.errors import StartError

__all__ = ["DEPTH", "Line", "LineSettings", "Outcome"]

DEPTH = 4  # one case in each step, and one that is ready when the device becomes free
LOOK_S = 0.2


@dataclass(frozen=True)
class LineSettings:
    """What every line of a batch has in common.

    Attributes:
        spec: the job.
        staging: folder, beside the results, that each case's files are written into: ``staging/<case id>``.
        timeout_s: seconds of work on one case, waiting and loading not counted; None: no limit.
        memory_mib: of each process, children included; None: no limit.
    """

    spec: JobSpec
    staging: Path
    timeout_s: float | None = None
    memory_mib: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a case ended on a line.

    Attributes:
        case_id: which.
        kind: None when its files lie in the staging folder; "error", "refused" (by the reader or the engine: another
            attempt would end alike), "timeout", "memory", "died", "start", "lost", "stopped" or "withdrawn".
        reason: a sentence for people.
        stages: seconds of work per step.
        peak_mib: largest memory of a process that worked on it.
        data: what goes into the case's receipt.
    """

    case_id: str
    kind: str | None = None
    reason: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)
    peak_mib: float = 0.0
    data: Mapping[str, Any] = field(default_factory=dict)


class Line:
    """One line. Its methods may be called by several threads.

    Args:
        settings: see ``LineSettings``.
        scratch: a folder of its own, on this machine, for values between the steps.
        environment: for its processes, e.g. which GPU they see.
    """

    def __init__(self, settings: LineSettings, scratch: Path, environment: Mapping[str, str]) -> None:
        self._settings, self._scratch = settings, scratch
        self._workers = {role: WorkerProcess(role, settings.spec, scratch, environment) for role in ROLES}
        self._queues: dict[str, deque[str]] = {role: deque() for role in ROLES}  # the first one is in the step
        self._changed = threading.Condition()
        self._where: dict[str, tuple[str, float]] = {}
        self._withdrawn: set[str] = set()
        self._stopped = False

    def open(self) -> None:
        """Start all processes and load the network.

        Raises:
            StartError: one of them cannot.
        """
        failures: list[StartError] = []

        def start(worker: WorkerProcess) -> None:
            try:
                worker.start()
            except StartError as exc:
                failures.append(exc)

        threads = [threading.Thread(target=start, args=(worker,)) for worker in self._workers.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            self.stop()
            raise failures[0]

    def run_case(self, case: Case) -> Outcome:
        """Take one case through all steps; call from up to ``DEPTH`` threads at once."""
        spool, folder = self._scratch / case.id, self._settings.staging / case.id
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier attempt
        spool.mkdir(parents=True, exist_ok=True)
        try:
            return self._steps(case, spool, folder)
        finally:
            self._where.pop(case.id, None)
            self._withdrawn.discard(case.id)
            shutil.rmtree(spool, ignore_errors=True)

    def _steps(self, case: Case, spool: Path, folder: Path) -> Outcome:
        stages: dict[str, float] = {}
        peak = 0.0
        for role in ROLES:
            if not self._enter(role, case.id):
                return Outcome(case.id, "stopped" if self._stopped else "withdrawn", stages=stages)
            try:
                self._where[case.id] = (role, time.monotonic())
                left = self._settings.timeout_s and max(self._settings.timeout_s - sum(stages.values()), 0.0)
                reply = self._workers[role].run(case, spool, folder, Limits(left, self._settings.memory_mib))
            except StartError as exc:
                return Outcome(case.id, "start", f"its worker could not start again: {exc}", stages, peak)
            finally:
                self._leave(role, case.id)
            stages[role], peak = reply.seconds, max(peak, reply.peak_mib)
            if not reply.ok:
                return Outcome(case.id, reply.kind, reply.reason or "", stages, peak)
        return Outcome(case.id, None, "", stages, peak, reply.data)

    def _enter(self, role: str, case_id: str) -> bool:
        """Wait for a step, first come, first served; False when the case was withdrawn or the line stopped."""
        queue = self._queues[role]
        self._where[case_id] = (f"waits to {role}", time.monotonic())
        with self._changed:
            queue.append(case_id)
            while queue[0] != case_id and not self._is_over(case_id):
                self._changed.wait(LOOK_S)
            if not self._is_over(case_id):
                return True
        self._leave(role, case_id)
        return False

    def _leave(self, role: str, case_id: str) -> None:
        with self._changed:
            self._queues[role].remove(case_id)
            self._changed.notify_all()

    def _is_over(self, case_id: str) -> bool:
        return self._stopped or case_id in self._withdrawn

    def status(self) -> dict[str, tuple[str, float]]:
        """Return for each case on the line: its step ("infer", "waits to infer") and since how many seconds."""
        now = time.monotonic()
        return {case_id: (role, now - since) for case_id, (role, since) in list(self._where.items())}

    def withdraw(self, case_id: str) -> None:
        """Give a case back that still waits for a step, so that an idle line can take it; others are left alone."""
        if self._where.get(case_id, ("", 0))[0].startswith("waits"):
            self._withdrawn.add(case_id)

    def stop(self) -> None:
        """Kill all processes; cases under way end as "stopped"."""
        self._stopped = True
        for worker in self._workers.values():
            worker.stop()
        shutil.rmtree(self._scratch, ignore_errors=True)
