"""How fast the page answers, in Debian's Chromium with software WebGL: what a laptop without a graphics card sees.

    python benchmarks/app_latency.py [--clicks 20] [--size 512,512,300]

Prints: click to slice mask on the screen, click to the whole liver in 3D, wheel to new slice, frames a second while
scrolling. "On the screen" is the end of the drawing call plus one read of a pixel, which waits for the driver. "From
picture to picture" is the time between two of the browser's own frames, the whole page put together, in a Chromium that
draws as it does by itself where there is no graphics card.
The server runs in its own process on the same cores. Needs `make viewer`, playwright and chromium.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "app" / "browser"))

# Chromium as it starts itself on a machine without a graphics card: WebGL and the page are drawn by the processor.
NO_CARD = ("--enable-unsafe-swiftshader", "--no-sandbox")

# Draws all wanted panes now and waits for the driver.
SYNC = """
window.drawNow = () => {
  const { planes } = promptseg;
  const views = promptseg.wanted.size ? [...promptseg.wanted] : undefined;
  promptseg.wanted.clear();
  planes.draw(views, promptseg.rough);
  promptseg.marks.draw();
  planes.gl.readPixels(0, 0, 1, 1, planes.gl.RGBA, planes.gl.UNSIGNED_BYTE, new Uint8Array(4));
};
"""
CLICK = """async ([x, y, z]) => {
  const began = performance.now();
  await promptseg.click("axial", [x, y, z], true);
  drawNow();
  return [performance.now() - began, 1000 * promptseg.lastChange.server_s];
}"""
GROW = """async ([x, y, z]) => {
  promptseg.finished = null;
  const began = performance.now();
  await promptseg.click("axial", [x, y, z], true);
  await promptseg.grow();
  while (!promptseg.finished) await new Promise((go) => setTimeout(go, 10));
  drawNow();
  return performance.now() - began;
}"""
SCROLL = """(count) => {
  const times = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    promptseg.scroll("axial", i % 40 < 20 ? 1 : -1);
    drawNow();
    times.push(performance.now() - began);
  }
  return times;
}"""
WINDOW = """(count) => {
  const times = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    promptseg.shiftWindow(i % 2 ? 0.02 : -0.02, 0.01);
    drawNow();
    times.push(performance.now() - began);
  }
  return times;
}"""

FRAMES = """([what, seconds]) => new Promise((done) => {
  const shown = [];
  const from = performance.now();
  const step = (now) => {
    shown.push(now);
    if (performance.now() - from > 1000 * seconds) return done(shown.slice(1).map((at, i) => at - shown[i]));
    if (what === "window") promptseg.shiftWindow(shown.length % 2 ? 0.02 : -0.02, 0.01);
    else promptseg.scroll("axial", shown.length % 40 < 20 ? 1 : -1);
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


def line(name: str, times: list[float], goal: str) -> None:
    """Print a row: median, 95th percentile, goal."""
    p95 = float(np.percentile(times, 95))
    print(f"{name:48} median {median(times):7.0f} ms   p95 {p95:7.0f} ms   n {len(times):3}   goal {goal}")


def measure_clicks(hand: Any, clicks: int) -> None:
    """Clicks in the example's liver, each undone; then one click grown to the whole organ."""
    from promptseg.example import example_truth

    truth = example_truth().array == 1
    hand.open_example()
    hand.grows_by_itself(False)
    hand.page.evaluate(SYNC)
    rng = np.random.default_rng(0)
    times, server = [], []
    for number in range(clicks + 1):
        inside = np.argwhere(truth[20:32]) + np.array([20, 0, 0])
        z, y, x = (int(v) for v in inside[rng.integers(len(inside))])
        hand.show((z, y, x))
        took, own = hand.page.evaluate(CLICK, [x, y, z])
        if number:  # the first one loads the model
            times.append(took)
            server.append(own)
        hand.press("Control+z")
        hand.wait("() => !promptseg.session.prompts.length && promptseg.busy === 0")
    line("click to slice mask on screen", times, "<= 250, p95 <= 500")
    line("  of which the engine", server, "")
    hand.show((26, 52, 54))
    line("click to the whole liver in 3D", [hand.page.evaluate(GROW, [54, 52, 26])], "<= 5000")


def open_large(hand: Any, size: tuple[int, int, int], folder: Path) -> None:
    """Open a large CT-like volume and wait for the 3D view's first picture."""
    import SimpleITK as sitk

    x, y, z = size
    ramp = np.linspace(-900, 1200, x, dtype=np.float32)[None, None] + 80 * np.sin(np.arange(y) / 9)[None, :, None]
    volume = (ramp + 40 * np.cos(np.arange(z) / 5)[:, None, None]).astype(np.int16)
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing((0.8, 0.8, 1.0))
    sitk.WriteImage(image, str(folder / "large.nrrd"), useCompression=False)
    hand.open_files(folder / "large.nrrd")
    hand.opened()
    hand.page.evaluate(SYNC)
    hand.page.evaluate("() => new Promise((go) => setTimeout(go, 3000))")


def measure_scrolling(hand: Any, size: tuple[int, int, int], folder: Path) -> None:
    """Scroll and window the large volume."""
    x, y, z = size
    open_large(hand, size, folder)
    hand.page.evaluate(SCROLL, 10)
    times = hand.page.evaluate(SCROLL, 60)
    line(f"wheel to new slice, {x} x {y} x {z}", times, "<= 33")
    line("window drag, all panes", hand.page.evaluate(WINDOW, 30), "<= 33")
    print(f"{'frames a second while scrolling':48} {1000 / median(times):.0f}   goal >= 30")


def measure_frames(hand: Any, size: tuple[int, int, int], folder: Path) -> None:
    """The browser's own frames while the hand scrolls and windows."""
    open_large(hand, size, folder)
    for what in ("scroll", "window"):
        line(f"  {what}: from picture to picture", hand.page.evaluate(FRAMES, [what, 3]), "<= 33")


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--size", default="512,512,300", help="X,Y,Z of the large volume")
    given = parser.parse_args()
    from page_hand import CHROMIUM_ARGUMENTS, Hand, Server, ready
    from playwright.sync_api import sync_playwright

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        server = Server(Path(name), None)
        server.start()
        x, y, z = (int(v) for v in given.size.split(","))
        steps = [
            (CHROMIUM_ARGUMENTS, lambda hand: measure_clicks(hand, given.clicks)),
            (CHROMIUM_ARGUMENTS, lambda hand: measure_scrolling(hand, (x, y, z), Path(name))),
            (NO_CARD, lambda hand: measure_clicks(hand, given.clicks)),
            (NO_CARD, lambda hand: measure_frames(hand, (x, y, z), Path(name))),
        ]
        try:
            for number, (arguments, measure) in enumerate(steps):
                if number in (0, 2):
                    print(
                        "Chromium told to draw all by SwiftShader" if number == 0 else "Chromium as it draws by itself"
                    )
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(arguments))
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.goto(server.address)
                ready(page)
                measure(Hand(page))
                browser.close()
        finally:
            server.kill()


if __name__ == "__main__":
    main()
