"""Long pure work in a process of its own: while it runs, nobody else waits, whatever it holds on to.

A thread would not do: native code that keeps Python's one lock stops every other thread, the event loop among them.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from promptseg.errors import PromptsegError

__all__ = ["LONGEST_S", "aside"]

LONGEST_S = 120
PATIENCE = 5  # times that: the machine may be busy, and these processes come last
BEAT_S = 0.1  # between two looks at whether somebody still waits
NICE = 10  # people who click come first
TOO_LONG = "it was not done in time and was given up; ask for less at once: a smaller part, distance or image"


def aside(call: Callable[..., Any], *arguments: Any, pause: Callable[[], None], longest_s: int = LONGEST_S) -> Any:
    """Return what a module's function gives.

    Args:
        call: found by its name in the other process.
        arguments: of it; they and the result are pickled.
        pause: called every tenth of a second; what it raises ends the process.
        longest_s: seconds of computing after which the process is ended.

    Raises:
        PromptsegError: what ``call`` raised; or it took too long, or its process died.
    """
    sent, began = pickle.dumps((longest_s, call, arguments), pickle.HIGHEST_PROTOCOL), time.monotonic()
    command = [sys.executable, "-m", "promptseg.app.live.aside"]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
        ThreadPoolExecutor(1) as talking,  # communicate() with a timeout does not go on with a long input (Python 3.11)
    ):
        answer = talking.submit(process.communicate, sent)
        try:
            while not wait([answer], BEAT_S).done:
                pause()
                if time.monotonic() - began > PATIENCE * longest_s:
                    raise PromptsegError(TOO_LONG)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        if process.returncode == -getattr(signal, "SIGXCPU", 0):
            raise PromptsegError(TOO_LONG)
        raise PromptsegError(
            f"the process that did it ended (status {process.returncode}): memory may be short; ask for less at once"
        )
    result = pickle.loads(answer.result()[0])
    if isinstance(result, PromptsegError):
        raise result
    return result


def _work() -> None:
    """Do what comes in and send it back; what libraries print goes to standard error."""
    longest_s, call, arguments = pickle.load(sys.stdin.buffer)
    with contextlib.suppress(ImportError, OSError):  # both are POSIX's
        import resource

        os.nice(NICE)
        resource.setrlimit(resource.RLIMIT_CPU, (longest_s, longest_s + 1))
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        result = call(*arguments)
    except PromptsegError as exc:
        result = exc
    pickle.dump(result, out, pickle.HIGHEST_PROTOCOL)
    out.close()


if __name__ == "__main__":
    _work()
