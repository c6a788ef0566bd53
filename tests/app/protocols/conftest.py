"""A real server on a real port for real clients."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from promptseg.app.application import create_app
from promptseg.app.settings import ServeSettings


@pytest.fixture(scope="module")
def listen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Start applications on free ports; returns their address."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(change: Callable[[FastAPI], Any] | None = None, **settings: Any) -> str:
        settings = {"models": ("classical",), **settings}
        app = create_app(ServeSettings(data=tmp_path_factory.mktemp("data"), **settings))
        if change is not None:
            change(app)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread))
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.02)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def address(listen: Callable[..., str]) -> str:
    return listen()
