"""Servers for the tests of ``promptseg.app``: real ones, on an empty data folder."""

from __future__ import annotations

import base64
import secrets
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import argon2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from promptseg.app.accounts import Accounts
from promptseg.app.application import create_app
from promptseg.app.settings import ServeSettings
from promptseg.app.store import Database

from .postgres import binaries, running

API = "/api/v1"


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Passwords are hashed with the least work of Argon2id: the library's own costs a quarter second each."""
    least = partial(argon2.PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("argon2.PasswordHasher", least)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Return a function that makes an empty PostgreSQL database and gives its URL; skips where there is none."""
    folder = binaries()
    if folder is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    import psycopg

    with running(folder) as socket:

        def new() -> str:
            name = f"t{secrets.token_hex(6)}"
            with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type,unused-ignore]
            return f"postgresql://postgres@/{name}?host={socket}"

        yield new


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty store, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.sqlite'}"
    return str(request.getfixturevalue("postgres")())


@pytest.fixture
def settings(tmp_path: Path) -> ServeSettings:
    return ServeSettings(data=tmp_path / "data")


@pytest.fixture
def serve() -> Iterator[Callable[[ServeSettings], TestClient]]:
    """Start applications in this process; all end with the test."""
    running: list[TestClient] = []

    def start(settings: ServeSettings) -> TestClient:
        client = TestClient(create_app(settings), base_url="http://127.0.0.1:7860")
        client.__enter__()
        running.append(client)
        return client

    yield start
    for client in reversed(running):
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve: Callable[[ServeSettings], TestClient], settings: ServeSettings) -> TestClient:
    return serve(settings)


@pytest.fixture
def example(client: TestClient) -> str:
    """Return the id of a session on the example."""
    return open_example(client)


def add_users(settings: ServeSettings, *names: str, password: str | None = None) -> dict[str, str]:
    """Add users before a server starts; return a key for each."""
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.store_url)
    accounts = Accounts(database, settings)
    for name in names:
        accounts.add(name, password)
    keys = {name: accounts.new_key(name) for name in names}
    database.close()
    return keys


def open_example(client: TestClient) -> str:
    study = client.post(f"{API}/studies", json={"example": True}).json()["id"]
    answer = client.post(f"{API}/sessions", json={"study": study, "model": "classical"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def voxels(delta: dict[str, Any]) -> NDArray[np.uint8]:
    """Return a Delta's voxels as (z, y, x)."""
    low, high = delta["changed"]
    shape = [b - a for a, b in zip(low, high, strict=True)]
    return np.frombuffer(zlib.decompress(base64.b64decode(delta["voxels"])), np.uint8).reshape(shape)
