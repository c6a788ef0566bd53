"""A click changes one connected piece, and its own voxel is on the side that was meant."""

import numpy as np

from promptseg.engine.volume.merge import merged, obeyed
from promptseg.engine.volume.told import Click

SHAPE, SPACING = (12, 30, 40), (3.0, 0.8, 0.8)


def block(*cuts):
    mask = np.zeros(SHAPE, np.bool_)
    mask[tuple(slice(*cut) for cut in cuts)] = True
    return mask


OLD = block((2, 9), (5, 20), (5, 20))


def test_what_lies_elsewhere_stays():
    near, far = block((2, 9), (5, 20), (20, 26)), block((3, 6), (22, 28), (30, 38))
    assert np.array_equal(merged(OLD, OLD | near | far, [(4, 10, 22)], own=True), OLD | near)
    assert np.array_equal(merged(OLD, OLD | near | far, [(4, 10, 22), (4, 25, 33)], own=True), OLD | near | far)


def test_the_clicked_piece_changes_at_its_far_borders_too():
    moved = block((2, 9), (5, 20), (9, 24))
    assert np.array_equal(merged(OLD, moved, [(4, 10, 22)], own=True), moved)


def test_of_a_mask_from_elsewhere_only_what_differs_at_the_click_changes():
    moved = block((2, 9), (5, 20), (9, 24))
    expected = OLD | block((2, 9), (5, 20), (20, 24))
    assert np.array_equal(merged(OLD, moved, [(4, 10, 22)], own=False), expected)


def test_a_click_on_nothing_changes_nothing():
    assert np.array_equal(merged(OLD, block((2, 9), (5, 20), (9, 24)), [(11, 29, 39)], own=True), OLD)
    assert np.array_equal(merged(OLD, OLD | block((3, 6), (22, 28), (30, 38)), [(4, 10, 10)], own=True), OLD)


def test_a_deaf_answer_gives_way_around_the_click():
    told = obeyed(OLD, [Click((5, 12, 12), False), Click((10, 25, 35), True)], SPACING)
    assert not told[5, 12, 12]
    assert told[10, 25, 35]
    removed = OLD & ~told
    assert 1 < np.count_nonzero(removed) < 0.3 * np.count_nonzero(OLD)
    z, y, x = np.nonzero(removed)
    far = np.sqrt(((z - 5) * 3.0) ** 2 + ((y - 12) * 0.8) ** 2 + ((x - 12) * 0.8) ** 2)
    assert far.max() <= 5.0


def test_an_obedient_answer_and_clicks_outside_change_nothing():
    told = obeyed(OLD, [Click((4, 10, 10), True), Click((0, 0, 0), False), Click((-1, 0, 99), True)], SPACING)
    assert np.array_equal(told, OLD)
