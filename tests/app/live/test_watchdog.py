"""A model's thread that hangs is seen, told, and in the end costs the process, which loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fastapi.testclient import TestClient

from promptseg.app.live.queueing import ModelQueue, Priority, Turn, Work
from promptseg.app.live.watchdog import Watchdog
from promptseg.app.settings import Limits, ServeSettings

API = "/api/v1"


def test_health_says_that_a_model_hangs_and_recovers(
    serve: Callable[[ServeSettings], TestClient], settings: ServeSettings
) -> None:
    client = serve(replace(settings, limits=replace(Limits(), stuck_s=0.0)))
    assert client.get(f"{API}/health").status_code == 200
    queue = client.app.state.promptseg.sessions.queues.of("classical")  # type: ignore[attr-defined]
    begun, go_on = threading.Event(), threading.Event()

    def hang(_: Turn) -> None:
        begun.set()
        go_on.wait()

    work = queue.submit(Work("ann", "s", Priority.INTERACTIVE, hang))
    begun.wait()
    for path in (f"{API}/health", f"{API}/ready", "/healthz"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["detail"]) == (503, "a model does not answer any more")
    go_on.set()
    work.future.result()
    queue.close()
    assert client.get(f"{API}/health").status_code == 200


def test_a_pause_is_a_sign_of_life() -> None:
    queue = ModelQueue("test", per_user=5, total=5)
    found: list[float] = []

    def long(turn: Turn) -> None:
        queue._lanes[0].beaten -= 50.0
        found.append(queue.silent_s())
        turn.pause()
        found.append(queue.silent_s())

    queue.submit(Work("ann", "s", Priority.INTERACTIVE, long)).future.result()
    queue.close()
    assert found[0] >= 50.0
    assert found[1] < 50.0
    assert queue.silent_s() == 0.0


def test_the_watchdog_ends_only_what_hangs_for_long() -> None:
    ended: list[int] = []
    silent = iter([0.0, 40.0, 200.0, 301.0])
    dog = Watchdog(lambda: next(silent), 90.0, 300.0, ended.append)
    for _ in range(3):
        dog.look()
        assert ended == []
    dog.look()
    assert ended == [70]


def test_ready_tells_a_data_folder_that_is_gone_and_a_store_that_is_broken(
    client: TestClient, settings: ServeSettings
) -> None:
    assert client.get(f"{API}/ready").json() == {"status": "ready"}
    moved: Path = settings.data.rename(settings.data.with_name("elsewhere"))
    answer = client.get(f"{API}/ready")
    assert answer.status_code == 503
    assert str(settings.data) not in answer.text
    moved.rename(settings.data)
    assert client.get(f"{API}/ready").status_code == 200
