"""Simulated clicks and boxes on shapes whose answers are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from promptseg.bench.simulate import deepest_point, error_click, first_click, key_slice, largest_component, tight_box
from promptseg.errors import PromptError


def l_shape() -> np.ndarray:
    """A 3 px wide bar down and a 7 x 9 px block at its foot: the block's middle is the deepest."""
    mask = np.zeros((20, 31), bool)
    mask[2:10, 4:7] = True
    mask[10:17, 4:13] = True
    return mask


def test_the_deepest_point_of_an_l_lies_in_the_middle_of_its_thick_foot() -> None:
    # The block's inner line, row 13, columns 7 to 9, is 4 px from its edges; their centre is column 8.
    assert deepest_point(l_shape(), (1.0, 1.0)) == (13, 8)


def test_depth_is_measured_in_millimetres() -> None:
    mask = np.zeros((20, 31), bool)
    mask[3:14, 2:5] = True  # 11 rows x 3 columns
    mask[16:19, 5:28] = True  # 3 rows x 23 columns
    # Columns 9 mm apart, rows 1 mm: the upright bar is 6 mm deep at its middle row, the lying one 2 mm.
    assert deepest_point(mask, (1.0, 9.0)) == (8, 3)
    # Rows 9 mm apart, columns 1 mm: the upright bar is 2 mm deep, the lying one 12 mm at its middle column.
    assert deepest_point(mask, (9.0, 1.0)) == (17, 16)


def test_the_image_edge_is_a_border() -> None:
    assert deepest_point(np.ones((5, 11), bool), (1.0, 1.0)) == (2, 5)
    assert deepest_point(np.ones((3, 5, 11), bool), (1.0, 1.0, 1.0)) == (1, 2, 5)


def test_the_first_click_is_positive_and_inside() -> None:
    click = first_click(l_shape(), (1.0, 1.0))
    assert click.positive
    assert l_shape()[click.index]


def test_a_missed_part_gets_a_positive_click_in_its_middle() -> None:
    truth = np.zeros((12, 25), bool)
    truth[3:8, 2:23] = True
    prediction = truth.copy()
    prediction[3:8, 14:23] = False  # 5 x 9 px missed: rows 3 to 7, columns 14 to 22
    click = error_click(truth, prediction, (1.0, 1.0))
    assert click is not None
    assert (click.index, click.positive) == ((5, 18), True)


def test_a_spilled_part_gets_a_negative_click_in_its_middle() -> None:
    truth, prediction = np.zeros((4, 12, 25), bool), np.zeros((4, 12, 25), bool)
    truth[1:3, 3:8, 2:12] = True
    prediction[1:3, 3:8, 2:12] = True
    prediction[0:3, 4:7, 15:22] = True  # 3 x 3 x 7 voxels too many
    click = error_click(truth, prediction, (2.0, 1.0, 1.0))
    assert click is not None
    assert (click.index, click.positive) == ((1, 5, 18), False)


def test_the_largest_piece_wins_and_signs_are_not_joined() -> None:
    truth, prediction = np.zeros((9, 30), bool), np.zeros((9, 30), bool)
    truth[2:7, 0:10] = True  # 50 px missed
    prediction[2:7, 10:19] = True  # 45 px spilled, touching the missed ones
    click = error_click(truth, prediction, (1.0, 1.0))
    assert click is not None
    assert click.positive
    assert truth[click.index]


def test_diagonal_neighbours_belong_together() -> None:
    mask = np.zeros((6, 9), bool)
    mask[1, 1] = mask[2, 2] = mask[3, 3] = True
    mask[5, 6:8] = True
    assert largest_component(mask).sum() == 3
    cube = np.zeros((3, 6, 9), bool)
    cube[0, 1, 1] = cube[1, 2, 2] = cube[2, 3, 3] = True
    cube[0, 5, 6:8] = True
    assert largest_component(cube).sum() == 3


def test_nothing_wrong_needs_no_click() -> None:
    assert error_click(l_shape(), l_shape(), (1.0, 1.0)) is None
    empty = np.zeros((3, 4, 5), bool)
    assert error_click(empty, empty, (1.0, 1.0, 1.0)) is None
    assert not largest_component(empty).any()


def test_the_tight_box_is_half_open() -> None:
    assert tight_box(l_shape()) == ((2, 4), (17, 13))
    one = np.zeros((3, 7, 5), bool)
    one[1, 6, 0] = True
    assert tight_box(one) == ((1, 6, 0), (2, 7, 1))


def test_empty_masks_are_refused() -> None:
    empty = np.zeros((4, 7), bool)
    for refuse in (lambda: deepest_point(empty, (1.0, 1.0)), lambda: tight_box(empty), lambda: key_slice(empty[None])):
        with pytest.raises(PromptError, match="empty"):
            refuse()


def test_the_key_slice_is_the_fullest_near_the_middle() -> None:
    mask = np.zeros((12, 8, 9), bool)
    for z, width in zip(range(1, 11), (8, 7, 2, 2, 3, 2, 4, 2, 2, 2), strict=True):
        mask[z, 2:5, 0:width] = True
    # Range 1 to 10, middle 5.5, a third of ten slices is 5 / 3 to either side: slices 4 to 7; slice 7 is 4 wide.
    assert key_slice(mask) == 7
    hollow = np.zeros((9, 8, 9), bool)
    hollow[0, 2:4, 2:4] = hollow[8, 2:6, 2:4] = True  # nothing in the middle
    assert key_slice(hollow) == 8
    assert key_slice(mask[3:4]) == 0


@settings(max_examples=60, deadline=None)
@given(
    truth=hnp.arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 9))),
    seed=st.integers(0, 2**16),
)
def test_a_click_lies_on_an_error_of_its_sign(truth: np.ndarray, seed: int) -> None:
    prediction = np.random.default_rng(seed).random(truth.shape) < 0.5
    click = error_click(truth, prediction, (3.0, 1.0, 0.5))
    assert (click is None) == bool((truth == prediction).all())
    if click is not None:
        assert truth[click.index] == click.positive
        assert prediction[click.index] != click.positive
