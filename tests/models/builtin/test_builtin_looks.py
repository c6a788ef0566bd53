"""Which of several answers to one click is kept."""

import numpy as np
import pytest

from promptseg.models.families.builtin.looks import Answer, best_of
from promptseg.models.families.builtin.views import Hints, Square, crop

SHAPE = (300, 420)


def answer(centre: tuple[float, float], radius: float, square: Square, score: float) -> Answer:
    """A disc on the slice as a square of 128 px shows it."""
    y, x = np.indices(SHAPE)
    disc = np.hypot(y - centre[0], x - centre[1]) < radius
    return Answer(crop(np.where(disc, 5.0, -5.0).astype(np.float32), square, 128, -5.0), square, score)


HINTS = Hints(points=np.array([[140.0, 200.0]], np.float32), positive=np.array([True]))
WHOLE, NEAR, NEARER = Square(149.5, 209.5, 420.0), Square(140.0, 200.0, 190.0), Square(140.0, 205.0, 120.0)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_what_two_squares_agree_on_beats_a_slightly_better_score(order: tuple[int, ...]) -> None:
    same = (140.0, 200.0), 40.0
    answers = [answer(*same, WHOLE, 0.7), answer(*same, NEAR, 0.7), answer((140.0, 200.0), 9.0, NEARER, 0.75)]
    assert best_of([answers[k] for k in order], HINTS, SHAPE) is not answers[2]


def test_a_much_better_score_beats_agreement() -> None:
    same = (140.0, 200.0), 40.0
    answers = [answer(*same, WHOLE, 0.2), answer(*same, NEAR, 0.2), answer((140.0, 200.0), 9.0, NEARER, 0.95)]
    assert best_of(answers, HINTS, SHAPE) is answers[2]


def test_empty_answers_are_no_obstacle() -> None:
    nothing = Answer(np.full((128, 128), -5.0, np.float32), NEAR, 0.0)
    assert best_of([nothing], HINTS, SHAPE) is nothing
    found = answer((140.0, 200.0), 40.0, WHOLE, 0.5)
    assert best_of([nothing, found], HINTS, SHAPE) is found
