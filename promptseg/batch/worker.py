"""The program of a worker process: one step of one job, one case at a time, the network kept loaded.

Started by ``promptseg.batch.process`` as ``python -m promptseg.batch.worker``. Requests and replies are pickles on the
pipes that were standard input and output; both ends are ours. A worker whose parent died ends by itself.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from promptseg.batch.case import Case
from promptseg.batch.job import Job, JobSpec, make_job
from promptseg.errors import DeviceError, PromptsegError, TooLargeError

__all__ = ["ROLES", "main", "run_step"]

ROLES = ("prepare", "infer", "finish")
PARENT_POLL_S = 0.5
OUT_OF_MEMORY_FIRST = "800"  # of 1000, proc(5) oom_score_adj: the kernel then ends a worker and not its batch


def main() -> None:
    """Serve requests until standard input ends."""
    requests, replies = _own_pipes()
    role, spec, scratch = pickle.load(requests)  # from our own parent
    _watch_parent(Path(scratch))
    try:
        job = make_job(spec)
        job.load() if role == "infer" else job.warm()
        if role == "finish":
            import promptseg.batch.results  # noqa: F401 - so that the first case does not wait for it
    except Exception as exc:  # noqa: BLE001 - told to the parent, which ends the batch with it
        _send(replies, {"ok": False, "reason": _sentence(exc)})
        return
    _send(replies, {"ok": True})
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        _send(replies, _answer(job, spec, role, request))


def run_step(job: Job, spec: JobSpec, role: str, case: Case, spool: Path, folder: Path) -> dict[str, Any]:
    """Do one step; values travel between the steps of a case as pickles in ``spool``, results go to ``folder``."""
    if role == "prepare":
        _dump(job.prepare(case), spool / "prepared")
        return {}
    prepared = _load(spool / "prepared")
    if role == "infer":
        _dump(job.infer(prepared), spool / "inferred")
        return {}
    from promptseg.batch.results import write_results

    return write_results(job.finish(prepared, _load(spool / "inferred")), case, spec.formats, folder)


def _answer(job: Job, spec: JobSpec, role: str, request: dict[str, Any]) -> dict[str, Any]:
    case: Case = request["case"]
    started = time.perf_counter()
    try:
        data = run_step(job, spec, role, case, Path(request["spool"]), Path(request["folder"]))
        answer: dict[str, Any] = {"ok": True, "data": data}
    except MemoryError:
        answer = {"ok": False, "kind": "memory", "reason": f"there was not enough memory to {role} this case"}
    except Exception as exc:  # noqa: BLE001 - one case's trouble is recorded; the others go on
        kind = "refused" if _is_final(exc) else "error"
        answer = {"ok": False, "kind": kind, "reason": _without_paths(_sentence(exc), case)}
    return {**answer, "seconds": time.perf_counter() - started}


def _is_final(exc: BaseException) -> bool:
    """Return True where another attempt would end alike: neither a disk nor the memory had a part in it."""
    causes: list[BaseException] = [exc]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    of_the_machine = any(isinstance(one, OSError) and one.errno is not None for one in causes)
    return isinstance(exc, PromptsegError) and not isinstance(exc, TooLargeError | DeviceError) and not of_the_machine


def _sentence(exc: Exception) -> str:
    return str(exc) if isinstance(exc, PromptsegError) else f"unexpected {type(exc).__name__}: {exc}"


def _without_paths(reason: str, case: Case) -> str:
    """Reports are shown around, and paths may hold names: they stay in the manifest and in cases.csv."""
    for path in sorted({*case.files, case.image, case.hints.log or case.image}, key=len, reverse=True):
        if Path(path).is_absolute():  # a short relative one may be part of any word
            reason = reason.replace(path, "the case's file")
    return reason


def _dump(value: Any, path: Path) -> None:
    with path.open("wb") as file:
        pickle.dump(value, file, protocol=pickle.HIGHEST_PROTOCOL)


def _load(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Take the pipes for ourselves: what libraries print goes to standard error, what they read is empty."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OUT_OF_MEMORY_FIRST)
    return requests, replies


def _send(replies: IO[bytes], message: dict[str, Any]) -> None:
    try:
        pickle.dump(message, replies, protocol=pickle.HIGHEST_PROTOCOL)
        replies.flush()
    except BrokenPipeError:
        sys.exit(0)


def _watch_parent(scratch: Path) -> None:
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
        shutil.rmtree(scratch, ignore_errors=True)  # images of patients do not stay behind
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
