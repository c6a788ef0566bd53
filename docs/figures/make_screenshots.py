"""Pictures of the page's main states, written to out/app (or the folder named), and the README's one.

python docs/figures/make_screenshots.py [FOLDER]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "app" / "browser"))
FIGURE = REPOSITORY / "docs" / "figures" / "app.png"


def pictures(hand: object, folder: Path) -> None:
    """Do a small job and take a picture at each state."""
    from typing import Any

    from page_hand import ready

    page: Any = hand.page  # type: ignore[attr-defined]
    me: Any = hand

    def shot(name: str) -> None:
        page.mouse.move(5, 5)
        page.evaluate("() => document.querySelectorAll('.ps-toast').forEach((toast) => toast.remove())")
        page.screenshot(path=folder / f"{name}.png")

    shot("1-start")
    me.open_example()
    shot("2-opened")
    me.grows_by_itself(False)
    jobs = [
        ("liver", ((26, 27, 25), (26, 100, 113)), ((26, 76, 95), (26, 36, 39))),
        ("spleen", ((22, 62, 112), (22, 102, 152)), ()),
        ("kidney_left", ((17, 75, 105), (17, 105, 132)), ()),
    ]
    for name, (low, high), not_here in jobs:
        me.new_label(name)
        me.show(tuple((a + b) // 2 for a, b in zip(low, high, strict=True)))
        me.press("b")
        me.drag("axial", low, high)
        for voxel in not_here:
            me.click("axial", voxel, button="right")
        me.grow()
        me.change("[data-key='edit-islands']")
    me.press("p")
    me.press("1")
    me.show((26, 64, 70))
    me.wait("() => promptseg.selectedLabel().value === 1 && promptseg.busy === 0 && promptseg.review?.items.length")
    page.evaluate("() => new Promise((go) => setTimeout(go, 4000))")  # the 3D view rests, then draws
    shot("3-segmented")
    shutil.copy(folder / "3-segmented.png", FIGURE)
    for number, tab in enumerate(("review", "measure", "automatic", "export"), start=4):
        me.tab(tab)
        page.evaluate("() => new Promise((go) => setTimeout(go, 2500))")
        shot(f"{number}-{tab}")
    me.tab("segment")
    page.click("[data-layout=split]")
    me.settled()
    shot("8-split")
    page.click("[data-key=theme]")
    me.settled()
    shot("9-light")
    page.keyboard.press("?")
    shot("10-keys")
    page.keyboard.press("Escape")
    me.tab("automatic")
    page.locator("[data-model=medsam-vit-b] button").click()
    shot("11-unchecked")
    session = page.evaluate("() => promptseg.session.id")
    page.goto(f"{page.url.split('#')[0]}?lang=zh-CN#/s/{session}")
    ready(page)
    me.opened()
    me.show((26, 64, 70))
    page.evaluate("() => new Promise((go) => setTimeout(go, 4000))")
    shot("12-chinese")


def main() -> None:
    """Write all pictures."""
    from page_hand import CHROMIUM_ARGUMENTS, Hand, Server, ready
    from playwright.sync_api import sync_playwright

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "out" / "app"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        server = Server(Path(name), None)
        server.start()
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(CHROMIUM_ARGUMENTS))
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(server.address)
            ready(page)
            pictures(Hand(page), folder)
        finally:
            browser.close()
            server.kill()


if __name__ == "__main__":
    main()
