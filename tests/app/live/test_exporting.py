"""Exports wait for each other without a thread: one of a person at a time, two in all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from promptseg.app.live import exporting
from promptseg.app.live.exporting import ExportTurns

from ..conftest import API


def test_a_person_exports_one_file_at_a_time() -> None:
    running: list[str] = []
    seen: list[tuple[str, ...]] = []

    async def one(turns: ExportTurns, user: str) -> None:
        async with turns.of(user):
            running.append(user)
            seen.append(tuple(sorted(running)))
            for _ in range(3):
                await asyncio.sleep(0)
            running.remove(user)

    async def all_of_them() -> None:
        turns = ExportTurns()
        await asyncio.gather(*(one(turns, user) for user in ("ann", "ann", "ann", "bob", "eve")))

    asyncio.run(all_of_them())
    assert len(seen) == 5
    assert max(map(len, seen)) == 2
    assert ("ann", "ann") not in seen


@pytest.mark.parametrize("kind", ["csv", "stl"])
def test_large_surfaces_and_measures_come_from_another_process(
    client: TestClient, example: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    body = {"prompts": [{"type": "point", "voxel": [24.0, 62.0, 54.0]}]}
    assert client.post(f"{API}/sessions/{example}/prompts", json=body).status_code == 200
    here = client.get(f"{API}/sessions/{example}/export", params={"format": kind})
    calls: list[Callable[..., object]] = []

    def beside(call: Callable[..., object], *arguments: object, pause: Callable[[], None]) -> object:
        calls.append(call)
        return call(*arguments)

    monkeypatch.setattr(exporting, "LARGE", 1)
    monkeypatch.setattr(exporting, "aside", beside)
    assert client.get(f"{API}/sessions/{example}/export", params={"format": kind}).content == here.content
    assert client.get(f"{API}/sessions/{example}/measurements").json()
    assert len(calls) == 2
