"""A square of a slice keeps its place: what is cut out comes back where it was."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptseg.models.families.builtin.views import CHANNELS, Hints, Square, crop, draw_view, fit_square, paste

SHAPE = (90, 140)
POSITIVE, NEGATIVE, BOX, PREVIOUS = (CHANNELS.index(name) for name in ("positive", "negative", "box", "previous"))


def ramp(axis: int) -> np.ndarray:
    return np.indices(SHAPE)[axis].astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
@given(y=st.floats(0, 89), x=st.floats(0, 139), side=st.floats(40, 140))
@settings(max_examples=25, deadline=None)
def test_crop_samples_where_the_square_says(axis: int, y: float, x: float, side: float) -> None:
    square = fit_square(Square(y, x, side), SHAPE)
    view = crop(ramp(axis), square, 64)
    expected = (square.y, square.x)[axis] - square.side / 2 + (np.arange(64) + 0.5) * square.side / 64
    got = view[:, 32] if axis == 0 else view[32]
    inner = (expected > 4) & (expected < SHAPE[axis] - 5)
    crossing = (square.x, square.y)[axis] - square.side / 2 + 32.5 * square.side / 64
    if 4 < crossing < SHAPE[1 - axis] - 5:
        np.testing.assert_allclose(got[inner], expected[inner], atol=0.02)


@given(y=st.floats(0, 89), x=st.floats(0, 139), side=st.floats(40, 100))
@settings(max_examples=25, deadline=None)
def test_paste_undoes_crop(y: float, x: float, side: float) -> None:
    square = fit_square(Square(y, x, side), SHAPE)
    back = paste(crop(ramp(0), square, 128), square, SHAPE, -99.0)
    seen = back != -99.0
    seen[:3], seen[-3:], seen[:, :2], seen[:, -2:] = False, False, False, False
    assert seen.sum() > 0.5 * min(square.side, SHAPE[0]) * square.side * 0.8
    assert np.abs(back - ramp(0))[seen].max() < 1.1  # half a view pixel at the border of the square


@given(y=st.floats(-20, 120), x=st.floats(-20, 160), side=st.floats(1, 500))
@settings(max_examples=50, deadline=None)
def test_a_fitted_square_lies_inside_where_it_can(y: float, x: float, side: float) -> None:
    square = fit_square(Square(y, x, side), SHAPE)
    assert 40 <= square.side <= 140
    for centre, length in ((square.y, SHAPE[0]), (square.x, SHAPE[1])):
        if square.side <= length:
            assert centre - square.side / 2 >= -0.5 - 1e-6
            assert centre + square.side / 2 <= length - 0.5 + 1e-6


def test_prompts_are_drawn_where_they_were_given() -> None:
    strokes = np.zeros(SHAPE, np.int8)
    strokes[20, 30:60] = 1
    strokes[70, 30:60] = -1
    hints = Hints(np.array([[50.0, 40.0]], np.float32), np.array([False]), (10, 20, 30, 60), strokes)
    square = Square(45.0, 50.0, 80.0)
    view = draw_view(np.zeros(SHAPE, np.float32), hints, square, 160)

    def place(y: float, x: float) -> tuple[int, int]:
        return round((y - 5.0) * 2 - 0.5), round((x - 10.0) * 2 - 0.5)

    assert view[NEGATIVE][place(50, 40)] > 0.9
    assert view[POSITIVE][place(20, 45)] > 0.5
    assert view[NEGATIVE][place(70, 45)] > 0.5
    assert view[POSITIVE][place(70, 45)] == 0
    assert view[BOX].sum() == 20 * 40 * 4
    assert view[BOX][place(29, 59)] == 1
    assert view[BOX][place(31, 59)] == 0
    assert not view[PREVIOUS].any()


def test_a_constant_slice_gives_finite_input() -> None:
    view = draw_view(np.full(SHAPE, 0.3, np.float32), Hints(), Square(45, 70, 140), 64)
    assert np.isfinite(view).all()
