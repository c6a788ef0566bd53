"""The thread that looks after sessions: renews leases, hands over what another process wants, puts idle ones away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from promptseg.app.live.leases import Leases
from promptseg.app.live.memory import give_back
from promptseg.app.live.served import Served
from promptseg.app.settings import Limits

__all__ = ["Housekeeper"]

LOGGER = logging.getLogger(__name__)
TICK_S = 0.5  # how often it looks
GIVE_BACK_S = 5.0  # how often freed memory goes back to the system
QUIET_S = 1.0  # a session that another process wants is handed over after this long without a request


class Housekeeper:
    """Looks after the sessions in memory until it is stopped.

    Args:
        live: the sessions in memory by id.
        leases: this process's hold on them.
        limits: when a session is idle, how long a hold lasts.
        put_away: frees a session's memory unless it is at work.
        forget: drops a session that another process has taken.
    """

    def __init__(
        self,
        live: dict[str, Served],
        leases: Leases,
        limits: Limits,
        put_away: Callable[[str], object],
        forget: Callable[[str], object],
    ) -> None:
        self._live, self._leases = live, leases
        self._idle_s, self._lease_s = limits.idle_s, limits.lease_s
        self._put_away, self._forget = put_away, forget
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="sessions' housekeeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self.stopped.set()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(timeout=10)

    def _keep(self) -> None:
        renewed = given_back = 0.0
        seen: frozenset[str] = frozenset()
        while not self.stopped.wait(TICK_S):
            try:
                if time.monotonic() - renewed > min(self._lease_s / 4, 1.0):
                    self._renew_all()
                    renewed = time.monotonic()
                self._sweep()
                if time.monotonic() - given_back > GIVE_BACK_S and not seen <= self._live.keys():
                    give_back()
                    given_back = time.monotonic()
                    seen = frozenset()
                seen |= self._live.keys()
            except Exception:
                LOGGER.exception("the housekeeper of sessions failed; it goes on")

    def _renew_all(self) -> None:
        until, held = self._leases.renew(list(self._live))
        for one in held:
            served = self._live.get(one.id)
            if served is None:
                continue
            if not one.mine:
                self._forget(one.id)
                continue
            served.lease_until = until
            if one.wanted and time.time() - served.last_seen > QUIET_S:
                self._put_away(one.id)

    def _sweep(self) -> None:
        for served in list(self._live.values()):
            if time.time() - served.last_seen > self._idle_s:
                self._put_away(served.id)
