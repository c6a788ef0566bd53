"""The thread that sees a model's thread hang, and ends the process where nothing else helps.

A call into native code cannot be stopped from outside. Every acknowledged step is on the disk, so a new process
(systemd, a container's restart policy) loses nothing, and a hanging one serves nobody.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

__all__ = ["Watchdog"]

LOGGER = logging.getLogger(__name__)
STATUS = 70  # EX_SOFTWARE of sysexits.h


class Watchdog:
    """Looks now and then until it is stopped.

    Args:
        silent_s: for how long the most silent thread has been inside one call.
        stuck_s: from here on it is said in the log.
        end_s: from here on the process is ended.
        end: ends it, given the exit status.
    """

    def __init__(
        self, silent_s: Callable[[], float], stuck_s: float, end_s: float, end: Callable[[int], object] = os._exit
    ) -> None:
        self._silent_s, self._stuck_s, self._end_s, self._end = silent_s, stuck_s, end_s, end
        self._said = False
        self._stopped = threading.Event()

    def start(self) -> None:
        """Look every tenth of ``stuck_s`` from now on, in a thread of its own."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def look(self) -> None:
        """Look once."""
        silent = self._silent_s()
        if silent > self._end_s:
            LOGGER.critical("a model's thread hangs for %.0f s; the process ends, to be started again", silent)
            self._end(STATUS)
        elif silent > self._stuck_s and not self._said:
            LOGGER.error("a model's thread has been inside one call for %.0f s", silent)
        self._said = silent > self._stuck_s

    def _watch(self) -> None:
        while not self._stopped.wait(self._stuck_s / 10):
            self.look()
