"""A real server process is killed, or stops in the middle: no acknowledged prompt is lost, none is doubled."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from .servers import RealServer

SOON_S = 240.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., RealServer]]:
    made: list[RealServer] = []

    def start(*options: str) -> RealServer:
        made.append(RealServer(tmp_path / "data", *options).start())
        return made[-1]

    yield start
    for one in made:
        one.kill()


def api(server: RealServer) -> httpx.Client:
    return httpx.Client(base_url=f"{server.url}/api/v1", timeout=SOON_S)


def opened(client: httpx.Client) -> str:
    study = client.post("/studies", json={"example": True}).json()["id"]
    return str(client.post("/sessions", json={"study": study, "model": "classical"}).json()["id"])


def click(client: httpx.Client, session: str, voxel: list[float]) -> dict[str, Any]:
    answer = client.post(f"/sessions/{session}/prompts", json={"prompts": [{"type": "point", "voxel": voxel}]})
    answer.raise_for_status()
    return dict(answer.json())


def mask(client: httpx.Client, session: str) -> NDArray[np.uint8]:
    answer = client.get(f"/sessions/{session}/labels.nii")
    answer.raise_for_status()
    return np.frombuffer(answer.content[352:], np.uint8)


def places(count: int, seed: int) -> list[list[float]]:
    chance = random.Random(seed)
    return [[chance.randrange(10, 40), chance.randrange(50, 90), chance.randrange(40, 90)] for _ in range(count)]


def test_killed_at_any_point_no_acknowledged_prompt_is_lost(server: Callable[..., RealServer]) -> None:
    one = server()
    with api(one) as client:
        session = opened(client)
    acknowledged: list[list[float]] = []
    chance = random.Random(3)
    for _ in range(3):
        killer = threading.Timer(chance.uniform(0.0, 0.3), one.kill)
        after = len(acknowledged) + chance.randrange(1, 5)
        in_flight: list[float] | None = None
        with api(one) as client:
            for voxel in places(1000, len(acknowledged)):
                if len(acknowledged) == after:
                    killer.start()
                in_flight = voxel
                try:
                    click(client, session, voxel)
                except httpx.HTTPError:
                    break
                acknowledged.append(voxel)
        killer.join()
        one.start()
        with api(one) as client:
            kept = [item["prompt"]["voxel"] for item in client.get(f"/sessions/{session}").json()["prompts"]]
        assert kept[: len(acknowledged)] == acknowledged
        assert kept[len(acknowledged) :] in ([], [in_flight])  # on the disk, but its answer was not sent any more
        acknowledged = kept
    assert len(acknowledged) >= 3
    with api(one) as client:
        survived, fresh = mask(client, session), opened(client)
        for voxel in acknowledged:
            click(client, fresh, voxel)
        np.testing.assert_array_equal(survived, mask(client, fresh))


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
def test_a_session_goes_on_in_another_process(server: Callable[..., RealServer], store_url: str) -> None:
    first, second = server("--store", store_url), server("--store", store_url)
    with api(first) as one, api(second) as two:
        session = opened(one)
        click(one, session, [24.0, 62.0, 54.0])
        before = mask(one, session)
        first.kill()
        np.testing.assert_array_equal(mask(two, session), before)
        click(two, session, [20.0, 62.0, 54.0])
        after = mask(two, session)
        first.start()
        np.testing.assert_array_equal(mask(one, session), after)  # the second, alive and idle, hands it over
        assert one.get(f"/sessions/{session}").json()["revision"] == 2
        assert one.post(f"/sessions/{session}/undo").json()["revision"] == 3
        np.testing.assert_array_equal(mask(two, session), before)


def test_a_process_that_wakes_up_late_cannot_write_behind_the_others_back(server: Callable[..., RealServer]) -> None:
    first, second = server(), server()
    with api(first) as one, api(second) as two:
        session = opened(one)
        click(one, session, [24.0, 62.0, 54.0])
        os.kill(first.pid, signal.SIGSTOP)
        try:
            deadline = time.monotonic() + SOON_S
            while two.get(f"/sessions/{session}").status_code != 200:
                assert time.monotonic() < deadline
            click(two, session, [20.0, 62.0, 54.0])
        finally:
            os.kill(first.pid, signal.SIGCONT)
        late = one.post(f"/sessions/{session}/undo")
        while late.status_code == 503:
            late = one.post(f"/sessions/{session}/undo")
        kept = two.get(f"/sessions/{session}")
        while kept.status_code == 503:
            kept = two.get(f"/sessions/{session}")
        # The late undo took the second click back, or was refused; it never undid the first in a state of its own.
        assert [item["prompt"]["voxel"] for item in kept.json()["prompts"]] == [[24.0, 62.0, 54.0]]
        assert kept.json()["revision"] == 3
