"""Memory is bounded and given back: by idleness, for room, by viewers that leave. Work is never lost with it."""

from __future__ import annotations

import gc
import json
import time
import weakref
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from fastapi.testclient import TestClient

from promptseg.app.accounts import LOCAL_USER, Accounts
from promptseg.app.errors import BusyError
from promptseg.app.live.memory import MemoryBudget
from promptseg.app.protocols.frames import pack
from promptseg.app.settings import Limits, ServeSettings
from promptseg.app.store import Database

from ..conftest import API, open_example

Serve = Callable[[ServeSettings], TestClient]
MIB = 1024**2
SOON_S = 120.0


def sessions_in_memory(client: TestClient) -> int:
    text = client.get(f"{API}/metrics").text
    return int(float(next(line for line in text.splitlines() if line.startswith("promptseg_sessions ")).split()[1]))


def clicked(client: TestClient) -> tuple[str, bytes]:
    session = open_example(client)
    body = {"prompts": [{"type": "point", "voxel": [24.0, 62.0, 54.0]}]}
    assert client.post(f"{API}/sessions/{session}/prompts", json=body).status_code == 200
    return session, client.get(f"{API}/sessions/{session}/labels.nii").content


def test_an_idle_session_leaves_the_memory_and_comes_back(serve: Serve, settings: ServeSettings) -> None:
    client = serve(replace(settings, limits=Limits(idle_s=0.5)))
    session, before = clicked(client)
    deadline = time.monotonic() + SOON_S
    while sessions_in_memory(client):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert client.get(f"{API}/sessions/{session}/labels.nii").content == before
    assert client.post(f"{API}/sessions/{session}/undo").status_code == 200


def test_a_session_that_was_put_away_is_freed_at_once(client: TestClient) -> None:
    session, _ = clicked(client)
    state = client.app.state.promptseg  # type: ignore[attr-defined]
    served = state.sessions.find(LOCAL_USER, session)
    gone = [weakref.ref(served), weakref.ref(served.session), weakref.ref(served.session.volume)]
    del served
    gc.collect()
    gc.disable()  # embeddings must not wait for it
    try:
        assert client.post(f"{API}/sessions/{session}/close").status_code == 204
        deadline = time.monotonic() + SOON_S
        while any(one() is not None for one in gone):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        gc.enable()


def test_where_memory_is_short_the_longest_idle_session_gives_way(serve: Serve, settings: ServeSettings) -> None:
    client = serve(replace(settings, limits=Limits(memory_bytes=14 * MIB, embedding_bytes=4 * MIB)))
    first, before = clicked(client)
    second, _ = clicked(client)
    third, _ = clicked(client)
    assert sessions_in_memory(client) < 3
    assert client.get(f"{API}/sessions/{first}/labels.nii").content == before
    assert {one["id"] for one in client.get(f"{API}/sessions").json()} == {first, second, third}


def test_what_can_never_fit_is_refused_with_a_wait(serve: Serve, settings: ServeSettings) -> None:
    client = serve(replace(settings, limits=Limits(memory_bytes=1 * MIB)))
    study = client.post(f"{API}/studies", json={"example": True}).json()["id"]
    answer = client.post(f"{API}/sessions", json={"study": study, "model": "classical"})
    assert answer.status_code == 503
    assert "room in memory" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) >= 1


def send_image(client: TestClient, lease: str, shape: tuple[int, ...] = (1, 20, 30, 40)) -> int:
    headers = {"X-Lease-Token": lease, "X-Meta": json.dumps({"image_properties": {"spacing": [3.0, 1.0, 1.0]}})}
    return client.post("/set_image", content=pack(np.zeros(shape, np.float32)), headers=headers).status_code


def test_a_viewers_drawing_counts_until_it_leaves(serve: Serve, settings: ServeSettings) -> None:
    limits = Limits(memory_bytes=20 * MIB, embedding_bytes=4 * MIB)
    client = serve(replace(settings, models=("classical",), limits=limits))
    room = client.app.state.promptseg.sessions.memory  # type: ignore[attr-defined]
    assert room.held() == 0
    lease = client.post("/claim").json()["lease_token"]
    assert send_image(client, lease) == 200
    assert room.held() == 20 * 30 * 40 * (4 + 2) + 4 * MIB
    assert send_image(client, lease, (1, 90, 200, 200)) == 429  # 14 MiB of image, 7 of masks, 4 of embeddings
    assert send_image(client, lease) == 200
    client.post("/release", headers={"X-Lease-Token": lease})
    deadline = time.monotonic() + SOON_S
    while room.held():
        assert time.monotonic() < deadline
        gc.collect()


def test_idle_sessions_give_way_to_a_viewer(serve: Serve, settings: ServeSettings) -> None:
    limits = Limits(memory_bytes=14 * MIB, embedding_bytes=4 * MIB)
    client = serve(replace(settings, models=("classical",), limits=limits))
    session, before = clicked(client)
    gc.collect()
    lease = client.post("/claim").json()["lease_token"]
    assert send_image(client, lease, (1, 20, 130, 130)) == 200
    assert sessions_in_memory(client) == 0
    client.post("/release", headers={"X-Lease-Token": lease})
    gc.collect()
    assert client.get(f"{API}/sessions/{session}/labels.nii").content == before


def test_room_frees_no_more_than_it_must() -> None:
    held = {"a": 6, "b": 3, "c": 3}
    room = MemoryBudget(12, 0)
    room.count(lambda: sum(held.values()))
    leave = [lambda name=name: held.pop(name, 0) for name in held]
    room.require(5, leave)
    assert set(held) == {"b", "c"}
    with pytest.raises(BusyError, match="room in memory"):
        room.require(13, leave)


def test_what_is_being_loaded_counts_for_who_asks_meanwhile() -> None:
    room = MemoryBudget(12, 0)
    with room.promised(8):
        assert room.held() == 8
        with pytest.raises(BusyError), room.promised(5):
            pass
        with room.promised(4):
            pass
    assert room.held() == 0


def of_ann(settings: ServeSettings, **limits: int) -> tuple[ServeSettings, dict[str, str]]:
    settings = replace(settings, auth="keys", limits=replace(Limits(embedding_bytes=4 * MIB), **limits))
    settings.data.mkdir(parents=True)
    database = Database(settings.store_url)
    accounts = Accounts(database, settings)
    accounts.add("ann")
    headers = {"Authorization": f"Bearer {accounts.new_key('ann')}"}
    database.close()
    return settings, headers


def test_one_users_sessions_take_no_more_than_a_share(serve: Serve, settings: ServeSettings) -> None:
    settings, ann = of_ann(settings, user_memory_bytes=15 * MIB)
    client = serve(settings)
    client.headers.update(ann)
    sessions = [open_example(client) for _ in range(3)]  # each 4.6 MiB of image, 2.3 of masks, 4 of embeddings
    state = client.app.state.promptseg  # type: ignore[attr-defined]
    assert 0 < len(state.sessions._live) < 3
    assert state.sessions.memory.held() <= 15 * MIB
    assert client.get(f"{API}/sessions/{sessions[0]}").status_code == 200


def test_an_image_beyond_a_users_share_is_refused_by_its_header(serve: Serve, settings: ServeSettings) -> None:
    settings, ann = of_ann(settings, user_memory_bytes=3 * MIB)
    client = serve(settings)
    client.headers.update(ann)
    study = client.post(f"{API}/studies", json={"example": True}).json()["id"]
    answer = client.post(f"{API}/sessions", json={"study": study, "model": "classical"})
    assert answer.status_code == 422
    assert "crop or resample" in answer.json()["detail"]
