"""How many slices per second a walk takes: an ellipsoid in noise, 256 x 256, the walk alone.

    python benchmarks/propagation_speed.py [--model builtin] [--size 256] [--slices 120]

Prints slices per second of wall time and of processor time. Under a minute on two cores.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import promptseg
from promptseg.bench.command import load_bench_predictor

SEED = 7


def main() -> None:
    """Answer one box, then time ``propagate``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--slices", type=int, default=120)
    options = parser.parse_args()
    rng, (n, size) = np.random.default_rng(SEED), (options.slices, options.size)
    z, y, x = np.mgrid[:n, :size, :size].astype(np.float32)
    inside = (
        ((z - n / 2) / (n / 2.2)) ** 2 + ((y - size / 2) / (size / 5)) ** 2 + ((x - size / 2) / (size / 4)) ** 2
    ) < 1
    image = rng.normal(40, 15, inside.shape).astype(np.int16) + np.int16(80) * inside
    geometry = promptseg.Geometry(inside.shape, (0.8, 0.8, 2.0))
    volume = promptseg.Volume(image, geometry, promptseg.Window(-100, 250))
    session = promptseg.Session(volume, load_bench_predictor(options.model), promptseg.EngineOptions(mode="slices"))
    rows, columns = (np.flatnonzero(inside[n // 2].any(axis=axis)) for axis in (1, 0))
    box = ((n // 2, int(rows[0]), int(columns[0])), (n // 2 + 1, int(rows[-1]) + 1, int(columns[-1]) + 1))
    session.add(promptseg.Box(voxel=box), propagate=False)
    wall, cpu = time.perf_counter(), time.process_time()
    session.propagate()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    walked = session.log[-1]["slices"]
    overlap = 2 * (session.mask() & inside).sum() / (session.mask().sum() + inside.sum())
    print(f"{walked} slices of {size} x {size}: {walked / wall:.1f} per second of wall time, {walked / cpu:.1f} per")
    print(f"second of processor time, Dice {overlap:.2f}")


if __name__ == "__main__":
    main()
