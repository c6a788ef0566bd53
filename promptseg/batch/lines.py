"""All lines of a batch, wherever they run: which are ready, which has room, who has too much.

A ``Place`` says where lines live: in this process (``LocalPlace``) or on a Ray cluster (``promptseg.batch.cluster``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Protocol

from promptseg.batch.case import Case
from promptseg.batch.line import DEPTH, Line, LineSettings, Outcome
from promptseg.batch.process import LOAD_LIMIT_S
from promptseg.errors import SettingsError, StartError

__all__ = ["Lines", "LocalPlace", "Place", "gpu_ids", "line_environment"]

LOOK_S = 0.25
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


class Place(Protocol):
    """Where lines live. *Contract:* ``call`` never blocks; its future raises what the method raised, or an exception
    that ``is_lost`` knows when the line's machine went away. A lost line comes back by itself, empty; ``open`` must be
    called on it again.
    """

    count: int

    def call(self, number: int, method: str, *arguments: Any) -> Future[Any]:
        """Call a method of line ``number`` (from 0)."""

    def is_lost(self, exc: BaseException) -> bool:
        """Return True where an exception says that the line's machine went away."""

    def close(self) -> None:
        """End all lines at once, whatever they do."""


class LocalPlace:
    """Lines in this process, their workers as child processes.

    Args:
        settings: of every line.
        scratch: folder for values between steps.
        environments: one per line; see ``line_environment``.
    """

    def __init__(self, settings: LineSettings, scratch: Path, environments: Sequence[Mapping[str, str]]) -> None:
        self.count = len(environments)
        self._lines = [
            Line(settings, scratch / f"line-{number}", environment) for number, environment in enumerate(environments)
        ]
        self._threads = ThreadPoolExecutor(self.count * (DEPTH + 2), thread_name_prefix="batch-line")

    def call(self, number: int, method: str, *arguments: Any) -> Future[Any]:
        """See ``Place``."""
        return self._threads.submit(getattr(self._lines[number], method), *arguments)

    def is_lost(self, exc: BaseException) -> bool:
        """Return False: when this machine goes away, so do we."""
        return False

    def close(self) -> None:
        """See ``Place``."""
        for line in self._lines:
            line.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)


class Lines:
    """Give cases to lines and collect outcomes; used by one thread."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._opening: dict[Future[Any], int] = {}
        self._ready: set[int] = set()
        self._running: dict[Future[Any], tuple[int, Case]] = {}
        self._statuses: dict[int, Future[Any]] = {}
        self._shown: dict[int, Mapping[str, tuple[str, float]]] = {}
        self._last_ready = time.monotonic()

    @property
    def count(self) -> int:
        """Number of lines, ready or not."""
        return self._place.count

    def open(self) -> None:
        """Start all lines; return when the first is ready.

        Raises:
            StartError: no line can start; for a batch that is the end.
        """
        for number in range(self._place.count):
            self._open(number)
        limit = time.monotonic() + LOAD_LIMIT_S
        while not self._ready:
            wait(self._opening, timeout=LOOK_S, return_when=FIRST_COMPLETED)
            self._settle_openings(strict=True)
            if time.monotonic() > limit:
                raise StartError(f"no worker was ready within {LOAD_LIMIT_S:.0f} s; has the cluster room for one?")

    def room(self) -> int | None:
        """Return the ready line with the fewest cases that can take one more; None when all are full."""
        load = self._load()
        free = [number for number in self._ready if load[number] < DEPTH]
        return min(free, key=lambda number: (load[number], number), default=None)

    def submit(self, number: int, case: Case) -> None:
        """Give a case to a line that has room."""
        self._running[self._place.call(number, "run_case", case)] = (number, case)

    def busy(self) -> bool:
        """Return True while a case is on a line."""
        return bool(self._running)

    def alive(self) -> bool:
        """Return True while a line is ready or may soon be."""
        if self._ready:
            self._last_ready = time.monotonic()
        return bool(self._ready) or (bool(self._opening) and time.monotonic() - self._last_ready < LOAD_LIMIT_S)

    def outcomes(self, timeout_s: float) -> list[Outcome]:
        """Wait until a case ends, or a line becomes ready, at most so long; return how cases ended."""
        done, _ = wait([*self._running, *self._opening], timeout=timeout_s, return_when=FIRST_COMPLETED)
        self._settle_openings(strict=False)
        return [self._outcome(future) for future in done if future in self._running]

    def balance(self) -> None:
        """Let an idle line have a case that waits on a busy one: call when no case waits outside the lines."""
        load = self._load()
        if not any(load[number] == 0 for number in self._ready):
            return
        busiest = max(self._ready, key=lambda number: load[number])
        if load[busiest] < 2:
            return
        for case_id, (step, _) in self._shown.get(busiest, {}).items():
            if step.startswith("waits"):
                self._place.call(busiest, "withdraw", case_id)
                return

    def status(self) -> dict[int, Mapping[str, tuple[str, float]]]:
        """Return what each line does: case id to (step, seconds); lines that do not answer at once keep the last."""
        for number in self._ready:
            if number not in self._statuses:
                self._statuses[number] = self._place.call(number, "status")
        wait(self._statuses.values(), timeout=0.05)
        for number, future in list(self._statuses.items()):
            if future.done():
                del self._statuses[number]
                with contextlib.suppress(Exception):  # a lost line is noticed by its cases
                    self._shown[number] = future.result()
        return dict(self._shown)

    def close(self) -> None:
        """End everything at once."""
        self._place.close()

    def _load(self) -> list[int]:
        load = [0] * self._place.count
        for number, _ in self._running.values():
            load[number] += 1
        return load

    def _open(self, number: int) -> None:
        self._ready.discard(number)
        self._shown.pop(number, None)
        self._opening[self._place.call(number, "open")] = number

    def _settle_openings(self, *, strict: bool) -> None:
        for future in [future for future in self._opening if future.done()]:
            number = self._opening.pop(future)
            exc = future.exception()
            if exc is None:
                self._ready.add(number)
            elif self._place.is_lost(exc):
                self._open(number)
            elif strict and not self._ready and not self._opening:
                raise exc

    def _outcome(self, future: Future[Any]) -> Outcome:
        number, case = self._running.pop(future)
        exc = future.exception()
        if exc is None:
            outcome: Outcome = future.result()
            return outcome
        if self._place.is_lost(exc):
            if number in self._ready:
                self._open(number)
            return Outcome(case.id, "lost", "the machine it ran on went away")
        return Outcome(case.id, "error", f"unexpected {type(exc).__name__} on its line: {exc}")


def gpu_ids(device: str) -> list[str]:
    """Return the GPUs that a device asks for, as CUDA numbers them: none for "cpu", all for "auto" and "cuda".

    Raises:
        SettingsError: an unknown device.
    """
    if device == "cpu":
        return []
    if device not in ("auto", "cuda"):
        names = [part.strip() for part in device.split(",")]
        if not all(name.startswith("cuda:") and name[5:].isdigit() for name in names):
            raise SettingsError(f"expected a device auto, cpu, cuda, cuda:N or cuda:N,cuda:M, got {device!r}")
        return [name[5:] for name in names]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [part.strip() for part in visible.split(",") if part.strip()]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    listed = subprocess.run(
        [tool, "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, timeout=30, check=False
    )
    return listed.stdout.split() if listed.returncode == 0 else []


def line_environment(lines: int, gpu: str | None) -> dict[str, str]:
    """Return what a line's processes see: one GPU, and their share of the cores."""
    threads = str(max(1, (os.cpu_count() or 1) // lines))
    found = {name: os.environ.get(name, threads) for name in THREAD_VARIABLES}
    return found if gpu is None else {**found, "CUDA_VISIBLE_DEVICES": gpu}
