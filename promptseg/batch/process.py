"""A worker process seen from its parent: started warm, given one case at a time, held to its limits, replaced."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from promptseg.batch.case import Case
from promptseg.batch.job import JobSpec
from promptseg.errors import StartError

__all__ = ["LOAD_LIMIT_S", "Limits", "Reply", "WorkerProcess"]

POLL_S = 0.1  # how soon a limit is noticed
LOAD_LIMIT_S = 1800.0  # a large network from a slow disk; a process that takes longer hangs
MIB = 1024.0 * 1024.0


@dataclass(frozen=True)
class Limits:
    """``seconds`` of work and ``memory_mib`` of resident memory, children included; None: no limit."""

    seconds: float | None = None
    memory_mib: float | None = None


@dataclass(frozen=True)
class Reply:
    """How a step ended.

    Attributes:
        ok: True when it did what it should.
        seconds: how long it took.
        peak_mib: largest resident memory seen of the process and its children.
        kind: "error", "timeout", "memory", "died" or "stopped"; None when ``ok``.
        reason: a sentence; None when ``ok``.
        data: what the step tells.
    """

    ok: bool
    seconds: float
    peak_mib: float = 0.0
    kind: str | None = None
    reason: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


class WorkerProcess:
    """One step of one job in a process of its own.

    Args:
        role: "prepare", "infer" or "finish".
        spec: the job.
        scratch: folder for ``<role>.log`` (what libraries print) and for values between steps; the worker removes it
            when its parent is gone.
        environment: added to this process's own.
    """

    def __init__(self, role: str, spec: JobSpec, scratch: Path, environment: Mapping[str, str]) -> None:
        self.role = role
        self._spec, self._scratch, self._environment = spec, scratch, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the process, if it is not running, and wait until its job is loaded.

        Raises:
            StartError: it could not load.
        """
        if self._process is not None and self._process.poll() is None:
            return
        if self._stopped.is_set():
            raise StartError("the batch was stopped")
        self._scratch.mkdir(parents=True, exist_ok=True)
        with (self._scratch / f"{self.role}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "promptseg.batch.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,  # Ctrl-C reaches the batch only, and a kill takes the worker's children along
            )
        self._answers = queue.Queue()
        threading.Thread(target=_collect, args=(self._process, self._answers), daemon=True).start()
        self._send((self.role, self._spec, str(self._scratch)))
        answer = self._wait(Limits(LOAD_LIMIT_S))
        if not answer.get("ok"):
            self._end()
            raise StartError(answer["reason"])

    def run(self, case: Case, spool: Path, folder: Path, limits: Limits) -> Reply:
        """Do the step for one case; a worker that dies or breaks a limit is gone afterwards, the next call starts anew.

        Raises:
            StartError: it could not be started.
        """
        self.start()
        started = time.perf_counter()
        peak = [0.0]
        self._send({"case": case, "spool": str(spool), "folder": str(folder)})
        answer = self._wait(limits, peak)
        if not answer.get("ok") and answer.get("kind") != "error":
            self._end()
        return Reply(
            ok=bool(answer.get("ok")),
            seconds=answer.get("seconds", time.perf_counter() - started),
            peak_mib=peak[0],
            kind=answer.get("kind"),
            reason=answer.get("reason"),
            data=answer.get("data", {}),
        )

    def stop(self) -> None:
        """Kill the process for good; a ``run`` under way ends as "stopped"."""
        self._stopped.set()
        self._end()

    def _send(self, message: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # a dead process is noticed by _wait
            pickle.dump(message, self._process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()

    def _wait(self, limits: Limits, peak: list[float] | None = None) -> dict[str, Any]:
        deadline = None if limits.seconds is None else time.monotonic() + limits.seconds
        seen = peak if peak is not None else [0.0]
        while True:
            try:
                answer = self._answers.get(timeout=POLL_S)
            except queue.Empty:
                answer = None
            else:
                seen[0] = max(seen[0], self._memory_mib())
                return answer if answer is not None else self._death()
            if self._stopped.is_set():
                return {"kind": "stopped", "reason": "the batch was stopped"}
            seen[0] = max(seen[0], self._memory_mib())
            if limits.memory_mib is not None and seen[0] > limits.memory_mib:
                return {"kind": "memory", "reason": f"to {self.role} it took {seen[0]:.0f} MiB of memory; "
                        f"the limit is {limits.memory_mib:.0f} MiB"}  # fmt: skip
            if deadline is not None and time.monotonic() > deadline:
                return {"kind": "timeout", "reason": f"it had not ended within its time limit, in step {self.role}"}

    def _memory_mib(self) -> float:
        assert self._process is not None
        total = 0
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(self._process.pid)
            total = root.memory_info().rss
            for child in root.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += child.memory_info().rss
        return total / MIB

    def _death(self) -> dict[str, Any]:
        assert self._process is not None
        if self._stopped.is_set():
            return {"kind": "stopped", "reason": "the batch was stopped"}
        code = self._process.wait()
        how = f"exit code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-code).name
        hint = "; often the system had no memory left" if code == -getattr(signal, "SIGKILL", 9) else ""
        return {"kind": "died", "reason": f"its process died in step {self.role} ({how}{hint})"}

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)  # its own session's leader: takes its children along
            else:
                process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _collect(process: subprocess.Popen[bytes], answers: queue.Queue[dict[str, Any] | None]) -> None:
    """Put every reply into the queue, None at the end; runs in a thread of its own."""
    assert process.stdout is not None
    try:
        while True:
            answers.put(pickle.load(process.stdout))
    except (EOFError, OSError, ValueError, pickle.UnpicklingError):
        answers.put(None)
