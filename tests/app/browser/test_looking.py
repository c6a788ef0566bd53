"""Fingers, and the folder of images that the server was started with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from page_hand import Hand, Server, ready


def test_fingers_tap_scroll_and_pinch(browser: Any, server: Server) -> None:
    context = browser.new_context(viewport={"width": 820, "height": 1100}, has_touch=True)
    try:
        page = context.new_page()
        page.goto(server.address)
        ready(page)
        hand = Hand(page)
        hand.open_example()
        hand.grows_by_itself(False)
        hand.show((26, 52, 54))
        x, y = hand.place("axial", (26, 52, 54))
        fingers = page.context.new_cdp_session(page)

        def touch(kind: str, *points: tuple[float, float]) -> None:
            at = [{"x": px, "y": py, "id": number} for number, (px, py) in enumerate(points)]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

        touch("touchStart", (x, y))
        for step in range(1, 11):
            touch("touchMove", (x, y + 4 * step))
        touch("touchEnd")
        hand.settled()
        assert abs(hand.state("planes.crosshair")[2] - 26) in (4, 5)  # 8 px a slice
        assert hand.state("session.prompts.length") == 0

        hand.show((26, 52, 54))
        touch("touchStart", (x, y))
        touch("touchEnd")
        hand.wait("() => promptseg.session.prompts.length === 1 && promptseg.busy === 0")
        assert hand.voxels() > 300

        zoom = "() => promptseg.planes.panes.get('axial').zoom"
        before = page.evaluate(zoom)
        touch("touchStart", (x - 20, y), (x + 20, y))
        for step in range(1, 9):
            touch("touchMove", (x - 20 - 5 * step, y), (x + 20 + 5 * step, y))
        touch("touchEnd")
        hand.wait(f"z => ({zoom})() > 1.5 * z", before)
        assert hand.state("session.prompts.length") == 1
    finally:
        context.close()


def test_the_servers_folder_is_browsed_and_opened(page: Any, server_folder: Path) -> None:
    hand = Hand(page)
    listed = page.locator(".ps-server")
    listed.get_by_text("ward").click()
    listed.get_by_text("ball.nii.gz").click()
    hand.opened()
    assert hand.state("session.shape") == [9, 40, 50]


def test_a_file_outside_the_servers_folder_is_refused(new_page: Callable[[], Any], server: Server) -> None:
    page = new_page()
    page.goto(f"{server.address}/?open=/etc/hostname")
    ready(page)
    page.wait_for_selector(".ps-problem:not([hidden])")
    assert len(page.locator(".ps-problem").inner_text().split()) > 4
    assert page.evaluate("() => promptseg.session") is None
