"""How fast a model is on this machine, and what memory it takes: for ``promptseg models bench``."""

from __future__ import annotations

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from promptseg.errors import ModelError, PromptsegError
from promptseg.models.loading import load_predictor
from promptseg.models.predictor import Predictor, SliceImage, SlicePrompts

__all__ = ["ModelSpeed", "bench_model", "peak_memory_bytes", "time_predictor"]

DEFAULT_SHAPE = (512, 512)


@dataclass(frozen=True)
class ModelSpeed:
    """Measured on one slice of noise.

    Attributes:
        model_id: the model.
        described: runtime, device and precision.
        shape: (h, w) of the slice.
        load_s: from the call to a loaded model, imports and all.
        embed_s: median seconds of one encoding, the first left out.
        predict_s: median seconds of one click on an embedded slice, the first left out.
        peak_bytes: most memory that its process had; 0 where the platform does not say.
    """

    model_id: str
    described: str
    shape: tuple[int, int]
    load_s: float
    embed_s: float
    predict_s: float
    peak_bytes: int


def peak_memory_bytes() -> int:
    """The most memory that this process had resident so far; 0 where the platform does not say."""
    try:  # resource's figure would start with the parent's peak
        with Path("/proc/self/status").open(encoding="ascii", errors="replace") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _noise(shape: tuple[int, int], seed: int) -> SliceImage:
    return SliceImage(np.random.default_rng(seed).random(shape, np.float32))


def time_predictor(
    predictor: Predictor, shape: tuple[int, int] = DEFAULT_SHAPE, repeats: int = 3
) -> tuple[float, float]:
    """Return (embed_s, predict_s): medians over ``repeats`` after a first call; every slice is another one."""
    embed_s, predict_s = [], []
    h, w = shape
    embedding = predictor.embed(_noise(shape, 0))
    predictor.predict(embedding, SlicePrompts(np.array([[h / 2, w / 2]], np.float32), np.array([True])))
    for seed in range(1, repeats + 1):
        image = _noise(shape, seed)
        start = time.perf_counter()
        embedding = predictor.embed(image)
        embed_s.append(time.perf_counter() - start)
        for step in range(3):
            click = SlicePrompts(np.array([[h / (step + 2), w / 3]], np.float32), np.array([True]))
            start = time.perf_counter()
            predictor.predict(embedding, click)
            predict_s.append(time.perf_counter() - start)
    return median(embed_s), median(predict_s)


def bench_model(
    model_id: str, device: str = "auto", *, shape: tuple[int, int] = DEFAULT_SHAPE, repeats: int = 3
) -> ModelSpeed:
    """Load a model in a process of its own and time it there, so that its memory is its own.

    Raises:
        ModelError: what ``load_predictor`` says, or the process ended early.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            found = pool.submit(_bench, model_id, device, shape, repeats).result()
        except BrokenProcessPool as exc:
            raise ModelError(f"the process that ran {model_id!r} was ended, most likely for want of memory") from exc
    if isinstance(found, str):
        raise ModelError(found)
    return found


def _bench(model_id: str, device: str, shape: tuple[int, int], repeats: int) -> ModelSpeed | str:
    """The speed, or what is wrong: not all errors can travel between processes."""
    try:
        start = time.perf_counter()
        predictor = load_predictor(model_id, device)
        load_s = time.perf_counter() - start
        embed_s, predict_s = time_predictor(predictor, shape, repeats)
    except PromptsegError as exc:
        return str(exc)
    described = str(getattr(predictor, "described", ""))
    return ModelSpeed(model_id, described, shape, load_s, embed_s, predict_s, peak_memory_bytes())
