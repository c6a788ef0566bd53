"""A session that is put away while somebody asks for it comes back: no request sees the moment in between."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from promptseg.app.accounts import LOCAL_USER
from promptseg.app.live.queueing import Work
from promptseg.app.live.served import Served
from promptseg.app.live.sessions import ServedSessions
from promptseg.app.store import SessionRow

from ..conftest import API

CLICK = {"prompts": [{"type": "point", "voxel": [24.0, 62.0, 54.0]}]}


@pytest.fixture
def sessions(client: TestClient) -> ServedSessions:
    return client.app.state.promptseg.sessions  # type: ignore[attr-defined, no-any-return]


def test_who_asks_meanwhile_gets_the_session_with_its_lease(
    client: TestClient, example: str, sessions: ServedSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = sessions.find(LOCAL_USER, example)
    assert served is not None
    back: list[Served] = []
    asking = threading.Thread(target=lambda: back.append(sessions.get(LOCAL_USER, example)))
    taken, acquire, release = threading.Event(), sessions.leases.acquire, sessions.leases.release

    def told(*arguments: object) -> float | None:
        until = acquire(*arguments)  # type: ignore[arg-type]
        taken.set()
        return until

    def after_a_chance(session_id: str) -> None:
        taken.wait(0.2)  # as long as the other thread may need to take the lease, were it free to
        release(session_id)

    monkeypatch.setattr(served.session, "snapshot", asking.start)
    monkeypatch.setattr(sessions.leases, "acquire", told)
    monkeypatch.setattr(sessions.leases, "release", after_a_chance)
    assert sessions.put_away(example)
    asking.join()
    (again,) = back
    assert again is not served
    assert again is sessions.find(LOCAL_USER, example)
    row: SessionRow = sessions.stored.row(LOCAL_USER, example)
    assert row.holder == sessions.leases.holder
    assert client.post(f"{API}/sessions/{example}/prompts", json=CLICK).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "prompts", CLICK, 200),
        ("GET", "review?label=1", None, 200),
        ("POST", "propagate", {"label": 1}, 202),
        ("POST", "segment", CLICK, 202),
    ],
)
def test_a_request_that_had_just_found_it_is_answered_all_the_same(
    client: TestClient,
    example: str,
    sessions: ServedSessions,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    body: dict[str, object] | None,
    status: int,
) -> None:
    client.post(f"{API}/sessions/{example}/prompts", json=CLICK)
    late: list[str] = []

    def after_put_away(submit: Callable[..., Work]) -> Callable[..., Work]:
        def queued(served: Served, *arguments: Any, **named: Any) -> Work:
            if not late:
                late.append(served.id)
                assert sessions.put_away(served.id)
            return submit(served, *arguments, **named)

        return queued

    monkeypatch.setattr(sessions, "submit", after_put_away(sessions.submit))
    monkeypatch.setattr(sessions, "ask", after_put_away(sessions.ask))
    answer = client.request(method, f"{API}/sessions/{example}/{path}", json=body)
    assert answer.status_code == status, answer.text
    assert late == [example]
    if status == 202:
        ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        jobs = client.app.state.promptseg.jobs  # type: ignore[attr-defined]
        jobs.get(LOCAL_USER, answer.json()["id"]).listen(
            lambda event: ended.put(event["kind"]) if event["kind"] != "progress" else None
        )
        assert ended.get(timeout=60) == "done"


def test_a_long_step_that_was_refused_leaves_no_job_behind(
    client: TestClient, example: str, sessions: ServedSessions
) -> None:
    served = sessions.find(LOCAL_USER, example)
    assert served is not None
    client.post(f"{API}/sessions/{example}/prompts", json=CLICK)
    served.job = "a job that runs"
    assert client.post(f"{API}/sessions/{example}/propagate", json={"label": 1}).status_code == 429
    served.job = ""
    assert client.get(f"{API}/sessions/{example}").json()["job"] is None
