"""What was said, in voxels and in a view's cells."""

import numpy as np

import promptseg
from promptseg.engine.hints import place
from promptseg.engine.volume.grid import ViewGrid
from promptseg.engine.volume.told import Click, Told, TrueSlice
from promptseg.prompts import Plane
from promptseg.volume import Geometry

GEOMETRY = Geometry((20, 60, 80), (0.7, 0.9, 4.0))
GRID = ViewGrid.between((4, 10, 20), (12, 42, 52), (16, 16, 32))  # half a voxel, two, one a cell


def told(*prompts):
    return Told().plus([place(prompt, GEOMETRY) for prompt in prompts])


def test_clicks_of_any_plane_and_the_newest_box_are_kept():
    found = told(
        promptseg.Point(voxel=(5, 20, 30)),
        promptseg.Point(voxel=(6, 21, 31), positive=False, plane="coronal"),
        promptseg.Box(voxel=((3, 10, 20), (9, 40, 50))),
        promptseg.Box(voxel=((7, 12, 22), (8, 30, 44))),
    )
    assert found.clicks == (Click((5, 20, 30), True), Click((6, 21, 31), False))
    assert (found.box.plane, found.box.index, found.box.box) == (Plane.AXIAL, 7, (12, 22, 30, 44))
    assert found.span is None
    assert found.says_where
    assert not told(promptseg.Point(voxel=(5, 20, 30), positive=False)).says_where


def test_a_positive_click_beyond_the_range_widens_it_and_a_negative_one_does_not():
    box = promptseg.Box(voxel=((5, 10, 20), (9, 40, 50)))
    assert told(box, promptseg.Point(voxel=(12, 20, 30))).span == (0, 5, 13)
    assert told(box, promptseg.Point(voxel=(2, 20, 30), positive=False)).span == (0, 5, 9)


def test_in_a_views_cells_positions_are_centres_and_limits_are_edges():
    prompts = told(promptseg.Box(voxel=((5, 12, 22), (9, 40, 50))), promptseg.Point(voxel=(4, 11, 20))).on(GRID, ())
    assert np.allclose(prompts.points, [(0.5, 0.25, 0.0)])
    assert (prompts.box.axis, prompts.box.index, prompts.box.box) == (0, 4, (1.0, 2.0, 15.0, 30.0))
    assert (prompts.span.axis, prompts.span.start, prompts.span.stop) == (0, 0.0, 10.0)


def test_true_slices_are_seen_where_they_cross_the_view():
    mask = np.zeros((20, 80), np.bool_)
    mask[6:9, 30:40] = True
    coronal = Told().on(GRID, (TrueSlice(Plane.CORONAL, 13, mask), TrueSlice(Plane.CORONAL, 50, mask)))
    (known,) = coronal.known
    assert (known.axis, known.index) == (1, 1)
    expected = np.zeros((16, 32), np.bool_)
    expected[4:10, 10:20] = True
    assert np.array_equal(known.mask, expected)


def test_two_labels_that_become_one_keep_their_clicks_and_its_box():
    mine, other = told(promptseg.Box(voxel=((5, 10, 20), (9, 40, 50)))), told(promptseg.Point(voxel=(5, 20, 30)))
    joined = mine.joined(other)
    assert joined.clicks == other.clicks
    assert joined.box == mine.box
    assert joined.span is None
    assert [placed.plane for placed in joined.clicked()] == [Plane.AXIAL]
