"""An own models folder for every test, and a web server that can misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from promptseg.models.settings import ModelSettings, model_settings
from promptseg.models.store import Store


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSettings:
    """Settings of this test alone: empty folders, no mirrors, online, no proxy."""
    for name in ("HF_ENDPOINT", "PROMPTSEG_MIRRORS", "PROMPTSEG_OFFLINE", "HF_HUB_OFFLINE", "PROMPTSEG_RUNTIME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROMPTSEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("PROMPTSEG_CACHE", str(tmp_path / "cache"))
    return model_settings()


@pytest.fixture
def store(own_folders: ModelSettings) -> Store:
    return Store(own_folders)


@dataclass
class FileServer:
    """Serves ``files`` by path; knobs make it misbehave."""

    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)  # (path, Range header)
    cut_after: int = 0  # close the connection after so many bytes, once
    delay_s: float = 0.0
    web_page: bool = False
    url: str = ""


def _handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            server.requests.append((self.path, wanted))
            if server.delay_s:
                threading.Event().wait(server.delay_s)
            content = server.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = 0
            if wanted and self.headers.get("If-Range") == f'"{hash(content)}"':
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            self.send_header("Content-Type", "text/html" if server.web_page else "application/octet-stream")
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("ETag", f'"{hash(content)}"')
            self.send_header("Connection", "close")
            self.end_headers()
            body = content[start:]
            if server.cut_after:
                body, server.cut_after = body[: server.cut_after], 0
            self.wfile.write(body)
            self.close_connection = True

    return Handler


@pytest.fixture
def file_server() -> Iterator[FileServer]:
    server = FileServer()
    http_server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    server.url = f"http://127.0.0.1:{http_server.server_port}"
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    http_server.shutdown()
    http_server.server_close()
    thread.join()
