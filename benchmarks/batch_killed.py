"""Many small cases, some broken, killed three times at random moments and resumed.

    python benchmarks/batch_killed.py [--cases 200] [--broken 0.05] [--kills 3] [--workers 2]

Every case is a small CT-like phantom with one click; broken ones are files cut short. After each kill (SIGKILL) what
lies under final names must be whole and what was finished before must be untouched. Printed: what each run had done
when it was killed, and the end state. Exit code 1 when anything was lost, done twice, or half-written.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

import promptseg

SHAPE, SPACING, ORIGIN = (20, 64, 80), (0.8, 0.9, 4.0), (-31.0, 17.5, 204.0)  # (z, y, x); x, y, z mm


def make_cases(folder: Path, count: int, broken: int) -> Path:
    """Write the scans and their table; return the table."""
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(float)
    rows = ["image,id,prompts,label"]
    bad = set(random.Random(7).sample(range(count), broken))
    for number in range(count):
        rng = np.random.default_rng(number)
        cy, cx, radius = rng.uniform(22, 42), rng.uniform(25, 55), rng.uniform(6, 14)
        inside = (y - cy) ** 2 + (x - cx) ** 2 + ((z - 10) * 4.0) ** 2 < radius**2 * 4
        image = (rng.normal(0, 4, SHAPE) + 150 * inside).astype(np.int16)
        path = folder / f"scan{number:04d}.nii.gz"
        promptseg.write_volume(promptseg.Volume.from_array(image, promptseg.Geometry(SHAPE, SPACING, ORIGIN)), path)
        if number in bad:
            path.write_bytes(path.read_bytes()[:2000])
        point = json.dumps([{"type": "point", "voxel": [10, round(cy), round(cx)]}]).replace('"', '""')
        rows.append(f'{path.name},case-{number:04d},"{point}",ball')
    table = folder / "cases.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


def finished(out: Path) -> dict[str, int]:
    """Return id to the time its receipt was written; exits where a folder under a final name is not whole."""
    found = {}
    for folder in out.glob("cases/*"):
        receipt = json.loads((folder / "case.json").read_text())
        names = {path.name for path in folder.iterdir()}
        if names != {*receipt["files"], "case.json"} or not all(path.stat().st_size for path in folder.iterdir()):
            sys.exit(f"half-written: {folder}")
        promptseg.read_labelmap(folder / "mask.nii.gz")
        found[folder.name] = (folder / "case.json").stat().st_mtime_ns
    return found


def main() -> None:
    """Run, kill, resume, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--broken", type=float, default=0.05, help="share of the cases")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    dice, broken = random.Random(given.seed), round(given.cases * given.broken)
    with tempfile.TemporaryDirectory(prefix="promptseg-bench-") as name:
        folder = Path(name)
        table, out = make_cases(folder, given.cases, broken), folder / "out"
        print(f"{given.cases} cases, {broken} of them broken, {given.workers} workers; seed {given.seed}", flush=True)
        command = [sys.executable, "-m", "promptseg", "batch", str(table), "-o", str(out), "--job", "segment",
                   "--model", "classical", "--workers", str(given.workers), "--device", "cpu", "--resume"]  # fmt: skip
        before: dict[str, int] = {}
        began = time.perf_counter()
        marks = sorted(dice.uniform(0.02, 0.9) * given.cases for _ in range(given.kills))
        for number, mark in enumerate(marks, start=1):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            while len(list(out.glob("cases/*"))) < mark and process.poll() is None:
                time.sleep(0.02)
            time.sleep(dice.random())
            workers = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.communicate()
            psutil.wait_procs(workers, timeout=60)
            after = finished(out)
            if not before.items() <= after.items():
                sys.exit("a case that was finished was done again or lost")
            print(f"kill {number}: {len(after)} finished, {len(after) - len(before)} of them by this run", flush=True)
            before = after
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds, after = time.perf_counter() - began, finished(out)
        print(ended.stdout.splitlines()[-1])
        if not before.items() <= after.items():
            sys.exit("a case that was finished was done again or lost")
        complete = len(after) == given.cases - broken and ended.returncode == (4 if broken else 0)
        verdict = "complete" if complete else "NOT COMPLETE"
        print(f"{verdict}: {len(after)} done once each, {broken} broken ones recorded, none lost; "
              f"{seconds:.0f} s with all starts, {given.cases / seconds:.1f} cases/s")  # fmt: skip
        sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
