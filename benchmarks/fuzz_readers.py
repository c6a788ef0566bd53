"""Mutated image files against every reader: out come our own errors, or the image that another reader sees too.

    python benchmarks/fuzz_readers.py [--start 0] [--stop 20000] [--workers 1] [--data ../shared/data] [--out out/fuzz]

Input number n is the same on every machine with the same seeds (a sound file, its own mutations from n). A worker
process reads it under a memory limit; the parent kills a worker that takes too long and starts another. A run goes on
where it was stopped; inputs that broke something are kept in OUT/failed. Exit code 1 when any input did. An image that
is silently another one than an independent reader sees (``fuzz_truth.py``) counts as broken.

Seeds are small files that this script writes itself, and with --data the small files of robustness/ there.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from fuzz_inputs import Seed, mutated
from fuzz_seeds import seeds
from fuzz_truth import difference, read_truth

SECONDS = 30.0  # of the processor per input; a sound one takes some hundredths
WAIT = 4 * SECONDS  # on the clock: what waits for ever takes no processor time
GOOD = ("read", "compared", "refused")
MEMORY = 1536 << 20  # bytes of address space that an input may take on top of what the libraries have


# --- the worker -----------------------------------------------------------------------------------------------------


def read_all(path: Path) -> str:
    """Read a file in every way; return how it went: "refused", "read", or "compared" where another reader read it too.

    Raises:
        Exception: what no reader may raise.
    """
    from promptseg.errors import PromptsegError
    from promptseg.io import read_labelmap, read_volume

    outcome = "refused"
    truth = read_truth(path)
    for number, door in enumerate((read_volume, read_labelmap, *_other_doors(path))):
        try:
            answer = door(path)
            labels = number == 1 and (truth is None or truth.array.ndim == 4)  # of a palette's indices
            if truth is not None and number < 2 and not labels and (told := difference(answer, truth)):
                raise ValueError(f"silently another image: {told}")
            if number == 0:
                outcome = "read" if truth is None else "compared"
        except PromptsegError as exc:
            if "\n" in str(exc):
                raise ValueError(f"an error of several lines: {exc!r}") from exc
    return outcome


def _other_doors(path: Path) -> list[Callable[[Path], object]]:
    from promptseg.export import ImportOptions, read_segmentation
    from promptseg.export.read import is_dicom_mask
    from promptseg.io.selfcheck import check_path
    from promptseg.volume import Geometry

    grid = ImportOptions(Geometry((3, 11, 13), (0.7, 1.1, 3.0), (-5.0, 12.5, 40.0)))
    masks = [read_segmentation, lambda mask: read_segmentation(mask, grid)]
    return [check_path, *(masks if path.is_file() and is_dicom_mask(path) else [])]


def try_input(seed: Seed, number: int, folder: Path) -> tuple[str, str]:
    """Return (what ``read_all`` gives, or "crash"; what happened) for one input."""
    shutil.rmtree(folder, ignore_errors=True)
    first, *others = seed.files
    for name, content in ((first[0], mutated(seed, number)), *others):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    target = (folder / first[0]).parent if "/" in first[0] else folder / first[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read_all(target), ""
    except BaseException:  # noqa: BLE001 - this is what the run is for
        return "crash", traceback.format_exc(limit=-6)


def _work(connection: Any, data: Path | None) -> None:
    """Answer input numbers until None comes."""
    from promptseg.io import read_volume  # noqa: F401 - load the libraries before memory is limited

    faulthandler.enable()  # a process that dies says where
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    known = seeds(data)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    memory = Path("/dev/shm")  # files in memory, where the system has that: ten times faster than a disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        while (number := connection.recv()) is not None:
            answer = try_input(known[number % len(known)], number, Path(folder) / "in")
            connection.send((*answer, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


# --- the run --------------------------------------------------------------------------------------------------------


class Worker:
    """A process with the pipe to it and the input that it works on."""

    def __init__(self, data: Path | None) -> None:
        context = get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other, data), daemon=True)
        self.process.start()
        other.close()
        self.number: int | None = None
        self.since = self.used = 0.0

    def give(self, number: int) -> None:
        """Start an input."""
        self.number, self.since, self.used = number, time.monotonic(), self._processor()
        self.connection.send(number)

    def answer(self, first: bool) -> tuple[str, str, int] | None:
        """Return the outcome, None while there is none yet. A dead or slow process gives "died" or "hang"."""
        try:
            if self.connection.poll(0.02):
                return self.connection.recv()  # type: ignore[no-any-return]
        except (EOFError, ConnectionError):
            self.process.join()
            return "died", f"the process ended with {self.process.exitcode}", 0
        waited = time.monotonic() - self.since - (60 if first else 0)
        if waited > WAIT or (waited > SECONDS and self._processor() - self.used > SECONDS + (60 if first else 0)):
            self.process.kill()
            self.process.join()
            return "hang", f"no answer after {waited:.0f} s", 0
        return None

    def _processor(self) -> float:
        """Return the seconds of processor time that the process took so far."""
        try:
            times = psutil.Process(self.process.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system)


@dataclass
class Tally:
    """What came out so far, by format; kept in OUT/state.json."""

    next: int
    counts: dict[str, Counter[str]]
    slowest: float = 0.0
    peak_mb: int = 0

    @property
    def total(self) -> int:
        """How many inputs were tried."""
        return sum(sum(counts.values()) for counts in self.counts.values())

    def table(self) -> str:
        """Return a Markdown row per format and one for all."""
        rows = {**self.counts, "all": sum(self.counts.values(), Counter())}
        lines = ["| format | inputs | read | of these compared | refused with a sentence | other |",
                 "| --- | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
        for name, counts in rows.items():
            tried, compared, refused = sum(counts.values()), counts["compared"], counts["refused"]
            good = counts["read"] + compared
            lines.append(f"| {name} | {tried} | {good} | {compared} | {refused} | {tried - good - refused} |")
        return "\n".join(lines)


def run(start: int, stop: int, workers: int, out: Path, data: Path | None) -> Tally:
    """Try inputs ``start`` to ``stop``; return what came out, over this run and those before it in the same folder."""
    out.mkdir(parents=True, exist_ok=True)
    tally = _load(out, start)
    known = seeds(data)
    pool = [Worker(data) for _ in range(workers)]
    fresh = {id(worker) for worker in pool}
    while tally.next < stop or any(worker.number is not None for worker in pool):
        for place, worker in enumerate(pool):
            if worker.number is None:
                if tally.next < stop:
                    worker.give(tally.next)
                    tally.next += 1
                continue
            found = worker.answer(id(worker) in fresh)
            if found is None:
                continue
            outcome, said, peak = found
            seconds = time.monotonic() - worker.since
            if id(worker) not in fresh:
                tally.slowest = max(tally.slowest, seconds)
            fresh.discard(id(worker))
            tally.counts[known[worker.number % len(known)].format][outcome] += 1
            tally.peak_mb = max(tally.peak_mb, peak >> 10)
            if outcome not in GOOD:
                _keep(out, known[worker.number % len(known)], worker.number, outcome, said)
            worker.number = None
            if outcome in ("died", "hang"):
                pool[place] = Worker(data)
                fresh.add(id(pool[place]))
            if tally.total % 100 == 0:
                _store(out, tally, pool)
    for worker in pool:
        worker.connection.send(None)
        worker.process.join(10)
    _store(out, tally, pool)
    return tally


def _load(out: Path, start: int) -> Tally:
    state = out / "state.json"
    if not state.exists():
        return Tally(start, defaultdict(Counter))
    known = json.loads(state.read_text())
    counts = defaultdict(Counter, {name: Counter(found) for name, found in known["counts"].items()})
    return Tally(known["next"], counts, known["slowest"], known["peak_mb"])


def _store(out: Path, tally: Tally, pool: list[Worker]) -> None:
    """Write the state as if inputs under way had not begun (they are few, and are tried again)."""
    open_numbers = [worker.number for worker in pool if worker.number is not None]
    state = {**vars(tally), "next": min([tally.next, *open_numbers]), "counts": tally.counts}
    (out / "state.tmp").write_text(json.dumps(state))
    (out / "state.tmp").replace(out / "state.json")


def _keep(out: Path, seed: Seed, number: int, outcome: str, said: str) -> None:
    folder = out / "failed"
    folder.mkdir(exist_ok=True)
    (folder / f"{number:06d}-{seed.name}").write_bytes(mutated(seed, number))
    (folder / f"{number:06d}.txt").write_text(f"{outcome} {seed.name}\n{said}\n")
    print(f"{outcome} at input {number} ({seed.name}): {said.strip().splitlines()[-1] if said else ''}", flush=True)


def main() -> int:
    """Parse, run, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--stop", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"))
    given = parser.parse_args()
    started = time.monotonic()
    tally = run(given.start, given.stop, given.workers, given.out, given.data)
    bad = sum(counts[outcome] for counts in tally.counts.values() for outcome in counts if outcome not in GOOD)
    print(tally.table())
    print(
        f"{tally.total} inputs, {bad} broke something; slowest {tally.slowest:.1f} s, at most {tally.peak_mb} MB; "
        f"{time.monotonic() - started:.0f} s this time"
    )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
