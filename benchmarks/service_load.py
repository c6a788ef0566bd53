"""Load and chaos on a real server process.

    python benchmarks/service_load.py                 # 20 users, 10 clicks each and an export, again and again for 60 s
    python benchmarks/service_load.py --seconds 300
    python benchmarks/service_load.py --think 4       # people look for 4 s on the mean before they click again
    python benchmarks/service_load.py --kills 20      # the same while the server is killed 20 times and started again
    python benchmarks/service_load.py --heavy --users 6 --think 3 --seconds 240   # beside one who asks for slow things

Without ``--think`` everybody clicks as soon as the last answer is there: the server is always saturated, and a click
waits for those of the other 19. Prints p50 and p95 of a click, errors, the server's memory over time; with ``--kills``
also lost prompts (acknowledged, but gone) and cross-talk (a user's mask that is not what the same prompts give alone).
Ends with 1 where something is lost. ``--heavy`` alternates, half a minute each, between everybody alone and everybody
beside one heavy user (``heavy_user.py``), and prints the others' clicks of both kinds of half-minutes: one run, one
server, one machine, whatever else the machine does meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from heavy_user import HeavyUser

import promptseg
from promptseg.example import example_path
from promptseg.prompts import Point

CLICKS = 10
PATIENCE_S = 300.0


@dataclass
class User:
    """One simulated person: what was sent, acknowledged, and how long it took."""

    name: str
    key: str
    url: str
    model: str
    over: threading.Event
    think: float = 0.0
    rounds: int = 0
    errors: list[str] = field(default_factory=list)
    began: list[float] = field(default_factory=list)  # per click, as perf_counter tells it
    seconds: list[float] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    session: str = ""
    acknowledged: list[list[float]] = field(default_factory=list)
    final: bytes = b""

    def work(self) -> None:
        """Open, click, export, again until the time is over; the last session stays for the comparison."""
        chance = random.Random(self.name)
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=PATIENCE_S) as api:
            try:
                study = self.send(api, "POST", "/studies", {"example": True}).json()["id"]
                while True:
                    self.one_round(api, study, chance)
                    self.rounds += 1
                    if self.over.is_set():
                        return
                    self.send(api, "DELETE", f"/sessions/{self.session}", None)
            except Exception as exc:  # noqa: BLE001 - a simulated person reports whatever went wrong
                self.errors.append(f"{type(exc).__name__}: {exc}")

    def one_round(self, api: httpx.Client, study: str, chance: random.Random) -> None:
        """Open a session, click, look at what is kept, export."""
        body = {"study": study, "model": self.model}
        self.session = self.send(api, "POST", "/sessions", body).json()["id"]
        self.acknowledged, self.final = [], b""
        for _ in range(CLICKS):
            if self.think:
                time.sleep(chance.expovariate(1.0 / self.think))
            voxel = [float(chance.randrange(*span)) for span in ((5, 43), (40, 100), (40, 140))]
            self.click(api, voxel)
        path = f"/sessions/{self.session}"
        kept = [item["prompt"]["voxel"] for item in self.send(api, "GET", path, None).json()["prompts"]]
        self.lost += sum(voxel not in kept for voxel in self.acknowledged)
        self.doubled += len(kept) - len(self.acknowledged)
        self.send(api, "GET", f"{path}/export?format=nii.gz", None)
        self.final = self.send(api, "GET", f"{path}/labels.nii", None).content[352:]

    def click(self, api: httpx.Client, voxel: list[float]) -> None:
        """Send a prompt; after a broken connection look whether it was kept before sending it again."""
        path = f"/sessions/{self.session}"
        body = {"prompts": [{"type": "point", "voxel": voxel}]}
        while True:
            began = time.perf_counter()
            try:
                answer = api.post(f"{path}/prompts", json=body)
            except httpx.TransportError:
                kept = [item["prompt"]["voxel"] for item in self.send(api, "GET", path, None).json()["prompts"]]
                if len(kept) > len(self.acknowledged):
                    self.acknowledged = kept
                    return
                continue
            if answer.status_code in (429, 503):
                time.sleep(0.2)
                continue
            answer.raise_for_status()
            self.began.append(began)
            self.seconds.append(time.perf_counter() - began)
            self.acknowledged.append(voxel)
            return

    def send(self, api: httpx.Client, method: str, path: str, body: dict[str, object] | None) -> httpx.Response:
        """Send a request until the server answers it: it may be away for a moment."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = api.request(method, path, json=body)
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
                continue
            if answer.status_code in (429, 503) and time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            if method == "DELETE" and answer.status_code == 404:
                return answer  # the first try arrived, its answer did not
            answer.raise_for_status()
            return answer


class Server:
    """``promptseg serve`` in its own process."""

    def __init__(self, data: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "promptseg", "serve", "--no-ui", "--auth", "keys"]
        self._command += ["--data", str(data), "--port", str(self.port)]
        self._log = (data.parent / "server.log").open("ab")
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start, and wait until it answers."""
        self.process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/api/v1/health", timeout=5).status_code == 200:
                    return self.process
            except httpx.TransportError:
                time.sleep(0.05)
        raise SystemExit(f"the server does not start: {Path(self._log.name).read_text(errors='replace')[-1500:]}")

    def resident_mib(self) -> float:
        """Return the process's resident memory."""
        try:
            fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        except OSError:
            return 0.0
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1024**2

    def end(self, how: int) -> None:
        """Send a signal and wait."""
        self.process.send_signal(how)
        self.process.wait(timeout=120)


def add_users(data: Path, count: int) -> dict[str, str]:
    """Make users with a key each."""
    from promptseg.app.accounts import Accounts
    from promptseg.app.settings import ServeSettings
    from promptseg.app.store import Database

    settings = ServeSettings(data=data)
    settings.data.mkdir(parents=True)
    database = Database(settings.store_url)
    accounts = Accounts(database, settings)
    keys = {}
    for number in range(count):
        name = f"user{number:02d}"
        accounts.add(name)
        keys[name] = accounts.new_key(name)
    database.close()
    return keys


def cross_talk(users: list[User], model: str) -> int:
    """Return how many users' final masks differ from the same prompts replayed alone."""
    wrong = 0
    for user in users:
        if not user.final:
            continue
        session = promptseg.open_session(example_path(), model, "cpu")
        for z, y, x in user.acknowledged:
            session.add(Point(voxel=(z, y, x)), propagate=False)
        wrong += not np.array_equal(np.frombuffer(user.final, np.uint8), session.labelmap.array.ravel())
    return wrong


def run(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Run the load; return the figures."""
    keys = add_users(folder / "data", options.users)
    server = Server(folder / "data")
    began, over = time.monotonic(), threading.Event()
    users = [User(name, key, server.url, options.model, over, options.think) for name, key in keys.items()]
    threads = [threading.Thread(target=user.work) for user in users]
    for thread in threads:
        thread.start()
    memory, kills, chance = [], 0, random.Random(1)
    next_kill = time.monotonic() + 3
    gap = options.seconds / (options.kills + 1) if options.kills else 0.0
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.5)
        memory.append(server.resident_mib())
        if kills == options.kills and time.monotonic() > began + options.seconds:
            over.set()
        if kills < options.kills and time.monotonic() > next_kill:
            server.end(signal.SIGKILL)
            kills += 1
            server.start()
            next_kill = time.monotonic() + chance.uniform(0.5, 1.5) * gap
    took = round(time.monotonic() - began)
    server.end(signal.SIGTERM)
    seconds = sorted(second for user in users for second in user.seconds)
    part = max(1, -(-len(memory) // 10))
    return {
        "users": len(users),
        "seconds": took,
        "think_s": options.think,
        "kills": kills,
        "rounds": sum(user.rounds for user in users),
        "clicks": len(seconds),
        "errors": [error for user in users for error in user.errors],
        "click_p50_ms": round(1000 * statistics.median(seconds), 1) if seconds else None,
        "click_p95_ms": round(1000 * seconds[int(0.95 * (len(seconds) - 1))], 1) if seconds else None,
        "memory_mib_by_tenth": [round(max(memory[at : at + part])) for at in range(0, len(memory), part)],
        "acknowledged_prompts_lost": sum(user.lost for user in users),
        "prompts_doubled": sum(user.doubled for user in users),
        "cross_talk": cross_talk(users, options.model),
    }


def run_heavy(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Run the load with and without one heavy user in turn; return the figures."""
    keys = add_users(folder / "data", options.users + 1)
    server, over = Server(folder / "data"), threading.Event()
    *others, heavy_name = keys
    heavy = HeavyUser(server.url, keys[heavy_name], options.model, over)
    heavy.start()
    users = [User(name, keys[name], server.url, options.model, over, options.think) for name in others]
    threads = [threading.Thread(target=user.work) for user in users]
    for thread in threads:
        thread.start()
    time.sleep(options.phase / 3)  # the models are loaded, everybody has begun
    spans: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    memory = 0.0
    for phase in range(max(2, round(options.seconds / options.phase))):
        beside = phase % 2 == 1
        if beside:
            heavy.active.set()
        began = time.perf_counter()
        while time.perf_counter() < began + options.phase:
            time.sleep(0.5)
            memory = max(memory, server.resident_mib())
        spans[beside].append((began, time.perf_counter()))
        if beside:
            heavy.rest()
    over.set()
    heavy.join()
    for thread in threads:
        thread.join()
    server.end(signal.SIGTERM)
    alone, beside_heavy = (clicks_within(users, spans[kind]) for kind in (False, True))
    return {
        "users": len(users),
        "think_s": options.think,
        "alone": figures(alone),
        "beside_a_heavy_user": figures(beside_heavy),
        "p95_ratio": round(percentile(beside_heavy, 0.95) / percentile(alone, 0.95), 2),
        "heavy_requests": {name: figures(seconds) for name, seconds in heavy.seconds.items()},
        "heavy_refused": {name: [len(told), told[0]] for name, told in heavy.refused.items()},
        "errors": [error for user in users for error in user.errors],
        "memory_mib": round(memory),
        "acknowledged_prompts_lost": sum(user.lost for user in users),
        "prompts_doubled": sum(user.doubled for user in users),
        "cross_talk": 0,
    }


def clicks_within(users: list[User], spans: list[tuple[float, float]]) -> list[float]:
    """Return the seconds of all clicks that began inside one of the spans, sorted."""
    every = [pair for user in users for pair in zip(user.began, user.seconds, strict=True)]
    return sorted(seconds for began, seconds in every if any(low <= began < high for low, high in spans))


def percentile(values: list[float], share: float) -> float:
    """Return a percentile of sorted values; NaN of none."""
    return values[int(share * (len(values) - 1))] if values else float("nan")


def figures(seconds: list[float]) -> dict[str, float]:
    """Return count, median, p95 and maximum, in seconds."""
    values = sorted(seconds)
    named = {"p50_s": 0.5, "p95_s": 0.95, "max_s": 1.0}
    return {"count": len(values), **{name: round(percentile(values, share), 3) for name, share in named.items()}}


def main() -> int:
    """Parse, run, print; 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--think", type=float, default=0.0)
    parser.add_argument("--heavy", action="store_true")
    parser.add_argument("--phase", type=float, default=30.0, help="seconds with, or without the heavy user")
    parser.add_argument("--model", default="builtin")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = (run_heavy if options.heavy else run)(options, Path(name))
    print(json.dumps(found, indent=1))
    bad = found["errors"] or found["acknowledged_prompts_lost"] or found["prompts_doubled"] or found["cross_talk"]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
