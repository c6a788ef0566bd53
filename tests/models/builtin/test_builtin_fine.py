"""What counts as thin, and that tiles cover what they are sent along and go on where it leads."""

import numpy as np
import pytest

from promptseg.models.families.builtin.thin import follow, is_thin, stands_out, usual_width
from promptseg.models.families.builtin.views import Square, crop


def strip(width: int, length: int = 300) -> np.ndarray:
    mask = np.zeros((320, 400), bool)
    mask[100 : 100 + width, 20 : 20 + length] = True
    return mask


@pytest.mark.parametrize("width", [3, 5, 9, 15])
def test_the_usual_width_of_a_strip(width: int) -> None:
    assert usual_width(strip(width)) == pytest.approx(width, rel=0.35, abs=1)


def test_strips_are_thin_and_discs_are_not() -> None:
    y, x = np.ogrid[:200, :200]
    disc = (y - 100) ** 2 + (x - 100) ** 2 < 60**2
    assert is_thin(strip(4))
    assert not is_thin(strip(4), px=4.0)
    assert not is_thin(strip(40))
    assert not is_thin(disc)
    assert not is_thin(np.zeros((50, 50), bool))


def test_what_is_drawn_in_the_image_stands_out_more() -> None:
    image = 0.2 + 0.5 * strip(4) + 0.05 * np.random.default_rng(0).standard_normal((320, 400))
    assert stands_out(image.astype(np.float32), strip(4)) > 2 * stands_out(image.astype(np.float32), strip(30))
    assert stands_out(image.astype(np.float32), np.zeros((320, 400), bool)) == 0


def test_tiles_follow_what_they_find_to_its_end() -> None:
    truth = strip(4)
    elsewhere = np.zeros_like(truth)
    elsewhere[250:254, 20:320] = True
    asked: list[Square] = []

    def look(known: np.ndarray, squares: list[Square]) -> tuple[list[np.ndarray], list[float]]:
        asked.extend(squares)
        there = (truth | elsewhere).astype(np.float32)
        return [20 * crop(there, square, 128) - 10 for square in squares], [0.8] * len(squares)

    seeds = np.zeros_like(truth)
    seeds[101, 40:44] = True
    logits, score = follow(look, np.full(truth.shape, -12, np.float32), seeds, 96.0)
    found = logits > 0
    assert (found & truth).sum() > 0.95 * truth.sum()
    assert not (found & elsewhere).any()
    assert score == pytest.approx(0.8, abs=0.01)
    assert len({(w.y, w.x) for w in asked}) == len(asked)
