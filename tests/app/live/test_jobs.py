"""Long work in threads of its own: a few jobs of one person at a time, so that others find a thread."""

from __future__ import annotations

import threading

import pytest
from fastapi.testclient import TestClient

from promptseg.app.errors import BusyError
from promptseg.app.live.jobs import LAST, TellProgress
from promptseg.app.state import AppState

SOON_S = 120.0


def test_one_person_has_a_few_long_jobs_at_a_time(client: TestClient) -> None:
    state: AppState = client.app.state.promptseg  # type: ignore[attr-defined]
    go_on = threading.Event()

    def wait(_: TellProgress) -> None:
        go_on.wait(SOON_S)

    for name in ("ann", "bob"):
        state.accounts.ensure(name)
    most = state.settings.limits.jobs_per_user
    jobs = [state.jobs.plain("ann", "download", wait) for _ in range(most)]
    with pytest.raises(BusyError, match="run already") as told:
        state.jobs.plain("ann", "download", wait)
    assert told.value.own
    other = state.jobs.plain("bob", "download", lambda _: None)
    ended = threading.Event()
    other.listen(lambda event: ended.set() if event["kind"] in LAST else None)
    assert ended.wait(SOON_S)
    last = threading.Event()
    jobs[-1].listen(lambda event: last.set() if event["kind"] in LAST else None)
    go_on.set()
    assert last.wait(SOON_S)
    state.jobs.plain("ann", "download", lambda _: None)
