"""A person's hand on the page: waits, clicks on voxels, drags, downloads. Voxels are (z, y, x) of the image."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

START_S = 180.0  # a busy machine imports slowly
CHROMIUM_ARGUMENTS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox")
STEP_MS = 90_000  # longest wait for one thing on the page
AT = """([view, z, y, x]) => {
  const [px, py] = promptseg.planes.pixelOf(view, [x, y, z]);
  const box = document.querySelector(`.ps-surface[data-view=${view}]`).getBoundingClientRect();
  return [box.left + px / promptseg.pixelRatio, box.top + py / promptseg.pixelRatio];
}"""
SHOWN = """([view, z, y, x]) => {
  const { planes } = promptseg;
  planes.draw();
  const [px, py] = planes.pixelOf(view, [x, y, z]);
  const [left, top] = planes.panes.get(view).rect;
  const pixel = new Uint8Array(4);
  const gl = planes.gl;
  gl.readPixels(left + px, planes.canvas.height - 1 - (top + py), 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
  return [...pixel].slice(0, 3);
}"""


class Server:
    """``promptseg app`` in its own process."""

    def __init__(self, folder: Path, root: Path | None, **environment: str) -> None:
        self.folder, self.root, self.environment = folder, root, environment
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "promptseg", "app", *([str(self.root)] if self.root else [])]
        command += ["--port", str(self.port), "--data", str(self.folder / "data"), "--no-browser"]
        environment = {**os.environ, "OMP_NUM_THREADS": "2", **self.environment}
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.address}/api/v1/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        pytest.fail(f"the server did not start: {(self.folder / 'log.txt').read_text()[-2000:]}")

    def kill(self) -> None:
        """SIGKILL: no time to save anything."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def ready(page: Any) -> None:
    """Wait until the page has started."""
    page.wait_for_selector("#promptseg[data-ready=true]")


def write_ball(path: Path) -> Path:
    """A bright ellipsoid, anisotropic, oblique and off the origin."""
    z, y, x = np.ogrid[:9, :40, :50]
    inside = ((z - 4) / 3.5) ** 2 + ((y - 20) / 11) ** 2 + ((x - 25) / 14) ** 2 <= 1
    image = np.where(inside, 900, 100).astype(np.int16) + np.random.default_rng(1).integers(
        0, 40, inside.shape, np.int16
    )
    angle = np.deg2rad(12)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.9, -0.9, 4.0])
    affine[:3, 3] = (31.0, -17.0, 250.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(image.T, affine), path)
    return path


class Hand:
    """What a person does on the page."""

    def __init__(self, page: Any) -> None:
        self.page = page

    # --- open ---------------------------------------------------------------------------------------------------

    def open_example(self) -> None:
        self.page.click("[data-key='open.example']")
        self.opened()

    def open_files(self, *paths: Path) -> None:
        self.page.set_input_files("[data-input=files]", [str(path) for path in paths])

    def open_folder(self, folder: Path) -> None:
        self.page.set_input_files("[data-input=folder]", str(folder))

    def opened(self) -> None:
        self.wait("() => promptseg.session && location.hash.includes(promptseg.session.id)")
        self.settled()

    # --- state --------------------------------------------------------------------------------------------------

    def wait(self, condition: str, value: Any = None) -> None:
        self.page.wait_for_function(condition, arg=value, timeout=STEP_MS)

    def settled(self) -> None:
        """Wait until nothing is on its way."""
        self.wait("() => promptseg.busy === 0 && !promptseg.job && !promptseg.beside && !promptseg.frameRequest")

    def state(self, path: str) -> Any:
        return self.page.evaluate(f"() => promptseg.{path}")

    def voxels(self, label: int = 1) -> int:
        """Voxels of a label as the page's own texture has them, not as the server says."""
        return int(self.page.evaluate("v => promptseg.planes.labels.reduce((n, x) => n + (x === v ? 1 : 0), 0)", label))

    def colour(self, view: str, voxel: tuple[float, float, float]) -> list[int]:
        """RGB on the screen where a voxel lies."""
        return list(self.page.evaluate(SHOWN, [view, *voxel]))

    # --- prompts ------------------------------------------------------------------------------------------------

    def grows_by_itself(self, on: bool) -> None:
        self.page.set_checked("[data-key=auto-grow]", on)

    def show(self, voxel: tuple[int, int, int]) -> None:
        """Move the slice sliders so that a voxel's three planes are shown."""
        for plane, index in zip(("axial", "coronal", "sagittal"), voxel, strict=True):
            view = self.page.evaluate("plane => promptseg.planes.frame.view(plane)", plane)
            slider = self.page.locator(f"[data-pane={view}] .ps-strip-input")
            if slider.is_visible():
                slider.fill(str(index))
        self.settled()

    def place(self, view: str, voxel: tuple[float, float, float]) -> tuple[float, float]:
        x, y = self.page.evaluate(AT, [view, *voxel])
        return x, y

    def click(self, view: str, voxel: tuple[float, float, float], **how: Any) -> None:
        """Click and wait for the slice's mask."""
        before = self.state("session.prompts.length")
        self.page.mouse.click(*self.place(view, voxel), **how)
        self.wait("n => promptseg.session.prompts.length > n && promptseg.busy === 0", before)

    def drag(self, view: str, start: tuple[float, float, float], end: tuple[float, float, float]) -> None:
        before = self.state("session.prompts.length")
        self.page.mouse.move(*self.place(view, start))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(view, end), steps=4)
        self.page.mouse.up()
        self.wait("n => promptseg.session.prompts.length > n && promptseg.busy === 0", before)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def grow(self) -> None:
        self.press("Space")
        self.wait("() => promptseg.job || promptseg.finished")
        self.settled()

    def change(self, selector: str) -> None:
        """Press a button that changes the session, and wait for the answer."""
        before = self.state("session.revision")
        self.page.click(selector)
        self.wait("n => promptseg.session.revision !== n && promptseg.busy === 0", before)

    def new_label(self, name: str) -> None:
        before = self.state("session.labels.length")
        self.page.fill(".ps-add input", name)
        self.page.click("[data-key=add-label]")
        self.wait("n => promptseg.session.labels.length > n && promptseg.busy === 0", before)

    def opened_files(self, *paths: Path) -> None:
        """Leave what is open, upload files and wait for their session."""
        if self.page.evaluate("() => Boolean(promptseg.session)"):
            self.page.click(".ps-logo")
            self.wait("() => !promptseg.session")
        self.open_files(*paths)
        self.opened()
        self.grows_by_itself(False)

    def stroke(self, view: str, *voxels: tuple[float, float, float]) -> None:
        """Press at the first voxel, go over the others, let go, and wait for the answer."""
        before = self.state("session.revision")
        self.page.mouse.move(*self.place(view, voxels[0]))
        self.page.mouse.down()
        for voxel in voxels[1:]:
            self.page.mouse.move(*self.place(view, voxel), steps=3)
        self.page.mouse.up()
        self.wait("n => promptseg.session.revision !== n && promptseg.busy === 0", before)

    # --- results ------------------------------------------------------------------------------------------------

    def tab(self, name: str) -> None:
        self.page.click(f"#ps-tab-{name}")

    def export(self, kind: str, folder: Path) -> Path:
        self.tab("export")
        with self.page.expect_download(timeout=STEP_MS) as download:
            self.page.click(f"[data-format='{kind}']")
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        self.tab("segment")
        return path
