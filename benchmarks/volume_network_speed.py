"""Time of one pass of the built-in 3D network, by runtime, threads, view and batch, with peak memory and agreement.

    python benchmarks/volume_network_speed.py                                  # two minutes on two idle cores
    python benchmarks/volume_network_speed.py --sides 64 --threads 1 2 --batches 1 --repeats 9

Every row is a process of its own. "s" is the median of a view's share of a pass, drawing of prompts and image included;
"processor s" the least that all cores together were busy for a view: on a shared machine that is the figure to compare.
"peak MB" is what the process took above what it had before the network was opened. "differs" is the largest difference
of a logit from the first row's with the same view.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from promptseg.models.builtin import BUILTIN_3D_ONNX
from promptseg.models.families.builtin.volume import BuiltinVolumePredictor
from promptseg.models.runtime import has_openvino
from promptseg.models.volume_predictor import AxisRange, SliceBox, View, ViewPrompts


def view_of(side: int) -> View:
    """A noisy lump with a box, a range and two clicks."""
    at = np.mgrid[:side, :side, :side] / side - 0.5
    lump = ((at[0] / 0.3) ** 2 + (at[1] / 0.25) ** 2 + (at[2] / 0.35) ** 2 < 1) * 120.0
    voxels = (lump + np.random.default_rng(0).normal(0, 20, lump.shape)).astype(np.float32)
    low, high, middle = 0.25 * side, 0.75 * side, side // 2
    box = SliceBox(0, middle, (low, 0.15 * side, high, 0.85 * side))
    points = np.array([(middle, middle, middle), (2, 2, 2)], np.float32)
    return View(voxels, ViewPrompts(points, np.array([True, False]), box, AxisRange(0, 0.2 * side, 0.8 * side)))


def peak_mb() -> float:
    """The most memory that this process has taken."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def measure(runtime: str, threads: int, side: int, batch: int, repeats: int, out: Path) -> None:
    """One row, as JSON; the logits of the first view into ``out``."""
    views, before = [view_of(side)] * batch, peak_mb()
    predictor = BuiltinVolumePredictor(BUILTIN_3D_ONNX, threads=threads, runtime=runtime)
    np.save(out, predictor.predict(views)[0].logits)
    seconds, busy = [], []
    for _ in range(repeats):
        began, worked = time.perf_counter(), time.process_time()
        predictor.predict(views)
        seconds.append((time.perf_counter() - began) / batch)
        busy.append((time.process_time() - worked) / batch)
    print(json.dumps([statistics.median(seconds), min(busy), peak_mb() - before]))


def main() -> None:
    """Measure every combination and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    runtimes = ["onnx", *(["openvino"] if has_openvino() else [])]
    parser.add_argument("--runtimes", nargs="+", choices=("onnx", "openvino"), default=runtimes)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--sides", nargs="+", type=int, default=[64, 96])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row is not None:
        runtime, threads, side, batch, repeats, out = json.loads(given.row)
        measure(runtime, threads, side, batch, repeats, Path(out))
        return
    print(f"{'runtime':9s} threads view batch      s  processor s  peak MB  differs")
    first: dict[int, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "logits.npy"
        for row in itertools.product(given.runtimes, given.threads, given.sides, given.batches):
            command = [sys.executable, __file__, "--row", json.dumps([*row, given.repeats, str(out)])]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, busy, peak = json.loads(done.stdout.splitlines()[-1])
            logits = np.load(out)
            differs = float(np.abs(logits - first.setdefault(row[2], logits)).max())
            cells = f"{row[0]:9s} {row[1]:7d} {row[2]:4d} {row[3]:5d}"
            print(f"{cells} {seconds:6.3f} {busy:12.3f} {peak:8.0f} {differs:8.1e}", flush=True)


if __name__ == "__main__":
    main()
