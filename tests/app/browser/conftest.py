"""A server of its own process, and Debian's Chromium with software WebGL.

Everything the page asks for is watched: a request to any other host fails the test that made it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from page_hand import CHROMIUM_ARGUMENTS, STEP_MS, Server, ready

pytest.importorskip("gradio", reason="the browser app is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from promptseg.app.viewer import library_path

    if not library_path().is_file():
        pytest.skip("the viewer's library is not built (make viewer)")
    running = Server(tmp_path_factory.mktemp("app"), None)
    running.start()
    yield running
    running.kill()


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
