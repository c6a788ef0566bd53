"""The 2D protocol: one object in one slice, one predictor.

- *Clicks*: up to ``rounds`` of them, each where the last answer is worst; each answer sees all clicks so far and the
  last answer as its prior. Dice after every click, and NoC@t: the number of clicks until Dice reaches t (``rounds``
  where it never does, as in the literature on interactive segmentation).
- *Box*: the tight box alone. *Box and clicks*: corrected afterwards, where asked for.
- *Scribble*: strokes on the object and around it, alone; a person's where the case has some, else simulated.
- *Click on a stroke*: one click at a random place where the strokes lie, not at the ideal one: people click where they
  would draw.

Everything is asked of one embedding, as in a session.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.bench.loading import SliceTask
from promptseg.bench.result import CaseResult, Pair, mean_of
from promptseg.bench.scribble import scribble, seed_of
from promptseg.bench.simulate import Click, error_click, first_click, tight_box
from promptseg.errors import ModelError
from promptseg.models.predictor import Embedding, Prediction, Predictor, Prior, SlicePrompts
from promptseg.score.metrics import dice

__all__ = ["COLUMNS_2D", "SHOWN_CLICKS", "Rounds", "clicks_needed", "run_slice"]

SHOWN_CLICKS = (1, 2, 3, 5, 10)
NOC_TARGETS = (0.85, 0.90)
COLUMNS_2D = (
    *(f"dice@{n}" for n in SHOWN_CLICKS),
    "dice@box",
    "dice@scribble",
    "dice@stroke-click",
    *(f"noc@{round(100 * t)}" for t in NOC_TARGETS),
    "score_error",
    "embed_s",
    "predict_s",
)


@dataclass(frozen=True)
class Rounds:
    """How many clicks are given.

    Attributes:
        clicks: without a box; also the highest NoC.
        after_box: corrections after the box; 0 for none.
    """

    clicks: int = 10
    after_box: int = 0


class _Asker:
    """Asks one predictor about one slice; keeps time and every answer's predicted and reached quality."""

    def __init__(self, predictor: Predictor, task: SliceTask) -> None:
        self._predictor, self._task = predictor, task
        started = time.perf_counter()
        self._embedding: Embedding = predictor.embed(task.image)
        self.embed_s = time.perf_counter() - started
        self.seconds: list[float] = []
        self.scores: list[Pair] = []

    def ask(self, prompts: SlicePrompts, before: Prediction | None) -> tuple[Prediction, float]:
        """Return the answer and its Dice.

        Raises:
            ModelError: the answer does not lie on the slice's grid, or is not finite.
        """
        prior = None if before is None else Prior(before.logits)
        started = time.perf_counter()
        answer = self._predictor.predict(self._embedding, prompts, prior)
        self.seconds.append(time.perf_counter() - started)
        shape = self._task.truth.shape
        if answer.logits.shape != shape or not np.isfinite(answer.logits).all():
            raise ModelError(
                f"expected finite logits of shape {shape} from {self._predictor.model_id!r}, got {answer.logits.shape}"
            )
        reached = dice(self._task.truth, answer.mask)
        self.scores.append((float(answer.score), reached))
        return answer, reached


def run_slice(predictor: Predictor, task: SliceTask, rounds: Rounds | None = None) -> CaseResult:
    """Run the whole 2D protocol.

    Returns:
        Metrics by ``COLUMNS_2D`` (a click count beyond ``rounds.clicks`` is left out), with curves ``dice`` (after
        1, 2, ... clicks) and, where asked for, ``box_dice`` (after the box and 0, 1, ... clicks).

    Raises:
        ModelError: an answer is unusable.
    """
    rounds = rounds or Rounds()
    asker = _Asker(predictor, task)
    clicks = _with_clicks(asker, task, None, rounds.clicks)
    boxed = _with_clicks(asker, task, _box(task), rounds.after_box)
    strokes = scribble(task.truth, seed_of(task.case.name)) if task.strokes is None else task.strokes
    _, scribbled = asker.ask(SlicePrompts(scribble=strokes), None)
    _, clicked = asker.ask(_prompts([_on_stroke(strokes, seed_of(task.case.name))], None), None)
    metrics = {f"dice@{n}": clicks[n - 1] for n in SHOWN_CLICKS if n <= rounds.clicks}
    metrics |= {"dice@box": boxed[0], "dice@scribble": scribbled, "dice@stroke-click": clicked}
    metrics |= {f"noc@{round(100 * t)}": float(clicks_needed(clicks, t)) for t in NOC_TARGETS}
    metrics |= {
        "score_error": mean_of(abs(score - reached) for score, reached in asker.scores),
        "embed_s": asker.embed_s,
        "predict_s": statistics.median(asker.seconds),
    }
    curves = {"dice": tuple(clicks)} | ({"box_dice": tuple(boxed)} if rounds.after_box else {})
    return CaseResult(task.case, predictor.model_id, 2, metrics, curves, tuple(asker.scores))


def clicks_needed(curve: Sequence[float], target: float) -> int:
    """Return after how many clicks the Dice first reaches ``target``; the curve's length where it never does."""
    return next((count for count, reached in enumerate(curve, 1) if reached >= target), len(curve))


def _on_stroke(strokes: NDArray[np.int8], seed: int) -> Click:
    """Return a positive click on a random pixel of the object's strokes."""
    drawn = np.argwhere(strokes > 0)
    y, x = drawn[int(np.random.default_rng(seed).integers(len(drawn)))]
    return Click((int(y), int(x)), positive=True)


def _box(task: SliceTask) -> tuple[float, float, float, float]:
    (y0, x0), (y1, x1) = tight_box(task.truth)
    return (float(y0), float(x0), float(y1), float(x1))


def _with_clicks(
    asker: _Asker, task: SliceTask, box: tuple[float, float, float, float] | None, count: int
) -> list[float]:
    """Return the Dice after the box (if any) and after each click; a perfect answer is asked no more."""
    given: list[Click] = []
    curve: list[float] = []
    answer: Prediction | None = None
    if box is not None:
        answer, reached = asker.ask(SlicePrompts(box=box), None)
        curve.append(reached)
    for _ in range(count):
        click = _next_click(task, answer)
        if click is None:
            curve.append(1.0)
            continue
        given.append(click)
        answer, reached = asker.ask(_prompts(given, box), answer)
        curve.append(reached)
    return curve


def _next_click(task: SliceTask, answer: Prediction | None) -> Click | None:
    spacing = task.image.spacing_mm
    return first_click(task.truth, spacing) if answer is None else error_click(task.truth, answer.mask, spacing)


def _prompts(clicks: Sequence[Click], box: tuple[float, float, float, float] | None) -> SlicePrompts:
    return SlicePrompts(
        points=np.array([click.index for click in clicks], np.float32).reshape(-1, 2),
        positive=np.array([click.positive for click in clicks], bool),
        box=box,
    )
