"""What a click costs over the engine's own time: the same clicks in this process and through a real server.

    python benchmarks/service_overhead.py

Each click is taken back at once, and lies on a slice that is embedded already, so both sides do the same work again and
again. Prints the medians in ms, and their difference.
"""

from __future__ import annotations

import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from service_load import Server, add_users

import promptseg
from promptseg.example import example_path
from promptseg.prompts import Point

CLICKS = 60
MODEL = "builtin"
VOXELS = [(24.0, 60.0 + n % 5, 52.0 + n % 7) for n in range(CLICKS)]


def timed(click: Callable[[tuple[float, float, float]], None], undo: Callable[[], object]) -> list[float]:
    """Return the seconds of every click but the first ones, which embed the slice."""
    seconds = []
    for voxel in (*VOXELS[:5], *VOXELS):
        began = time.perf_counter()
        click(voxel)
        seconds.append(time.perf_counter() - began)
        undo()
    return seconds[5:]


def main() -> int:
    """Measure both sides in turn; print."""
    session = promptseg.open_session(example_path(), MODEL, "cpu")

    def here(voxel: tuple[float, float, float]) -> None:
        session.add(Point(voxel=voxel), propagate=False)

    with tempfile.TemporaryDirectory() as name:
        (key,) = add_users(Path(name) / "data", 1).values()
        server = Server(Path(name) / "data")
        headers = {"Authorization": f"Bearer {key}"}
        inside: list[float] = []
        with httpx.Client(base_url=f"{server.url}/api/v1", headers=headers, timeout=300) as api:
            study = api.post("/studies", json={"example": True}).json()["id"]
            path = "/sessions/" + api.post("/sessions", json={"study": study, "model": MODEL}).json()["id"]

            def there(voxel: tuple[float, float, float]) -> None:
                answer = api.post(f"{path}/prompts", json={"prompts": [{"type": "point", "voxel": voxel}]})
                inside.append(answer.raise_for_status().json()["seconds"])

            rounds = [(timed(here, session.undo), timed(there, lambda: api.post(f"{path}/undo"))) for _ in range(3)]
        server.end(signal.SIGTERM)
    local, served = ([second for pair in rounds for second in pair[side]] for side in (0, 1))
    ms = {
        "engine_ms": 1000 * statistics.median(local),
        "served_ms": 1000 * statistics.median(served),
        "of_that_in_the_engine_ms": 1000 * statistics.median(inside),
    }
    ms["overhead_ms"] = ms["served_ms"] - ms["engine_ms"]
    print(json.dumps({name: round(value, 2) for name, value in ms.items()}, indent=1))
    return int(ms["overhead_ms"] > 15.0)


if __name__ == "__main__":
    sys.exit(main())
