"""What a person waits for in a volume: the first answer to a box, and corrections by clicks; and the memory they take.

    python benchmarks/corrections_speed.py [--model builtin] [--size 256,256,60 --size 512,512,300] [--clicks 7]

An ellipsoid in noise, a third as wide as the image. Prints the first answer (opening the session and loading the
networks apart), the median and slowest correction, in seconds of wall and of processor time, and the peak memory above
what was held before the first prompt. About a minute on two cores with nothing beside it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

import promptseg
from promptseg.bench.command import load_bench_predictor
from promptseg.bench.memory import PeakMemory
from promptseg.bench.simulate import error_click
from promptseg.models.predictor import Predictor
from promptseg.models.volume_predictor import volume_predictor_of

SEED = 7
SIZES = ("256,256,60", "512,512,300")
SPACING = (0.8, 0.8, 1.5)  # x, y, z mm


def main() -> None:
    """Measure all sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--size", action="append", help="x,y,z; repeatable")
    parser.add_argument("--clicks", type=int, default=7)
    options = parser.parse_args()
    predictor = load_bench_predictor(options.model)
    member = volume_predictor_of(predictor)
    print(f"3D network: {getattr(member, 'described', 'none')}")
    warm_up(predictor)
    print("| size | what | median s | slowest s | median processor s | peak MiB above |\n|---|---|---|---|---|---|")
    for size in options.size or SIZES:
        x, y, z = (int(n) for n in size.split(","))
        measure(predictor, (z, y, x), options.clicks)


def phantom(shape: tuple[int, int, int]) -> tuple[promptseg.Volume, np.ndarray]:
    """Return the image and the ellipsoid, slab by slab: the phantom itself takes little memory."""
    rng, (n, h, w) = np.random.default_rng(SEED), shape
    image, truth = np.empty(shape, np.int16), np.empty(shape, np.bool_)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    for z in range(n):
        truth[z] = ((z - n / 2) / (n / 5)) ** 2 + ((y - h / 2) / (h / 6)) ** 2 + ((x - w / 2) / (w / 6)) ** 2 < 1
        image[z] = rng.normal(40, 15, (h, w)).astype(np.int16) + np.int16(60) * truth[z]
    geometry = promptseg.Geometry(shape, SPACING)
    return promptseg.Volume(image, geometry, promptseg.Window(-100, 250)), truth


def warm_up(predictor: Predictor) -> None:
    """Let both networks answer once: their first call takes longer."""
    volume, _ = phantom((12, 40, 48))
    promptseg.Session(volume, predictor).add(promptseg.Box(voxel=((4, 14, 16), (9, 26, 32))))


def measure(predictor: Predictor, shape: tuple[int, int, int], clicks: int) -> None:
    """Print a size's rows."""
    volume, truth = phantom(shape)
    session = promptseg.Session(volume, predictor)
    z, y, x = (np.flatnonzero(truth.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3))
    low, high = (int(z[0]), int(y[0]), int(x[0])), (int(z[-1]) + 1, int(y[-1]) + 1, int(x[-1]) + 1)
    name = " x ".join(str(n) for n in shape[::-1])
    show(name, "first answer to a box", [timed(lambda: session.add(promptseg.Box(voxel=(low, high))))])
    rows = []
    for _ in range(clicks):
        click = error_click(truth, session.mask(), volume.geometry.spacing_zyx)
        if click is None:
            break
        at = (float(click.index[0]), float(click.index[1]), float(click.index[2]))
        point = promptseg.Point(voxel=at, positive=click.positive)
        rows.append(timed(lambda point=point: session.add(point)))  # type: ignore[misc]  # binds this round's point
    show(name, "correction", rows)


def timed(work: Callable[[], object]) -> tuple[float, float, float]:
    """Return wall seconds, processor seconds and the peak MiB above what was held before."""
    with PeakMemory() as before:
        pass  # the peak of nothing is what is held
    with PeakMemory() as during:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return wall, cpu, during.peak_mib - before.peak_mib


def show(size: str, what: str, rows: list[tuple[float, float, float]]) -> None:
    """Print one row of the table."""
    wall, cpu, mib = zip(*rows, strict=True)
    median = statistics.median
    print(
        f"| {size} | {what} | {median(wall):.2f} | {max(wall):.2f} | {median(cpu):.2f} | {max(mib):.0f} |", flush=True
    )


if __name__ == "__main__":
    main()
