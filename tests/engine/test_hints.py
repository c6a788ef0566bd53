"""From prompts in the volume to hints on slices."""

import numpy as np
import pytest
from phantoms import OBLIQUE, ORIGIN, SHAPE, SPACING

from promptseg import Box, Geometry, Lasso, Plane, Point, Scribble
from promptseg.engine.hints import merge_hints, place
from promptseg.errors import PromptError

GEOMETRY = Geometry(SHAPE, SPACING, ORIGIN, OBLIQUE)


def only(placed):
    ((index, hint),) = placed.hints.items()
    return index, hint


@pytest.mark.parametrize(
    ("plane", "index", "place_2d"),
    [(Plane.AXIAL, 5, (40, 80)), (Plane.CORONAL, 40, (5, 80)), (Plane.SAGITTAL, 80, (5, 40))],
)
def test_a_point_lands_on_the_slice_of_its_plane(plane, index, place_2d):
    found, hint = only(place(Point(voxel=(5, 40, 80), plane=plane), GEOMETRY))
    assert found == index
    assert hint.prompts.points.tolist() == [list(place_2d)]


def test_a_world_point_equals_its_voxel():
    world = GEOMETRY.voxel_to_world((5, 40, 80))
    found, hint = only(place(Point(world=tuple(world)), GEOMETRY))
    assert found == 5
    np.testing.assert_allclose(hint.prompts.points, [[40, 80]], atol=1e-4)


@pytest.mark.parametrize("voxel", [(-1, 0, 0), (0, 70, 0), (0, 0, 91.6), (24, 0, 0)])
def test_a_point_outside_is_refused_with_both_sizes(voxel):
    with pytest.raises(PromptError, match=r"outside the image.*24, 70, 92"):
        place(Point(voxel=voxel), GEOMETRY)


def test_a_point_in_the_outer_half_voxel_is_inside():
    index, _ = only(place(Point(voxel=(-0.4, 0, 0)), GEOMETRY))
    assert index == 0


def test_a_thick_box_prompts_its_middle_slice_and_limits_the_range():
    placed = place(Box(voxel=((4, 10, 20), (9, 30, 50))), GEOMETRY)
    index, hint = only(placed)
    assert (placed.plane, index, placed.limits) == (Plane.AXIAL, 6, (4, 9))
    assert hint.prompts.box == (10, 20, 30, 50)


@pytest.mark.parametrize(
    ("corners", "plane", "index", "box_2d"),
    [
        (((7, 10, 20), (8, 30, 50)), Plane.AXIAL, 7, (10, 20, 30, 50)),
        (((2, 10, 20), (9, 11, 50)), Plane.CORONAL, 10, (2, 20, 9, 50)),
        (((2, 10, 20), (9, 30, 21)), Plane.SAGITTAL, 20, (2, 10, 9, 30)),
    ],
)
def test_a_flat_box_prompts_its_own_plane(corners, plane, index, box_2d):
    placed = place(Box(voxel=corners), GEOMETRY)
    found, hint = only(placed)
    assert (placed.plane, found, placed.limits) == (plane, index, None)
    assert hint.prompts.box == box_2d


def test_a_box_is_clipped_to_the_image_and_refused_outside():
    _, hint = only(place(Box(voxel=((3, -5, 60), (4, 20, 200))), GEOMETRY))
    assert hint.prompts.box == (0, 60, 20, 92)
    with pytest.raises(PromptError, match="outside the image"):
        place(Box(voxel=((3, 100, 60), (4, 120, 80))), GEOMETRY)


def test_a_world_box_holds_the_voxels_between_its_corners():
    straight = Geometry(SHAPE, SPACING, ORIGIN)
    low, high = straight.voxel_to_world((4, 10, 20)), straight.voxel_to_world((8, 29, 49))
    placed = place(Box(world=(tuple(low), tuple(high))), straight)
    _, hint = only(placed)
    assert placed.limits == (4, 9)
    assert hint.prompts.box == (10, 20, 30, 50)


def test_a_flat_scribble_finds_its_plane_and_a_deep_one_is_split_by_slice():
    line = np.array([[3, 40, x] for x in range(10, 20)])
    index, hint = only(place(Scribble(line, positive=False), GEOMETRY))
    assert index == 3
    assert hint.prompts.scribble[40, 10:20].tolist() == [-1] * 10
    assert np.count_nonzero(hint.prompts.scribble) == 10
    coronal = place(Scribble(np.array([[z, 40, 2 * z] for z in range(5)])), GEOMETRY)
    assert coronal.plane is Plane.CORONAL
    deep = place(Scribble(np.array([[z, 40 + z, 2 * z] for z in range(5)])), GEOMETRY)
    assert sorted(deep.hints) == [0, 1, 2, 3, 4]


def test_a_scribble_over_the_border_keeps_its_inside():
    stroke = np.array([[3, 40, x] for x in range(85, 100)])
    _, hint = only(place(Scribble(stroke), GEOMETRY))
    assert np.flatnonzero(hint.prompts.scribble[40]).tolist() == list(range(85, 92))
    with pytest.raises(PromptError, match="outside the image"):
        place(Scribble(stroke + np.array([0, 0, 50])), GEOMETRY)


def test_a_lasso_is_filled_and_gives_outline_box_and_core():
    polygon = np.array([[10, 20], [10, 50], [40, 50], [40, 20]])
    index, hint = only(place(Lasso("axial", 6, polygon), GEOMETRY))
    assert index == 6
    assert hint.outline[10:41, 20:51].all()
    assert hint.outline.sum() == 31 * 31
    assert hint.prompts.box == (10, 20, 41, 51)
    assert hint.prompts.scribble[25, 35] == 1
    assert hint.prompts.scribble[10, 20] == 0
    _, erased = only(place(Lasso("axial", 6, polygon, positive=False), GEOMETRY))
    assert np.array_equal(erased.erased, hint.outline)
    with pytest.raises(PromptError, match="0 to 23"):
        place(Lasso("axial", 24, polygon), GEOMETRY)


def test_newer_paint_lies_on_top_and_points_add_up():
    _, first = only(place(Scribble(np.array([[3, 5, 5], [3, 5, 6]])), GEOMETRY))
    _, second = only(place(Scribble(np.array([[3, 5, 6], [3, 5, 7]]), positive=False), GEOMETRY))
    _, point = only(place(Point(voxel=(3, 9, 9)), GEOMETRY))
    merged = merge_hints(merge_hints(first, second), point)
    assert merged.prompts.scribble[5, 5:8].tolist() == [1, -1, -1]
    assert merged.prompts.points.tolist() == [[9, 9]]


def test_an_outline_of_many_corners_is_filled_as_one_of_few(monkeypatch):
    """Counting crossings gives what OpenCV gives, and takes time in proportion to the corners."""
    chance = np.random.default_rng(4)
    turn = np.linspace(0, 2 * np.pi, 700, endpoint=False)
    star = np.stack(
        [33 + (20 + 9 * np.sin(9 * turn)) * np.sin(turn), 44 + (30 + 9 * np.sin(9 * turn)) * np.cos(turn)], 1
    )
    tangle, far = chance.uniform(-15, 85, (60, 2)), np.array([(-900.0, 40.0), (35.0, 4000.0), (60.0, -30.0)])
    for polygon, share in ((star, 0.0), (far, 0.0), (tangle, 0.02)):  # where lines cross they round differently
        few = only(place(Lasso(Plane.AXIAL, 5, polygon), GEOMETRY))[1].outline
        with monkeypatch.context() as patched:
            patched.setattr("promptseg.engine.hints.MANY_CORNERS", 2)
            many = only(place(Lasso(Plane.AXIAL, 5, polygon), GEOMETRY))[1].outline
        assert np.mean(few != many) <= share
        assert 0.1 < many.mean() < 0.9
