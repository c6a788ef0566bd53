"""What is locked near a prompt becomes negative points, and nothing else does."""

import numpy as np
import pytest

from promptseg.engine.negatives import with_locked
from promptseg.models.predictor import SlicePrompts

SPACING = (2.0, 0.5)  # row, column in mm
SHAPE = (60, 200)
CLICK = SlicePrompts(np.array([[30, 100]], np.float32), np.array([True]))


def locked(*pieces):
    """Return a mask (h, w) of half-open (y0, x0, y1, x1)."""
    mask = np.zeros(SHAPE, bool)
    for y0, x0, y1, x1 in pieces:
        mask[y0:y1, x0:x1] = True
    return mask


def added(prompts, mask):
    """Return the negative points that come before a person's, as (row, column)."""
    told = with_locked(prompts, mask, SPACING)
    count = len(told.points) - len(prompts.points)
    np.testing.assert_array_equal(told.points[count:], prompts.points)  # the newest stay last
    np.testing.assert_array_equal(told.positive[count:], prompts.positive)
    assert not told.positive[:count].any()
    return [tuple(point) for point in told.points[:count].tolist()]


@pytest.mark.parametrize("mask", [None, locked()])
def test_without_anything_locked_prompts_stay_as_they_are(mask):
    assert with_locked(CLICK, mask, SPACING) is CLICK


def test_a_locked_piece_gets_a_point_in_its_middle():
    assert added(CLICK, locked((25, 110, 32, 117))) == [(28, 113)]


@pytest.mark.parametrize(
    ("piece", "near"),
    [
        ((34, 97, 39, 102), True),  # from 8 mm below the click
        ((41, 97, 46, 102), False),  # from 22 mm
        ((17, 97, 22, 102), False),  # to 18 mm above it: what lies within 20 mm, two rows, is thin
        ((28, 134, 33, 139), True),  # from 17 mm right
        ((28, 142, 33, 147), False),  # from 21 mm
        ((28, 61, 33, 66), True),  # from 19.5 mm left
        ((28, 53, 33, 59), False),  # to 21 mm
    ],
)
def test_only_what_lies_within_20_mm_counts(piece, near):
    assert bool(added(CLICK, locked(piece))) is near


def test_a_box_says_itself_where_to_look():
    boxed = SlicePrompts(box=(20, 50, 40, 60))
    assert added(boxed, locked((25, 53, 30, 58), (25, 62, 30, 72))) == [(27, 55)]


def test_a_stroke_and_clicks_are_looked_at_together():
    scribble = np.zeros(SHAPE, np.int8)
    scribble[30, 20:40], scribble[30, 150:160] = 1, -1
    stroked = SlicePrompts(scribble=scribble)
    beside_its_end, beside_the_other = (27, 60, 32, 65), (27, 170, 32, 175)
    assert added(stroked, locked(beside_its_end, beside_the_other)) == [(29, 62)]
    both = SlicePrompts(np.array([[30, 140]], np.float32), np.array([True]), scribble=scribble)
    assert len(added(both, locked(beside_its_end, beside_the_other, (27, 90, 32, 95)))) == 3


def test_the_three_largest_pieces_are_told_and_thin_ones_are_not():
    sizes = {5: (27, 70, 32, 75), 7: (26, 80, 33, 87), 9: (25, 105, 34, 114), 11: (24, 120, 35, 131)}
    assert added(CLICK, locked(*sizes.values())) == [(29, 125), (29, 109), (29, 83)]
    assert added(CLICK, locked((29, 110, 32, 130))) == [(30, 111)]  # three rows: its middle is two pixels from outside
    assert added(CLICK, locked((29, 110, 31, 130))) == []


def test_a_negative_prompt_alone_looks_nowhere():
    denied = SlicePrompts(np.array([[30, 100]], np.float32), np.array([False]))
    assert with_locked(denied, locked((25, 110, 32, 117)), SPACING) is denied


def test_a_clicked_pixel_is_never_denied():
    inside = SlicePrompts(np.array([[28, 113]], np.float32), np.array([True]))
    assert (28, 113) not in added(inside, locked((25, 110, 32, 117)))
