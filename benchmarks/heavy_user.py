"""One person who asks for everything that is slow, for ``service_load.py --heavy``: four tabs, each as fast as it can.

One tab paints strokes of 150,000 voxels, draws lassos of 20,000 and 100,000 corners and grows by a metre; one takes PDF
reports; one works on an image of 64 million voxels; one has a 3D answer made again and again.
"""

from __future__ import annotations

import gzip
import json
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable

import httpx
import numpy as np

PATIENCE_S = 300.0
SIDE = 400  # voxels of the large image's sides
CLICK = {"type": "point", "voxel": [24, 62, 54]}


def large_image() -> bytes:
    """Return a .nii.gz of 64 million voxels with a ball in the middle, spacing 0.8 x 0.9 x 1.1 mm."""
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, SIDE, SIDE, SIDE, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, 2, 8)
    struct.pack_into("<8f", head, 76, 1, 0.8, 0.9, 1.1, 0, 0, 0, 0)
    struct.pack_into("<f", head, 108, 352)
    head[344:348] = b"n+1\0"
    square = (np.arange(SIDE) - SIDE / 2) ** 2
    ball = square[:, None, None] + square[:, None] + square < 90**2
    return gzip.compress(bytes(head) + np.where(ball, np.uint8(160), np.uint8(40)).tobytes(), 1)


class HeavyUser:
    """Works while ``active`` is set.

    Attributes:
        seconds: how long each kind of request took.
        refused: what was answered with 400 and more, by kind.
    """

    def __init__(self, url: str, key: str, model: str, over: threading.Event) -> None:
        self._url, self._headers, self._model, self._over = url, {"Authorization": f"Bearer {key}"}, model, over
        self.active = threading.Event()
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.refused: dict[str, list[str]] = defaultdict(list)
        self._working = 0
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Open the sessions and begin to wait for ``active``."""
        with self._api() as api:
            example = api.post("/studies", json={"example": True}).json()["id"]
            large = api.post("/studies", files={"files": ("large.nii.gz", large_image())}).json()["id"]
            tabs: list[Callable[[httpx.Client, str], None]] = [
                self._large_prompts,
                self._reports,
                self._large_image,
                self._in_3d,
            ]
            for tab, study in zip(tabs, (example, example, large, example), strict=True):
                session = api.post("/sessions", json={"study": study, "model": self._model}).json()["id"]
                self._threads.append(threading.Thread(target=self._repeat, args=(tab, session)))
        for thread in self._threads:
            thread.start()

    def rest(self) -> None:
        """Ask for nothing more, and wait for what was asked for."""
        self.active.clear()
        while self._working:
            time.sleep(0.05)

    def join(self) -> None:
        """Wait for the end."""
        self.active.set()
        for thread in self._threads:
            thread.join()

    def _api(self) -> httpx.Client:
        return httpx.Client(base_url=f"{self._url}/api/v1", headers=self._headers, timeout=PATIENCE_S)

    def _repeat(self, tab: Callable[[httpx.Client, str], None], session: str) -> None:
        with self._api() as api:
            while not self._over.is_set():
                self.active.wait()
                tab(api, f"/sessions/{session}")

    def _timed(self, name: str, call: Callable[[], httpx.Response]) -> httpx.Response | None:
        """Send a request unless it is time to rest."""
        with self._lock:
            if not self.active.is_set() or self._over.is_set():
                return None
            self._working += 1
        began = time.perf_counter()
        try:
            answer = call()
        finally:
            with self._lock:
                self._working -= 1
        self.seconds[name].append(time.perf_counter() - began)
        if answer.status_code >= 400:
            self.refused[name].append(f"{answer.status_code} {answer.text[:150]}")
            time.sleep(min(float(answer.headers.get("Retry-After", 0.05)), 1.0))
        return answer

    def _large_prompts(self, api: httpx.Client, path: str) -> None:
        stroke = [[z, y, x] for z in range(15, 30) for y in range(20, 120) for x in range(20, 120)]
        chance = np.random.default_rng(1)
        corners = {n: chance.uniform(20, 90, (n, 2)).round(1).tolist() for n in (20_000, 100_000)}
        click = json.dumps({"prompts": [CLICK]})
        stroke_of = json.dumps({"prompts": [{"type": "scribble", "voxels": stroke}]})
        lasso_of = {
            n: json.dumps({"prompts": [{"type": "lasso", "plane": "axial", "index": 24, "polygon": polygon}]})
            for n, polygon in corners.items()
        }
        grow = json.dumps({"edit": {"kind": "grow", "by_mm": 1000}})
        json_type = {"Content-Type": "application/json"}

        def post(name: str, part: str, body: str = "") -> None:
            self._timed(name, lambda: api.post(path + part, content=body, headers=json_type))

        while self.active.is_set() and not self._over.is_set():
            post("click", "/prompts", click)
            post("stroke of 150,000 voxels", "/prompts", stroke_of)
            post("undo", "/undo")
            post("lasso of 20,000 corners", "/prompts", lasso_of[20_000])
            post("undo", "/undo")
            post("lasso of 100,000 corners", "/prompts", lasso_of[100_000])
            post("grow by 1000 mm", "/edits", grow)
            post("undo", "/undo")
            post("undo", "/undo")

    def _reports(self, api: httpx.Client, path: str) -> None:
        self._timed("click", lambda: api.post(f"{path}/prompts", json={"prompts": [CLICK]}))
        self._timed("PDF report", lambda: api.get(f"{path}/export?format=report.pdf"))

    def _large_image(self, api: httpx.Client, path: str) -> None:
        middle = [SIDE // 2] * 3
        steps = [
            ("large image: click", "/prompts", {"prompts": [{"type": "point", "voxel": middle}]}),
            ("large image: grow", "/edits", {"edit": {"kind": "grow", "by_mm": 60}}),
            ("large image: smooth", "/edits", {"edit": {"kind": "smooth", "sigma_mm": 3}}),
            ("large image: islands", "/edits", {"edit": {"kind": "remove islands"}}),
            ("large image: holes", "/edits", {"edit": {"kind": "fill holes"}}),
            ("large image: grow by 1000 mm", "/edits", {"edit": {"kind": "grow", "by_mm": 1000}}),
        ]
        for name, part, body in steps:
            self._timed(name, lambda part=part, body=body: api.post(path + part, json=body))  # type: ignore[misc]
        for _ in steps:
            self._timed("large image: undo", lambda: api.post(f"{path}/undo"))

    def _in_3d(self, api: httpx.Client, path: str) -> None:
        began = time.perf_counter()
        job = self._timed("3D answer: asked", lambda: api.post(f"{path}/segment", json={"prompts": [CLICK]}))
        if job is None or job.status_code >= 400:
            return
        while not self._ended(api, job.json()["id"]):
            time.sleep(0.5)
        self.seconds["3D answer"].append(time.perf_counter() - began)
        self._timed("undo", lambda: api.post(f"{path}/undo"))

    def _ended(self, api: httpx.Client, job: str) -> bool:
        """Look whether a job has ended; one that is not wanted any more is cancelled."""
        try:
            if not self.active.is_set():
                api.delete(f"/jobs/{job}")
            return api.get(f"/jobs/{job}").json()["state"] in ("done", "cancelled", "failed")
        except httpx.TransportError:  # a kept connection was closed a moment ago
            return False
