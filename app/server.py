"""The process that listens: uvicorn, with a limit on how slowly a request's head may come."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import threading
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from promptseg.app.application import create_app
from promptseg.app.door.logs import set_up
from promptseg.app.live.watchdog import Watchdog
from promptseg.app.settings import ServeSettings
from promptseg.app.state import AppState

__all__ = ["PatientProtocol", "run"]

HEAD_S = 20.0
STOP_S = 10
SWITCH_S = 0.001  # how long a thread in Python code keeps the others waiting: a fifth of the usual
GONE_S = 20.0  # twice that: a hanging call into native code does not hold the process back


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that hangs up on a client which does not get its request's head out in ``HEAD_S`` seconds."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first request."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_S, self._hang_up)

    def data_received(self, data: bytes) -> None:
        """Wait for the head's end, request by request."""
        super().data_received(data)
        waiting = self.cycle is None or self.cycle.response_complete
        if self._late is not None and not waiting:
            self._late.cancel()
            self._late = None
        elif self._late is None and waiting and not self.transport.is_closing():
            self._late = self.loop.call_later(HEAD_S, self._hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        self._late = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class _Server(uvicorn.Server):
    """A server that is gone some time after it was told to go, whatever still runs: all state is on the disk."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in order, and at the latest after ``GONE_S``."""
        super().handle_exit(sig, frame)
        last = threading.Timer(GONE_S, os._exit, [128 + sig])
        last.daemon = True
        last.start()


def _use_own_spool(state: AppState) -> None:
    """Let uploads wait inside the data folder, not in a temporary folder that may be memory; tidy up after the dead."""
    spool = state.settings.data / "cache" / "spool"
    own = spool / state.sessions.leases.holder
    for left in spool.glob("*"):
        if not state.sessions.leases.is_alive(left.name):
            shutil.rmtree(left, ignore_errors=True)
    own.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(own)


def run(settings: ServeSettings) -> None:
    """Serve until somebody stops the process.

    Raises:
        SettingsError: the store, the data folder or the address cannot be used.
    """
    set_up(settings)
    sys.setswitchinterval(SWITCH_S)
    os.umask(0o077)  # uploads, thumbnails, journals, the store: nobody else's on this machine
    app = create_app(settings)
    _use_own_spool(app.state.promptseg)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=PatientProtocol,
        log_config=None,  # as the rest of the process
        log_level=settings.log_level,
        access_log=False,  # paths hold ids; who did what stands in the audit log
        server_header=False,
        proxy_headers=False,  # the application looks at those of named proxies, and of no others
        timeout_graceful_shutdown=STOP_S,
    )
    limits = settings.limits
    watchdog = Watchdog(app.state.promptseg.sessions.queues.silent_s, limits.stuck_s, limits.end_s)
    watchdog.start()
    _Server(config).run()
    watchdog.stop()
