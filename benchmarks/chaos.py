"""Kills, full disks and flipped bytes on a real server: what was acknowledged must still be there.

    python benchmarks/chaos.py                # 8 kills, 4 full disks, 4 flipped bytes; needs root for a small tmpfs
    python benchmarks/chaos.py --rounds 3 --seed 7

Three people click in sessions of their own. Each round something happens, then every session is read again and
compared with what its person was told. Prints the outcome table of docs/scale.md; ends with 1 where a step that was
acknowledged is lost or doubled, or a session cannot be read or exported.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from service_load import Server, add_users

DISK_MIB = 48
MODEL = "classical"  # what is lost does not depend on the network; its answers come at once
CLICKS = 6  # of each person in each round
PATIENCE_S = 120.0
Voxel = list[float]


@dataclass
class Person:
    """Somebody with one session; ``acknowledged`` is what the server said that it keeps, ``open`` what it may have."""

    api: httpx.Client
    session: str
    acknowledged: list[Voxel] = field(default_factory=list)
    open: Voxel | None = None
    refused: int = 0

    def click(self, voxel: Voxel) -> bool:
        """Send a click; False where it was not taken."""
        self.open = voxel
        try:
            answer = self.api.post(
                f"/sessions/{self.session}/prompts", json={"prompts": [{"type": "point", "voxel": voxel}]}
            )
        except httpx.TransportError:
            return False
        self.open = None
        if answer.status_code == 200:
            self.acknowledged.append(voxel)
            return True
        self.refused += 1
        return False

    def kept(self) -> list[Voxel]:
        """Return the clicks that the server has."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with suppress(httpx.TransportError):
                answer = self.api.get(f"/sessions/{self.session}")
                if answer.status_code == 200:
                    return [item["prompt"]["voxel"] for item in answer.json()["prompts"]]
            if time.monotonic() > deadline:
                raise RuntimeError(f"a session cannot be read: {answer.status_code} {answer.text[:200]}")
            time.sleep(0.1)

    def exported(self) -> bool:
        """Take the mask away; False where that cannot be."""
        answer = self.api.get(f"/sessions/{self.session}/export", params={"format": "nii.gz"})
        return answer.status_code == 200 and len(answer.content) > 100


class Chaos:
    """A server on a small disk, its people, and what happens to them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance, self.folder = random.Random(seed), folder
        keys = add_users(folder / "data", 3)
        self.server = Server(folder / "data")
        self.people = [self._person(key) for key in keys.values()]
        self.told: Counter[str] = Counter()

    def _person(self, key: str) -> Person:
        headers = {"Authorization": f"Bearer {key}"}
        api = httpx.Client(base_url=f"{self.server.url}/api/v1", headers=headers, timeout=PATIENCE_S)
        study = api.post("/studies", json={"example": True}).json()["id"]
        return Person(api, api.post("/sessions", json={"study": study, "model": MODEL}).json()["id"])

    def everybody_clicks(self) -> None:
        """Let all click at the same time, ``CLICKS`` times each or until one is not taken."""

        def work(person: Person, voxels: list[Voxel]) -> None:
            for voxel in voxels:
                if not person.click(voxel):
                    return

        threads = [
            threading.Thread(target=work, args=(one, [self._voxel() for _ in range(CLICKS)])) for one in self.people
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _voxel(self) -> Voxel:
        return [float(self.chance.randrange(*span)) for span in ((5, 43), (40, 100), (40, 140))]

    def kill(self) -> None:
        """SIGKILL while everybody clicks, and a new start."""
        timer = threading.Timer(self.chance.uniform(0.0, 0.6), lambda: self.server.end(signal.SIGKILL))
        timer.start()
        self.everybody_clicks()
        timer.join()
        self.server.start()
        self.compare("killed while everybody clicks (SIGKILL)")

    def full_disk(self) -> None:
        """No byte is left for a while, then there is room again; then a kill."""
        kind = "disk full while everybody clicks, then killed"
        with self._filled():
            self.everybody_clicks()
            self.told[f"{kind}: exports made while it was full"] += sum(one.exported() for one in self.people)
            self.told[f"{kind}: exports refused while it was full"] += sum(not one.exported() for one in self.people)
        self.everybody_clicks()
        self.server.end(signal.SIGKILL)
        self.server.start()
        self.compare(kind)

    @contextmanager
    def _filled(self) -> Iterator[None]:
        """Leave less than a page of the disk, or some pages: an append then fails half-way."""
        filler = self.folder / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(65536))
        os.truncate(filler, max(0, filler.stat().st_size - 4096 * self.chance.randrange(3)))
        yield
        filler.unlink()

    def flip(self) -> None:
        """One byte of one journal is changed on the disk, while the server is down."""
        self.everybody_clicks()
        self.server.end(signal.SIGKILL)
        person = self.chance.choice(self.people)
        journal = self.folder / "data" / "sessions" / person.session / "session.jsonl"
        raw = bytearray(journal.read_bytes())
        at = self.chance.randrange(len(raw))
        line = bytes(raw[:at]).count(b"\n")
        raw[at] ^= 1 << self.chance.randrange(8)
        journal.write_bytes(bytes(raw))
        self.server.start()
        kind = "one byte of a journal flipped while the server was down"
        before, kept = person.acknowledged, person.kept()
        lost = len(before) - len(kept)
        self.told[f"{kind}: steps after it that are gone, as told"] += lost
        self.told[f"{kind}: steps before it that are gone"] += max(0, min(line - 2, len(before)) - len(kept))
        if kept != before[: len(kept)]:
            self.told[f"{kind}: other steps than acknowledged"] += 1
        if lost and not list(journal.parent.glob("session.jsonl.damaged*")):
            self.told[f"{kind}: damaged file not kept"] += 1
        person.acknowledged = kept
        self.compare(kind)

    def compare(self, kind: str) -> None:
        """Compare every session with what its person was told."""
        self.told[f"{kind}: times"] += 1
        for one in self.people:
            kept, sure = one.kept(), one.acknowledged
            self.told[f"{kind}: acknowledged steps compared"] += len(sure)
            if kept == [*sure, one.open]:  # on the disk, and the answer did not arrive
                one.acknowledged, sure = kept, kept
            self.told[f"{kind}: lost"] += sum(voxel not in kept for voxel in sure)
            self.told[f"{kind}: doubled or not theirs"] += len(kept) - sum(voxel in sure for voxel in kept)
            self.told[f"{kind}: sessions that cannot be exported afterwards"] += not one.exported()
            one.acknowledged, one.open = kept, None

    def end(self) -> None:
        """Stop the server."""
        self.told["clicks refused with a sentence (507, 503)"] = sum(one.refused for one in self.people)
        self.server.end(signal.SIGTERM)


BAD = (
    "lost",
    "not theirs",
    "cannot be exported",
    "before it that are gone",
    "other steps",
    "not kept",
    "refused while",
)


def main() -> int:
    """Run the rounds; 1 where something is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "tmpfs", name], check=True)
        try:
            chaos = Chaos(Path(name), options.seed)
            for _ in range(options.rounds):
                for happening, times in ((chaos.kill, 2), (chaos.full_disk, 1), (chaos.flip, 1)):
                    for _ in range(times):
                        happening()
            chaos.end()
        finally:
            subprocess.run(["umount", "-l", name], check=True)
    print("| what happened | count |\n|---|---|")
    for what, count in chaos.told.items():
        print(f"| {what} | {count} |")
    return 1 if any(count and any(word in what for word in BAD) for what, count in chaos.told.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
