"""A server of its own process, and Debian's Chromium with software WebGL.

Everything the page asks for is watched: a request to any other host fails the test that made it.
"""

from __future__ import annotations

import hashlib
import importlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from page_hand import CHROMIUM_ARGUMENTS, STEP_MS, Server, ready, write_ball

pytest.importorskip("playwright", reason="playwright is not installed")

OWN_MODEL = """[own]
family = "sam"
arch = "vit_b"
input_px = 1024
preprocess = "medsam"
title = "Our own model"
dimensions = 2
prompts = ["box"]
licence = "CC-BY-NC-4.0"
commercial_use = false
source = "this test"
advice = "As fast as it looks."
files = [{{ name = "own.pth", urls = ["{url}"], hashes = ["sha256:{digest}"], bytes = {size} }}]
"""

RARE_MODEL = """[rare]
family = "sam"
arch = "vit_b"
input_px = 1024
preprocess = "medsam"
title = "A rare model"
dimensions = 2
prompts = ["box"]
licence = "Apache-2.0"
commercial_use = true
source = "this test"
files = [{{ name = "rare.pth", urls = ["{url}"], hashes = [], hash_source = "none published", bytes = 0 }}]
"""


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the server was started with."""
    folder = tmp_path_factory.mktemp("images")
    write_ball(folder / "ward" / "ball.nii.gz")
    return folder


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, server_folder: Path, models_folder: Path) -> Iterator[Server]:
    """The app, with tiny whole-body weights and a model that a slow server next door gives."""
    from promptseg.app.viewer import library_path

    if find_spec("gradio") is None:  # importing it takes seconds, and only the server needs it
        pytest.skip("the browser app is not installed")
    if not library_path().is_file():
        pytest.skip("the viewer's library is not built (make viewer)")
    models = models_folder
    if find_spec("totalsegmentator") is not None:
        weights = models / "totalsegmentator" / "nnunet" / "results"
        importlib.import_module("tiny_weights").write_task(weights, "total", "bands", fast=True)
    with patient_download(models):
        own = {"PROMPTSEG_MODELS": str(models), "PROMPTSEG_OFFLINE": "", "PROMPTSEG_MIRRORS": "", "no_proxy": "*"}
        running = Server(tmp_path_factory.mktemp("app"), server_folder, **own)
        running.start()
        yield running
        running.kill()


@contextmanager
def patient_download(models: Path) -> Iterator[None]:
    """A web server with the files of the models "own" and "rare", whose rows are put into the models folder.

    In "own" it stops half way until there is a file "go".
    """
    content = bytes(range(256)) * 16384

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            half = len(content) // 2 if self.path == "/own.pth" else len(content)
            self.wfile.write(content[:half])
            deadline = time.monotonic() + 120
            while half < len(content) and not (models / "go").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            self.wfile.write(content[half:])

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    (models / "own").mkdir(parents=True)
    url, digest = f"http://127.0.0.1:{web.server_port}/own.pth", hashlib.sha256(content).hexdigest()
    (models / "own" / "model.toml").write_text(OWN_MODEL.format(url=url, digest=digest, size=len(content)))
    (models / "rare").mkdir()
    (models / "rare" / "model.toml").write_text(RARE_MODEL.format(url=url.replace("own.pth", "rare.pth")))
    yield
    web.shutdown()
    web.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, closed with each file of tests: Playwright keeps an event loop running in the main thread."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_ARGUMENTS))
        yield running
        running.close()


@pytest.fixture
def new_page(server: Server, browser: Any) -> Iterator[Callable[[], Any]]:
    """Make pages, each in its own context; afterwards check that nothing went outside and no script failed."""
    contexts: list[Any] = []
    outside: list[str] = []
    failures: list[str] = []

    def watch(route: Any) -> None:
        if route.request.url.startswith(server.address):
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    def make() -> Any:
        context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
        contexts.append(context)
        context.route(lambda url: url.startswith("http"), watch)
        page = context.new_page()
        page.set_default_timeout(STEP_MS)
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(server.address)
        ready(page)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not outside, f"the page asked other hosts: {outside}"
    assert not failures, f"scripts failed: {failures}"


@pytest.fixture
def page(new_page: Callable[[], Any]) -> Any:
    return new_page()
