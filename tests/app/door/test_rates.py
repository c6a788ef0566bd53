"""How much one user may take: so many requests a second and at a time, so many bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from promptseg.app.accounts import Accounts
from promptseg.app.door import rates
from promptseg.app.door.rates import AtOnce, Buckets
from promptseg.app.settings import Limits, ServeSettings
from promptseg.app.state import AppState
from promptseg.app.store import Database

API = "/api/v1"


def test_what_is_spent_beyond_the_burst_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr(rates.time, "monotonic", lambda: now[0])
    bucket = Buckets(rate=10.0, burst=100.0)
    assert bucket.spend("ann", 80.0) == 0.0
    assert bucket.spend("ann", 50.0) == pytest.approx(3.0)
    assert bucket.spend("bob", 100.0) == 0.0
    now[0] += 5.0
    assert bucket.spend("ann", 20.0) == 0.0


def test_places_are_counted_by_user_and_given_back() -> None:
    places = AtOnce(2)
    with (
        places.place("ann") as one,
        places.place("ann") as two,
        places.place("ann") as three,
        places.place("bob") as other,
    ):
        assert (one, two, three, other) == (True, True, False, True)
    with places.place("ann") as again:
        assert again
    assert not places._under_way


@pytest.fixture
def two_users(settings: ServeSettings) -> tuple[ServeSettings, dict[str, str]]:
    settings = replace(settings, auth="keys", limits=replace(Limits(), requests_at_once=3))
    settings.data.mkdir(parents=True)
    database = Database(settings.store_url)
    accounts = Accounts(database, settings)
    keys = {}
    for name in ("ann", "bob"):
        accounts.add(name)
        keys[name] = f"Bearer {accounts.new_key(name)}"
    database.close()
    return settings, keys


def test_who_waits_for_many_answers_keeps_nobody_else_out(
    serve: Callable[[ServeSettings], TestClient],
    two_users: tuple[ServeSettings, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings, keys = two_users
    client = serve(settings)
    state: AppState = client.app.state.promptseg  # type: ignore[attr-defined]
    slow = state.sessions.stored.rows

    def rows(user: str) -> list[object]:
        if len(asked) < 6:
            asked.append(user)
            time.sleep(0.3)
        return list(slow(user))

    asked: list[str] = []
    monkeypatch.setattr(state.sessions.stored, "rows", rows)
    with ThreadPoolExecutor(8) as pool:
        many = [pool.submit(client.get, f"{API}/sessions", headers={"Authorization": keys["ann"]}) for _ in range(6)]
        other = pool.submit(client.get, f"{API}/sessions", headers={"Authorization": keys["bob"]}).result()
    statuses = sorted(each.result().status_code for each in many)
    assert other.status_code == 200
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert client.get(f"{API}/sessions", headers={"Authorization": keys["ann"]}).status_code == 200
