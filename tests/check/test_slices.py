"""Slices on a regular grid and back: labels return bit for bit, at the right place in the patient."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from promptseg.check.slices import SliceSet, plan_slices
from promptseg.errors import GeometryMismatchError, ReadError
from promptseg.volume import Geometry, Label, Labelmap

ROWS, COLUMNS = 6, 9
TILT = np.radians(20)
AXES = (  # rows run along x, columns lean: a tilted gantry
    np.array([1.0, 0.0, 0.0]),
    np.array([0.0, np.cos(TILT), -np.sin(TILT)]),
    np.array([0.0, np.sin(TILT), np.cos(TILT)]),
)
UNEVEN = [0.0, 4.0, 8.0, 9.1, 16.0, 23.0]


def _plan(heights: list[float], slope_x: float = 0.0) -> SliceSet:
    """Slices whose table moves along z (and a little along x)."""
    positions = np.array([[-7.0 + slope_x * h, 3.0, 50.0 + h] for h in heights])
    return plan_slices(positions, AXES, (ROWS, COLUMNS), (0.8, 1.1), numbers=range(1, len(heights) + 1))


def _labels(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 5, (count, ROWS, COLUMNS), dtype=np.uint8)


def test_the_grid_holds_every_slice() -> None:
    slices = _plan(UNEVEN)
    assert slices.is_exact
    gaps = np.diff(UNEVEN) * np.cos(TILT)
    assert slices.grid.spacing[:2] == (1.1, 0.8)
    assert slices.grid.spacing[2] <= gaps.min() + 1e-9
    last = slices.grid.voxel_to_world((slices.grid.shape[0] - 1, 0, 0))
    assert (last - slices.positions[-1]) @ AXES[2] == pytest.approx(0, abs=1e-9)


def test_each_pixel_takes_the_label_at_its_place() -> None:
    slices = _plan(UNEVEN, slope_x=0.07)
    z, y, x = np.indices(slices.grid.shape)
    world = slices.grid.voxel_to_world(np.stack([z, y, x], axis=-1))
    ball = np.linalg.norm(world - (-3.0, 8.0, 61.0), axis=-1) < 6
    back = slices.to_slices(Labelmap(ball.astype(np.uint8), slices.grid))
    half = np.asarray(slices.grid.spacing_zyx) / 2
    for index, position in enumerate(slices.positions):
        rows, columns = np.indices((ROWS, COLUMNS))
        pixel = np.asarray(position) + rows[..., None] * 0.8 * AXES[1] + columns[..., None] * 1.1 * AXES[0]
        distance = np.linalg.norm(pixel - (-3.0, 8.0, 61.0), axis=-1)
        sure = np.abs(distance - 6) > np.linalg.norm(half)  # farther from the surface than any rounding reaches
        np.testing.assert_array_equal(back[index][sure], (distance < 6)[sure])
    assert slices.largest_shift_mm <= np.linalg.norm(half)


@pytest.mark.parametrize("slope_x", [0.0, 0.13, -0.4])
def test_labels_return_bit_for_bit(slope_x: float) -> None:
    slices = _plan(UNEVEN, slope_x)
    labels = _labels(len(UNEVEN))
    np.testing.assert_array_equal(slices.to_slices(slices.to_grid(labels)), labels)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.7, 9.0), min_size=1, max_size=8),
    st.floats(-1.0, 1.0),
    st.integers(0, 1000),
)
def test_labels_return_bit_for_bit_from_any_stack(gaps: list[float], slope_x: float, seed: int) -> None:
    heights = np.cumsum([0.0, *gaps]).tolist()
    slices = _plan(heights, slope_x)
    labels = _labels(len(heights), seed)
    np.testing.assert_array_equal(slices.to_slices(slices.to_grid(labels)), labels)
    assert SliceSet.from_dict(json.loads(json.dumps(slices.to_dict()))) == slices


def test_missing_slices_leave_planes_between() -> None:
    slices = _plan([0.0, 3.0, 6.0, 12.0])
    assert slices.grid.shape[0] == 5
    assert slices.corners[:, 0].tolist() == [0, 1, 2, 4]


def test_each_slice_gets_its_own_frame() -> None:
    slices = _plan(UNEVEN)
    mask = Labelmap(np.ones(slices.grid.shape, np.uint8), slices.grid, {1: Label.default(1, "liver")})
    parts = slices.to_labelmaps(mask)
    assert [part.geometry.origin for part in parts] == list(slices.positions)
    assert {part.geometry.shape for part in parts} == {(1, ROWS, COLUMNS)}
    assert parts[0].labels[1].name == "liver"


def test_a_mask_of_another_grid_is_refused() -> None:
    slices = _plan(UNEVEN)
    other = Geometry(slices.grid.shape, slices.grid.spacing)
    with pytest.raises(GeometryMismatchError):
        slices.to_slices(Labelmap(np.zeros(other.shape, np.uint8), other))


def test_slices_that_nearly_touch_are_refused() -> None:
    with pytest.raises(ReadError, match="more than 3000 planes"):
        _plan([0.0, 0.002, 30.0])


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"version": 2},
        {"slices": []},
        {"slice_shape": [6]},
        {"slice_shape": [600, 9]},
        {"axes_lps": [1, 0, 0, 0, 1, "x"]},
        {"grid": {}},
        {"thickness_mm": None},
    ],
)
def test_damaged_files_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ReadError, match="promptseg slices"):
        SliceSet.from_dict({**_plan(UNEVEN).to_dict(), **change})
