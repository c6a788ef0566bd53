"""Prompts: checked when made, and the same again after JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from promptseg.errors import PromptError
from promptseg.prompts import (
    Box,
    Lasso,
    MaskPrompt,
    Plane,
    Point,
    Scribble,
    parse_plane,
    prompt_from_dict,
    prompt_to_dict,
)

coordinates = st.floats(-1e5, 1e5, allow_nan=False)
triples = st.tuples(coordinates, coordinates, coordinates)
planes = st.sampled_from(list(Plane))
sizes = st.tuples(*[st.floats(1e-3, 500)] * 3)


def box_of(low, size) -> Box:
    return Box(voxel=(low, tuple(np.add(low, size))))


points = st.one_of(
    st.builds(Point, voxel=triples, positive=st.booleans(), plane=planes),
    st.builds(Point, world=triples, positive=st.booleans(), plane=planes),
)
boxes = st.one_of(st.builds(box_of, triples, sizes), st.builds(Box, world=st.tuples(triples, triples)))
scribbles = st.builds(
    Scribble,
    st.lists(st.tuples(*[st.integers(-10, 600)] * 3), min_size=1, max_size=8),
    st.booleans(),
    st.one_of(st.none(), planes),
)
lassos = st.builds(
    Lasso,
    planes,
    st.integers(-3, 900),
    st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=8),
    st.booleans(),
)
masks = st.builds(MaskPrompt, hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)), planes)


def through_json(prompt):
    return prompt_from_dict(json.loads(json.dumps(prompt_to_dict(prompt), allow_nan=False)))


@given(st.one_of(points, boxes, scribbles, lassos, masks))
def test_every_prompt_is_the_same_after_json(prompt):
    again = through_json(prompt)
    assert type(again) is type(prompt)
    assert again == prompt
    assert prompt_to_dict(again) == prompt_to_dict(prompt)


@pytest.mark.parametrize(
    ("mask", "runs"),
    [
        (np.zeros((2, 3, 4), bool), [24]),
        (np.ones((2, 3, 4), bool), [0, 24]),
        (np.arange(24).reshape(2, 3, 4) < 5, [0, 5, 19]),
        (np.arange(24).reshape(2, 3, 4) >= 5, [5, 19]),
        (np.arange(24).reshape(2, 3, 4) == 5, [5, 1, 18]),
    ],
    ids=["empty", "full", "leading True", "trailing True", "one voxel"],
)
def test_masks_are_run_lengths_that_start_with_false(mask, runs):
    data = prompt_to_dict(MaskPrompt(mask))
    assert (data["shape"], data["runs"]) == ([2, 3, 4], runs)
    again = through_json(MaskPrompt(mask))
    np.testing.assert_array_equal(again.mask, mask)
    assert again.mask.dtype == np.bool_


def test_a_masks_memory_layout_does_not_matter():
    mask = np.random.default_rng(2).random((3, 4, 5)) > 0.5
    for laid_out in (np.asfortranarray(mask), mask[::-1][::-1], np.repeat(mask, 2, axis=1)[:, ::2]):
        assert through_json(MaskPrompt(laid_out)) == MaskPrompt(mask)


def test_a_2d_mask_is_one_slice_and_numbers_are_truth_values():
    assert MaskPrompt(np.array([[0, 2], [0, 0]])).mask.tolist() == [[[False, True], [False, False]]]


def test_numpy_values_become_plain_json():
    point = Point(voxel=np.array([1, 2, 3], np.int16), positive=np.bool_(False))
    assert json.loads(json.dumps(prompt_to_dict(point))) == {
        "type": "point", "voxel": [1.0, 2.0, 3.0], "positive": False, "plane": "axial",
    }  # fmt: skip
    assert json.dumps(prompt_to_dict(Lasso("axial", np.int64(3), np.eye(3)[:, :2])))


# --- what a prompt refuses ------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
BAD = {
    "point without a place": (lambda: Point(), "exactly one of voxel=.* and world="),
    "point in two frames": (lambda: Point(voxel=(0, 0, 0), world=(0, 0, 0)), "exactly one of"),
    "point of two numbers": (lambda: Point(voxel=(1, 2)), r"three finite numbers, got \(1, 2\)"),
    "point of text": (lambda: Point(world="abc"), "three numbers, got 'abc'"),
    "point at NaN": (lambda: Point(voxel=(1, NAN, 2)), "three finite numbers, got .*nan"),
    "point at infinity": (lambda: Point(world=(1, INF, 2)), "three finite numbers, got .*inf"),
    "point of a number": (lambda: Point(voxel=3), "three numbers, got 3"),
    "box without a place": (lambda: Box(), "exactly one of"),
    "box with one corner": (lambda: Box(voxel=((0, 0, 0),)), "two corners, got"),
    "box of no thickness": (lambda: Box(voxel=((3, 0, 0), (3, 9, 9))), "half-open.*z0 = k to z1 = k [+] 1"),
    "box inside out": (lambda: Box(voxel=((0, 9, 0), (1, 2, 9))), "y0 < y1"),
    "box at NaN": (lambda: Box(world=((0, 0, 0), (NAN, 1, 1))), "three finite numbers"),
    "scribble of nothing": (lambda: Scribble([]), r"\(n >= 1, 3\).*got shape \(0,\)"),
    "scribble in 2D": (lambda: Scribble([(1, 2)]), r"got shape \(1, 2\)"),
    "ragged scribble": (lambda: Scribble([(1, 2, 3), (1, 2)]), r"\(n, 3\) numbers"),
    "scribble at NaN": (lambda: Scribble([(1, 2, NAN)]), "finite"),
    "lasso with two corners": (lambda: Lasso("axial", 1, [(1, 2), (3, 4)]), r"\(n >= 3, 2\).*got shape \(2, 2\)"),
    "lasso in 3D": (lambda: Lasso("axial", 1, np.ones((4, 3))), r"got shape \(4, 3\)"),
    "lasso between slices": (lambda: Lasso("axial", 1.5, np.eye(3)[:, :2]), "integer, got 1.5"),
    "lasso on slice True": (lambda: Lasso("axial", True, np.eye(3)[:, :2]), "integer, got True"),
    "lasso on slice NaN": (lambda: Lasso("axial", NAN, np.eye(3)[:, :2]), "integer, got nan"),
    "lasso on slice None": (lambda: Lasso("axial", None, np.eye(3)[:, :2]), "integer, got None"),
    "lasso on slice 'a'": (lambda: Lasso("axial", "a", np.eye(3)[:, :2]), "integer, got 'a'"),
    "lasso on slice infinity": (lambda: Lasso("axial", INF, np.eye(3)[:, :2]), "integer, got inf"),
    "point beyond all numbers": (lambda: Point(voxel=(10**400, 0, 0)), "three numbers"),
    "scribble beyond all grids": (lambda: Scribble([(1e300, 0, 0)]), "voxels below .* got 1e[+]300"),
    "positive as text": (lambda: Scribble([(1, 2, 3)], positive="false"), "true or false, got 'false'"),
    "positive None": (lambda: Point(voxel=(0, 0, 0), positive=None), "true or false, got None"),
    "lasso of text": (lambda: Lasso("axial", 1, "abc"), r"\(n, 2\) numbers"),
    "mask in 1D": (lambda: MaskPrompt(np.ones(4)), r"shape \(z, y, x\), got \(4,\)"),
    "mask in 4D": (lambda: MaskPrompt(np.ones((1, 2, 3, 4))), r"got \(1, 2, 3, 4\)"),
    "unknown plane": (lambda: Point(voxel=(0, 0, 0), plane="axal"), "got 'axal'; did you mean 'axial'"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_say_what_was_expected_and_what_came(name):
    make, said = BAD[name]
    with pytest.raises(PromptError, match=said) as caught:
        make()
    assert "expected" in str(caught.value)


BAD_JSON = {
    "a list": ([1, 2, 3], "JSON object, got list"),
    "text": ("point", "JSON object, got str"),
    "no type": ({}, "one of point, box, scribble, lasso, mask.*got None"),
    "near type": ({"type": "poin"}, "got 'poin'; did you mean 'point'"),
    "type of another kind": ({"type": ["point"]}, "got .*point"),
    "point without a place": ({"type": "point"}, "exactly one of"),
    "lasso without polygon": ({"type": "lasso", "plane": "axial", "index": 3}, "field 'polygon' in a lasso"),
    "scribble without voxels": ({"type": "scribble"}, "field 'voxels'"),
    "mask without runs": ({"type": "mask", "shape": [1, 2, 3]}, "field 'runs'"),
    "mask runs too short": ({"type": "mask", "shape": [2, 3, 4], "runs": [3, 4]}, r"\(2, 3, 4\), got a sum of 7"),
    "mask runs negative": ({"type": "mask", "shape": [1, 1, 4], "runs": [5, -1]}, "add up"),
    "mask runs of text": ({"type": "mask", "shape": [1, 1, 4], "runs": "abcd"}, "mask prompt"),
    "mask shape negative": ({"type": "mask", "shape": [-1, -1, 4], "runs": [4]}, "shape"),
    "mask runs beyond all numbers": ({"type": "mask", "shape": [1, 1, 4], "runs": [10**30]}, "mask prompt"),
    "mask shape of text": ({"type": "mask", "shape": ["a", 1, 4], "runs": [4]}, "mask prompt"),
    "mask shape missing an axis": ({"type": "mask", "shape": [2, 2], "runs": [4]}, "shape"),
    "plane of another kind": ({"type": "point", "voxel": [1, 2, 3], "plane": 7}, "got 7"),
    "box of numbers": ({"type": "box", "voxel": [1, 2]}, "three numbers, got 1"),
    "box as text": ({"type": "box", "voxel": "ab"}, "three numbers"),
    "positive as text": ({"type": "point", "voxel": [1, 2, 3], "positive": "false"}, "true or false, got 'false'"),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json_is_a_prompt_error(name):
    data, said = BAD_JSON[name]
    with pytest.raises(PromptError, match=said):
        prompt_from_dict(data)


# --- values ---------------------------------------------------------------------------------------------------------


def test_scribbles_go_to_the_nearest_voxel():
    assert Scribble([(1.4, 1.6, -0.4)]).voxels.tolist() == [[1, 2, 0]]
    assert Scribble([(1, 2, 3)]).voxels.dtype == np.int64


def test_equality_looks_at_every_field():
    polygon = [(0, 0), (0, 4), (4, 4)]
    different = [
        Scribble([(1, 2, 3)]),
        Scribble([(1, 2, 3)], positive=False),
        Scribble([(1, 2, 3)], plane="axial"),
        Scribble([(3, 2, 1)]),
        Lasso("axial", 1, polygon),
        Lasso("coronal", 1, polygon),
        Lasso("axial", 2, polygon),
        Lasso("axial", 1, polygon, positive=False),
        Lasso("axial", 1, polygon[::-1]),
        MaskPrompt(np.ones((1, 2, 3))),
        MaskPrompt(np.ones((1, 3, 2))),
        MaskPrompt(np.ones((1, 2, 3)), Plane.CORONAL),
        Point(voxel=(1, 2, 3)),
        Point(world=(1, 2, 3)),
        Box(voxel=((0, 0, 0), (1, 2, 3))),
        Box(world=((0, 0, 0), (1, 2, 3))),
    ]
    for i, one in enumerate(different):
        assert through_json(one) == one
        assert all(one != other for other in different[:i])


def test_prompts_are_frozen_and_do_not_follow_the_callers_array():
    polygon, voxels, mask = np.array([(0.0, 0), (0, 4), (4, 4)]), np.array([[1, 2, 3]]), np.zeros((2, 3, 4), bool)
    lasso, scribble, prompt = Lasso("axial", 1, polygon), Scribble(voxels), MaskPrompt(mask)
    polygon[0], voxels[0], mask[:] = 9, 9, True
    assert lasso.polygon[0].tolist() == [0, 0]
    assert scribble.voxels.tolist() == [[1, 2, 3]]
    assert not prompt.mask.any()
    with pytest.raises(AttributeError):
        lasso.index = 2


def test_planes_and_their_axes():
    assert [p.axis for p in (Plane.AXIAL, Plane.CORONAL, Plane.SAGITTAL)] == [0, 1, 2]
    assert [Plane.of_axis(axis) for axis in (0, 1, 2)] == list(Plane)
    assert parse_plane("coronal") is Plane.CORONAL
    assert Lasso("sagittal", 1, np.eye(3)[:, :2]).plane is Plane.SAGITTAL
