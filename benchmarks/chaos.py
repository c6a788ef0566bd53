"""Kills, full disks and flipped bytes on a real server: what was acknowledged must still be there.

    python benchmarks/chaos.py                # 8 kills, 4 full disks, 4 flipped bytes; needs root for a small tmpfs
    python benchmarks/chaos.py --rounds 3 --seed 7

Three people click in sessions of their own. Each round something happens, then every session is read again and
compared with what its person was told. Prints the outcome table of docs/scale.md; ends with 1 where a step that was
acknowledged is lost or doubled, or a session cannot be read or exported.
"""

from __future__ import annotations

import argparse
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
CLICKS_WHILE_FULL = 40  # a page of the disk takes some 25 of them
COLUMNS = ("times", "acknowledged steps compared", "lost", "doubled", "exports refused", "damaged file not kept")
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
        self.told: Counter[tuple[str, str]] = Counter()
        self.followed = 0  # steps behind a flipped byte, which go with it

    def _person(self, key: str) -> Person:
        headers = {"Authorization": f"Bearer {key}"}
        api = httpx.Client(base_url=f"{self.server.url}/api/v1", headers=headers, timeout=PATIENCE_S)
        study = api.post("/studies", json={"example": True}).json()["id"]
        return Person(api, api.post("/sessions", json={"study": study, "model": MODEL}).json()["id"])

    def everybody_clicks(self, most: int = CLICKS) -> None:
        """Let all click at the same time, so many times each or until one is not taken."""

        def work(person: Person, voxels: list[Voxel]) -> None:
            for voxel in voxels:
                if not person.click(voxel):
                    return

        threads = [
            threading.Thread(target=work, args=(one, [self._voxel() for _ in range(most)])) for one in self.people
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _voxel(self) -> Voxel:
        return [float(self.chance.randrange(*span)) for span in ((5, 43), (40, 100), (40, 140))]

    def kill(self) -> None:
        """SIGKILL while everybody clicks, and a new start."""
        after = sum(len(one.acknowledged) for one in self.people) + self.chance.randrange(1, 2 * CLICKS)

        def end() -> None:
            while sum(len(one.acknowledged) for one in self.people) < after:
                time.sleep(0.001)
            time.sleep(self.chance.uniform(0.0, 0.2))
            self.server.end(signal.SIGKILL)

        killer = threading.Thread(target=end)
        killer.start()
        self.everybody_clicks()
        killer.join()
        self.server.start()
        self.compare("killed while everybody clicks (SIGKILL)")

    def full_disk(self) -> None:
        """No page is left for a while, then there is room again; then a kill."""
        kind = "disk full while everybody clicks, room again, killed"
        with self._filled():
            self.everybody_clicks(CLICKS_WHILE_FULL)
            self.told[kind, "exports refused"] += sum(not one.exported() for one in self.people)
        self.everybody_clicks()
        self.server.end(signal.SIGKILL)
        self.server.start()
        self.compare(kind)

    @contextmanager
    def _filled(self) -> Iterator[None]:
        """Leave less than a page of the disk: an append then fails half-way."""
        filler = self.folder / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(65536))
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
        kind = "one byte of a journal flipped on the disk"
        before, kept = person.acknowledged, person.kept()
        sure = before[: max(0, line - 2)]  # two lines of header, then one a step: what came before the byte
        self.told[kind, "lost"] += sum(voxel not in kept for voxel in sure)
        self.followed += len(before) - len(kept)
        if len(kept) < len(before) and not list(journal.parent.glob("session.jsonl.damaged*")):
            self.told[kind, "damaged file not kept"] += 1
        person.acknowledged = [voxel for voxel in before if voxel in kept]
        self.compare(kind)

    def compare(self, kind: str) -> None:
        """Compare every session with what its person was told."""
        print(kind, file=sys.stderr, flush=True)
        self.told[kind, "times"] += 1
        for one in self.people:
            kept, sure = one.kept(), one.acknowledged
            self.told[kind, "acknowledged steps compared"] += len(sure)
            if kept == [*sure, one.open]:  # on the disk, and the answer did not arrive
                sure = kept
            self.told[kind, "lost"] += sum(voxel not in kept for voxel in sure)
            self.told[kind, "doubled"] += max(0, len(kept) - len(sure)) + (
                sorted(kept) == sorted(sure) and kept != sure
            )
            self.told[kind, "exports refused"] += not one.exported()
            one.acknowledged, one.open = kept, None

    def table(self) -> str:
        """Return the outcome table."""
        kinds = dict.fromkeys(kind for kind, _ in self.told)
        rows = [[kind, *(str(self.told[kind, column]) for column in COLUMNS)] for kind in kinds]
        return "\n".join(f"| {' | '.join(row)} |" for row in [["", *COLUMNS], ["---"] * (len(COLUMNS) + 1), *rows])


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
            chaos.server.end(signal.SIGTERM)
        finally:
            subprocess.run(["umount", "-l", name], check=True)
    print(chaos.table())
    refused = sum(one.refused for one in chaos.people)
    print(
        f"\n{refused} clicks refused while the disk was full; {chaos.followed} steps behind flipped bytes gone, as told"
    )
    return 1 if any(count and column not in COLUMNS[:2] for (_, column), count in chaos.told.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
