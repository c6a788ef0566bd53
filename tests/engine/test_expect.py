"""What is expected of the next slice: distances, moved shapes, shapes between two, intensities."""

import numpy as np
import pytest

from promptseg.engine.distances import signed_distance_mm
from promptseg.engine.expect import Between, Tissue, as_logits, moved, window_around

Y, X = np.mgrid[:60, :90].astype(float)
SPACING = (3.0, 0.8)  # row, column in mm: a coronal cut through thick slices


def disc(cy, cx, r_mm):
    return ((Y - cy) * SPACING[0]) ** 2 + ((X - cx) * SPACING[1]) ** 2 < r_mm**2


def test_distances_are_in_mm_and_positive_inside():
    distance = signed_distance_mm(disc(30, 45, 20), SPACING)
    assert distance[30, 45] == pytest.approx(20, abs=1)
    assert distance[30, 5] == pytest.approx(-(40 * 0.8 - 20), abs=1)
    assert ((distance > 0) == disc(30, 45, 20)).all()
    assert (signed_distance_mm(np.zeros((5, 4), bool), SPACING) < 0).all()


def test_logits_grow_with_the_distance_and_are_limited():
    logits = as_logits(np.array([[-100, -2, 0, 1, 100]], np.float32), 2.0)
    assert logits.tolist() == [[-3, -1, 0, 0.5, 3]]


def test_a_shape_moves_along_with_the_image():
    rng = np.random.default_rng(3)
    texture = 0.3 + 0.02 * rng.standard_normal((60, 90))
    there, here = texture.astype(np.float32), np.roll(texture, (2, 5), (0, 1)).astype(np.float32)
    there[disc(30, 40, 15)] = 0.8
    here[disc(32, 45, 15)] = 0.8
    carried = moved(signed_distance_mm(disc(30, 40, 15), SPACING), there, here) > 0
    truth, copied = disc(32, 45, 15), disc(30, 40, 15)
    overlap = (carried & truth).sum() / (carried | truth).sum()
    assert overlap > 0.85
    assert overlap > (copied & truth).sum() / (copied | truth).sum()


def test_between_two_slices_a_drifting_disc_stays_a_disc():
    between = Between(10, 20, (disc(15, 20, 12), disc(45, 70, 12)), SPACING)  # they do not even touch
    middle = between.distance_mm(15) > 0
    truth = disc(30, 45, 12)
    assert (middle & truth).sum() / (middle | truth).sum() > 0.85
    assert ((between.distance_mm(10) > 0) == disc(15, 20, 12)).mean() > 0.99


def test_intensities_that_the_surroundings_share_say_nothing():
    pixels = np.where(X < 45, 0.25, 0.75).astype(np.float32)
    bright = X >= 45
    logits = Tissue(pixels[bright], pixels[~bright]).logits(pixels)
    assert (logits[:, 48:] > 2).all()
    assert (logits[:, :42] < -2).all()
    flat = np.full((60, 90), 0.5, np.float32)
    assert np.abs(Tissue(flat[bright], flat[~bright]).logits(flat)).max() < 0.1


def test_a_window_has_a_margin_and_stays_inside():
    mask = np.zeros((60, 90), bool)
    assert window_around([mask], (1, 1)) is None
    mask[2:5, 80:85] = True
    assert window_around([mask, np.zeros_like(mask)], (4, 10)) == (slice(0, 9), slice(70, 90))
