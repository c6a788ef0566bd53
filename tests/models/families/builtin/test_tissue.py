"""Weighing a box's answer by the tissues inside and outside of it."""

import numpy as np
import pytest

from promptseg.models.families.builtin.tissue import weigh_by_tissue

Y, X = np.mgrid[:90, :140].astype(np.float32)
DISC = (Y - 40) ** 2 + (X - 80) ** 2 < 20**2
BOX = (20.0, 60.0, 61.0, 101.0)


def box_filling(strength=1.0):
    """The answer of a network that has seen nothing but the box."""
    y0, x0, y1, x1 = BOX
    inside = (y0 <= Y) & (y1 > Y) & (x0 <= X) & (x1 > X)
    return np.where(inside, strength, -strength).astype(np.float32)


def image(noise):
    return (np.where(DISC, 0.6, 0.3) + np.random.default_rng(1).normal(0, noise, DISC.shape)).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.03, 0.06])
def test_the_corners_of_a_box_go_where_they_look_like_the_outside(noise):
    found = weigh_by_tissue(image(noise), box_filling(), BOX) > 0
    dice = 2 * (found & DISC).sum() / (found.sum() + DISC.sum())
    filled = 2 * DISC.sum() / ((box_filling() > 0).sum() + DISC.sum())
    assert dice > 0.97
    assert filled < 0.9


def test_without_contrast_nothing_changes():
    flat = np.full(DISC.shape, 0.4, np.float32)
    assert np.array_equal(weigh_by_tissue(flat, box_filling(), BOX) > 0, box_filling() > 0)


def test_a_sure_answer_is_not_overruled():
    sure = box_filling(strength=8.0)
    assert np.array_equal(weigh_by_tissue(image(0.03), sure, BOX) > 0, sure > 0)


def test_far_from_the_box_nothing_changes_and_arguments_stay():
    grey, logits = image(0.03), box_filling()
    kept = grey.copy(), logits.copy()
    weighed = weigh_by_tissue(grey, logits, BOX)
    assert np.array_equal(weighed[:, :30], logits[:, :30])
    assert np.array_equal(grey, kept[0])
    assert np.array_equal(logits, kept[1])


@pytest.mark.parametrize("box", [(-5.0, -5.0, 3.0, 4.0), (88.0, 138.0, 95.0, 150.0), (10.0, 10.0, 10.5, 10.5)])
def test_boxes_at_and_over_the_border(box):
    assert np.isfinite(weigh_by_tissue(image(0.03), box_filling(), box)).all()
