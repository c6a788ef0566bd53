"""Long pure work in a process of its own: while it runs, nobody else waits, whatever it holds on to.

A thread would not do: native code that keeps Python's one lock stops every other thread, the event loop among them.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from promptseg.errors import PromptsegError

__all__ = ["LONGEST_S", "aside"]

LONGEST_S = 120.0
BEAT_S = 0.1  # between two looks at whether somebody still waits
NICE = 10  # people who click come first


def aside(call: Callable[..., Any], *arguments: Any, pause: Callable[[], None], longest_s: float = LONGEST_S) -> Any:
    """Return what a module's function gives.

    Args:
        call: found by its name in the other process.
        arguments: of it; they and the result are pickled.
        pause: called every tenth of a second; what it raises ends the process.
        longest_s: after it the process is ended.

    Raises:
        PromptsegError: what ``call`` raised; or it took too long, or its process died.
    """
    sent: bytes | None = pickle.dumps((call, arguments), pickle.HIGHEST_PROTOCOL)
    began = time.monotonic()
    command = [sys.executable, "-m", "promptseg.app.live.aside"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            while True:
                try:
                    answer, _ = process.communicate(sent, timeout=BEAT_S)
                    break
                except subprocess.TimeoutExpired:
                    sent = None  # it is on its way
                    pause()
                if time.monotonic() - began > longest_s:
                    raise PromptsegError(
                        f"it was not done after {longest_s:.0f} s and was given up; ask for less at once: a smaller "
                        "part, a smaller distance, or a smaller image"
                    )
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise PromptsegError(
            f"the process that did it ended (status {process.returncode}): memory may be short; ask for less at once"
        )
    result = pickle.loads(answer)
    if isinstance(result, PromptsegError):
        raise result
    return result


def _work() -> None:
    """Do what comes in and send it back; what libraries print goes to standard error."""
    with contextlib.suppress(OSError):
        os.nice(NICE)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    call, arguments = pickle.load(sys.stdin.buffer)
    try:
        result = call(*arguments)
    except PromptsegError as exc:
        result = exc
    pickle.dump(result, out, pickle.HIGHEST_PROTOCOL)
    out.close()


if __name__ == "__main__":
    _work()
