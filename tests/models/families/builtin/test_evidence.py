"""Strokes as evidence: what was painted decides where intensities tell, and nothing changes where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from promptseg.models.families.builtin.evidence import CLICK_WEIGHT, FEWEST_CLICKS, painted_of, weigh_by_evidence
from promptseg.models.families.builtin.views import Hints

SHAPE = (90, 140)


def ellipse(centre: tuple[int, int], radii: tuple[int, int]) -> np.ndarray:
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1


OBJECT = ellipse((45, 60), (22, 34))
GUESS = ellipse((45, 72), (22, 34))  # what a network may answer: right in kind, wrong in place


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / (int(a.sum()) + int(b.sum()))


def logits(mask: np.ndarray, sure: float = 1.5) -> np.ndarray:
    return np.where(mask, sure, -sure).astype(np.float32)


def strokes() -> np.ndarray:
    drawn = np.zeros(SHAPE, np.int8)
    drawn[44:46, 35:85] = 1
    drawn[8:10, 20:120] = -1
    drawn[30:70, 112:114] = -1
    return drawn


def noisy(plane: np.ndarray, seed: int = 3) -> np.ndarray:
    return (plane + 0.03 * np.random.default_rng(seed).standard_normal(plane.shape)).astype(np.float32)


def test_what_was_painted_corrects_an_answer_where_the_tissue_tells() -> None:
    image = noisy(np.where(OBJECT, 0.7, 0.3))
    weighed = weigh_by_evidence(image, logits(GUESS), strokes(), 0.6)
    assert weighed.dtype == np.float32
    assert dice(GUESS, OBJECT) < 0.8
    assert dice(weighed > 0, OBJECT) > 0.92


def test_a_band_of_grey_between_dark_and_bright_is_learnt() -> None:
    ground = np.where(np.arange(SHAPE[1])[None] < 70, 0.2, 0.8) * np.ones(SHAPE)
    weighed = weigh_by_evidence(noisy(np.where(OBJECT, 0.5, ground)), logits(GUESS), strokes(), 0.6)
    assert dice(weighed > 0, OBJECT) > 0.9


def test_colour_tells_where_grey_does_not() -> None:
    red, green = np.where(OBJECT, 0.7, 0.3), np.where(OBJECT, 0.3, 0.7)
    colour = np.stack([noisy(red, 1), noisy(green, 2), noisy(np.full(SHAPE, 0.5), 4)], -1)
    weighed = weigh_by_evidence(colour, logits(GUESS), strokes(), 0.6)
    assert dice(weighed > 0, OBJECT) > 0.9


def test_an_image_without_contrast_changes_little() -> None:
    weighed = weigh_by_evidence(noisy(np.full(SHAPE, 0.5)), logits(GUESS, 4.0), strokes(), 0.6)
    assert dice(weighed > 0, GUESS) > 0.97


def test_too_little_paint_and_no_background_are_borne() -> None:
    image = noisy(np.where(OBJECT, 0.7, 0.3))
    dot = np.zeros(SHAPE, np.int8)
    dot[45, 60] = 1
    np.testing.assert_array_equal(weigh_by_evidence(image, logits(GUESS), dot, 0.6), logits(GUESS))
    alone = np.maximum(strokes(), 0)
    assert dice(weigh_by_evidence(image, logits(GUESS, 4.0), alone, 0.6) > 0, OBJECT) >= dice(GUESS, OBJECT)


@pytest.mark.parametrize("count", [1, FEWEST_CLICKS])
def test_clicks_count_as_paint_from_a_few_on(count: int) -> None:
    points = np.array([[45, 40 + 5 * k] for k in range(count)], np.float32)
    shown = painted_of(Hints(points=points, positive=np.arange(count) != 1), SHAPE)
    if count < FEWEST_CLICKS:
        assert shown is None
        return
    assert shown is not None
    painted, weight = shown
    assert painted[45, 40] == 1
    assert painted[45, 45] == -1
    assert weight == CLICK_WEIGHT


def test_strokes_weigh_more_than_clicks_and_are_not_changed() -> None:
    drawn = strokes()
    shown = painted_of(Hints(strokes=drawn), SHAPE)
    assert shown is not None
    assert shown[1] > CLICK_WEIGHT
    np.testing.assert_array_equal(shown[0], drawn)
    np.testing.assert_array_equal(drawn, strokes())
