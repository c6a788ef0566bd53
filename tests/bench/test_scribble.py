"""Simulated strokes: where they may be, and where they must be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptseg.bench.scribble import brush_width_px, scribble, seed_of
from promptseg.errors import PromptError


def ellipse(shape: tuple[int, int], centre: tuple[int, int], radii: tuple[int, int]) -> np.ndarray:
    canvas = np.zeros(shape, np.uint8)
    cv2.ellipse(canvas, centre[::-1], radii[::-1], 30, 0, 360, 1, -1)
    return canvas.astype(bool)


def test_the_stroke_runs_along_the_middle_of_a_long_bar() -> None:
    truth = np.zeros((60, 140), bool)
    truth[20:41, 10:130] = True  # 21 x 120 px, centre line in row 30
    rows, columns = np.nonzero(scribble(truth) > 0)
    middle = (columns > 30) & (columns < 110)
    assert np.abs(rows[middle] - 30).max() <= 3
    assert columns.min() < 30 < 110 < columns.max()  # most of the way ...
    assert columns.min() > 12  # ... but not up to the border
    assert columns.max() < 127


def test_the_stroke_follows_a_ring_instead_of_crossing_its_hole() -> None:
    outer, inner = ellipse((150, 170), (70, 80), (50, 50)), ellipse((150, 170), (70, 80), (36, 36))
    ring = outer & ~inner
    painted = scribble(ring) > 0
    assert painted.any()
    assert not (painted & ~ring).any()
    assert np.count_nonzero(painted) > 60  # about half of the way round, at least 2 px wide


def test_every_large_piece_gets_a_stroke() -> None:
    truth = ellipse((120, 200), (60, 50), (30, 20)) | ellipse((120, 200), (60, 150), (30, 20))
    truth[2:4, 2:4] = True  # a speck gets none
    painted = scribble(truth) > 0
    assert painted[:, :100].any()
    assert painted[:, 100:].any()
    assert not painted[2:4, 2:4].any()


def test_negative_strokes_surround_the_object_at_a_distance() -> None:
    truth = ellipse((200, 260), (100, 130), (50, 35))
    strokes = scribble(truth, seed=3)
    away = cv2.distanceTransform((~truth).astype(np.uint8), cv2.DIST_L2, 5)[strokes < 0]
    assert away.min() > 2
    assert away.max() < 0.06 * 260 + 4  # never farther than the limit and half a brush
    directions = np.argwhere(strokes < 0) - np.array([100, 130])
    turned = np.degrees(np.arctan2(directions[:, 0], directions[:, 1])) // 90
    assert len(set(turned.tolist())) >= 2  # on more than one side


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), height=st.integers(3, 60), width=st.integers(3, 90))
def test_strokes_keep_to_their_side(seed: int, height: int, width: int) -> None:
    noise = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    truth = cv2.GaussianBlur(noise, (0, 0), 2.0) > 0.5
    truth[height // 2, width // 2] = True
    strokes = scribble(truth, seed)
    assert (strokes > 0).any()
    assert not ((strokes > 0) & ~truth).any()
    assert not ((strokes < 0) & truth).any()


def test_the_same_seed_draws_the_same_strokes_and_another_one_others() -> None:
    truth = ellipse((200, 260), (100, 130), (50, 35))
    assert np.array_equal(scribble(truth, 5), scribble(truth.copy(), 5))
    assert not np.array_equal(scribble(truth, 5), scribble(truth, 6))
    assert np.array_equal(scribble(truth, 5) > 0, scribble(truth, 6) > 0)  # the seed moves the negative ones alone


def test_a_single_pixel_and_a_full_image() -> None:
    one = np.zeros((9, 14), bool)
    one[4, 13] = True
    assert (scribble(one) > 0).sum() == 1
    full = scribble(np.ones((9, 14), bool))
    assert (full > 0).any()
    assert not (full < 0).any()  # there is nothing around it


def test_the_seed_comes_from_the_name_alone() -> None:
    assert seed_of("123456789") == 0xCBF43926  # the published check value of CRC-32
    assert seed_of("ct/liver") != seed_of("ct/spleen")


def test_the_brush_grows_with_the_image() -> None:
    assert brush_width_px((80, 100)) == 2
    assert brush_width_px((600, 1000)) == 5


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(PromptError, match="at least one pixel"):
        scribble(np.zeros((4, 7), bool))
