"""How long a person waits after Cancel: from the wish to the return of the call, at random moments of a walk.

    python benchmarks/cancel_latency.py [--model builtin] [--size 512] [--slices 80] [--trials 40]

Once with the model itself, once with each of its slices made 1.5 s slower, as large encoders are on a CPU. Prints
median, 95th percentile and worst in ms, and checks that every time the session is as it was before the call. About
two minutes on two cores.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable

import numpy as np

import promptseg
from promptseg.bench.command import load_bench_predictor
from promptseg.models.predictor import Embedding, Prediction, Predictor, Prior, SliceImage, SlicePrompts

SEED, SLOW_S = 11, 1.5


class Slowed:
    """A predictor whose encoder takes its time."""

    def __init__(self, inner: Predictor) -> None:
        self._inner = inner

    @property
    def model_id(self) -> str:
        """The model's id."""
        return self._inner.model_id

    def embed(self, image: SliceImage) -> Embedding:
        """Wait, then embed."""
        time.sleep(SLOW_S)
        return self._inner.embed(image)

    def predict(self, embedding: Embedding, prompts: SlicePrompts, prior: Prior | None = None) -> Prediction:
        """Ask the model."""
        return self._inner.predict(embedding, prompts, prior)


def cylinder(slices: int, size: int) -> tuple[promptseg.Volume, promptseg.Box]:
    """Return a noisy cylinder over all slices, and its box on the middle one."""
    rng = np.random.default_rng(SEED)
    y, x = np.mgrid[:size, :size]
    inside = (y - size / 2) ** 2 + (x - size / 2) ** 2 < (size / 5) ** 2
    image = rng.normal(40, 15, (slices, size, size)).astype(np.int16) + np.int16(80) * inside
    volume = promptseg.Volume(image, promptseg.Geometry(image.shape, (0.8, 0.8, 2.0)), promptseg.Window(-100, 250))
    low, high = int(size * 0.3) - 1, int(size * 0.7) + 1
    return volume, promptseg.Box(voxel=((slices // 2, low, low), (slices // 2 + 1, high, high)))


def waited(session: promptseg.Session, box: promptseg.Box, after_s: float) -> float:
    """Cancel a call ``after_s`` seconds into it; return how long it then took to return, in seconds."""
    wished: list[float] = []
    timer = threading.Timer(after_s, lambda: wished.append(time.perf_counter()))

    def stop_when_wished(_progress: object) -> None:
        if wished:
            raise promptseg.Cancelled("stop")

    timer.start()
    try:
        session.add(box, on_progress=stop_when_wished)
    except promptseg.Cancelled:
        took = time.perf_counter() - wished[0]
        assert not session.mask().any(), "the session is not as it was"
        return took
    finally:
        timer.cancel()
    raise SystemExit("expected the walk to last longer than a trial; ask for more slices")


def trials(
    name: str, predictor: Predictor, scene: Callable[[], tuple[promptseg.Volume, promptseg.Box]], n: int
) -> None:
    """Print the waiting times of ``n`` cancelled calls."""
    rng, found = np.random.default_rng(SEED), []
    volume, box = scene()
    for _ in range(n):
        session = promptseg.Session(volume, predictor, promptseg.EngineOptions(mode="slices"))
        found.append(1000 * waited(session, box, float(rng.uniform(0.05, 1.0))))
    middle, most = np.percentile(found, (50, 95))
    print(f"| {name} | {n} | {middle:.0f} | {most:.0f} | {max(found):.0f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--slices", type=int, default=80)
    parser.add_argument("--trials", type=int, default=40)
    options = parser.parse_args()
    predictor = load_bench_predictor(options.model)
    print("| model | calls | median, ms | 95 %, ms | worst, ms |\n|---|---|---|---|---|")

    def scene() -> tuple[promptseg.Volume, promptseg.Box]:
        return cylinder(options.slices, options.size)

    trials(options.model, predictor, scene, options.trials)
    trials(f"{options.model}, encoder slowed by {SLOW_S} s", Slowed(predictor), scene, max(4, options.trials // 4))


if __name__ == "__main__":
    main()
