"""Measure a shipped file on synthetic scenes that no training seed paints, through the real predictor.

Real images are measured with ``promptseg bench``; this one needs no data and shows whether a recipe learns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from promptseg.models.builtin.training.prompts import correction, deepest, draw_strokes
from promptseg.models.builtin.training.samples import Sample, make_samples
from promptseg.models.builtin.training.scenes import FAMILIES
from promptseg.models.families.builtin.predictor import BuiltinPredictor
from promptseg.models.predictor import Prediction, Predictor, Prior, SliceImage, SlicePrompts

__all__ = ["Measured", "evaluate", "table"]

HELD_OUT = 1_000_003
"""First number of every seed here; a training run's first number is its own seed."""

CLICKS = 10


@dataclass(frozen=True)
class Measured:
    """One sample's results.

    Attributes:
        family: of the scene.
        clicks: Dice after 1, 2, ... clicks.
        box: Dice of the tight box alone.
        strokes: Dice of a scribble alone.
        carried: Dice of a mask carried from the neighbouring slice, None without one.
        scores: (predicted, reached) of every answer.
    """

    family: str
    clicks: tuple[float, ...]
    box: float
    strokes: float
    carried: float | None
    scores: tuple[tuple[float, float], ...]


def evaluate(path: Path, per_family: int = 6) -> list[Measured]:
    """Measure a file on ``per_family`` scenes of every family."""
    predictor = BuiltinPredictor(path)
    return [_measure(predictor, sample, number) for number, sample in enumerate(_samples(per_family))]


def _samples(per_family: int) -> Iterator[Sample]:
    for family in FAMILIES:
        for number in range(per_family):
            yield from make_samples((HELD_OUT, number), 1, family)


def _measure(predictor: Predictor, sample: Sample, number: int) -> Measured:
    target = sample.targets[0]
    embedding = predictor.embed(SliceImage(sample.images[0]))
    scores: list[tuple[float, float]] = []

    def ask(prompts: SlicePrompts, prior: Prior | None = None) -> Prediction:
        answer = predictor.predict(embedding, prompts, prior)
        scores.append((answer.score, _dice(answer.mask, target)))
        return answer

    points, positive = [deepest(target)], [True]
    curve: list[float] = []
    answer: Prediction | None = None
    while len(curve) < CLICKS:
        prompts = SlicePrompts(np.array(points, np.float32), np.array(positive))
        answer = ask(prompts, None if answer is None else Prior(answer.logits))
        curve.append(scores[-1][1])
        click = correction(target, answer.mask, None)
        if click is None:
            curve += [1.0] * (CLICKS - len(curve))
            break
        points.append(click[:2])
        positive.append(click[2])
    rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
    ask(SlicePrompts(box=(float(rows[0]), float(columns[0]), float(rows[-1] + 1), float(columns[-1] + 1))))
    box = scores[-1][1]
    ask(SlicePrompts(scribble=draw_strokes(target, np.random.default_rng(number), negative=True)))
    strokes = scores[-1][1]
    carried = _carried(predictor, sample)
    return Measured(sample.family, tuple(curve), box, strokes, carried, tuple(scores))


def _carried(predictor: Predictor, sample: Sample) -> float | None:
    """Dice of the true mask of the first cut carried to the second; None without one."""
    if len(sample.images) < 2:
        return None
    known = np.where(sample.targets[0], 5, -5).astype(np.float32)
    there, here = (predictor.embed(SliceImage(sample.images[cut])) for cut in (0, 1))
    return _dice(predictor.predict(here, SlicePrompts(), Prior(known, there)).mask, sample.targets[1])


def _dice(answer: np.ndarray, truth: np.ndarray) -> float:
    total = int(answer.sum()) + int(truth.sum())
    return 1.0 if total == 0 else 2.0 * int((answer & truth).sum()) / total


def table(results: list[Measured]) -> str:
    """Means by family as lines of text, the mean of all last, and the score's mean error."""
    lines = [f"{'family':12s} {'n':>3s}    @1    @3    @5   @10   box  strokes carried"]
    for family in [*FAMILIES, "all"]:
        rows = [row for row in results if family in (row.family, "all")]
        if not rows:
            continue
        clicks = np.array([row.clicks for row in rows]).mean(0)
        carried = [row.carried for row in rows if row.carried is not None]
        means = [
            clicks[0],
            clicks[2],
            clicks[4],
            clicks[9],
            np.mean([r.box for r in rows]),
            np.mean([r.strokes for r in rows]),
        ]
        tail = f"{np.mean(carried):.3f}" if carried else "-"
        lines.append(f"{family:12s} {len(rows):3d} " + " ".join(f"{m:.3f}" for m in means) + f"   {tail}")
    pairs = np.array([pair for row in results for pair in row.scores])
    lines.append(f"mean |predicted - reached Dice| {np.abs(pairs[:, 0] - pairs[:, 1]).mean():.3f}")
    return "\n".join(lines)
