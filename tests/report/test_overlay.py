"""The overlay picture: which way up, which side left, true proportions, marks where they belong."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from promptseg.errors import GeometryMismatchError, WriteError
from promptseg.prompts import Box, Lasso, MaskPrompt, Point, Scribble
from promptseg.report.marks import NEGATIVE, POSITIVE, nice_length
from promptseg.report.overlay import _center, _present, _views, render_overlay, write_overlay_png
from promptseg.volume import Geometry, Label, Labelmap, Volume

MAGENTA = (255, 0, 255)
# Array axes z, y, x against the patient, as scanners give them: columns of the direction matrix are the LPS vectors of
# x, y, z (DICOM's rows, columns, normal).
AXIAL = np.eye(3)
AXIAL_FLIPPED = np.diag([-1.0, -1.0, 1.0])  # as RAS arrays
SAGITTAL = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]], float)  # x to the back, y to the feet, z to the left
CORONAL = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float)  # x to the left, y to the feet, z to the back


def tilt(matrix: np.ndarray) -> np.ndarray:
    """Turn by 7 and 11 degrees, so that no axis is exact."""
    a, b = np.radians((7, 11))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return about_z @ about_x @ matrix


def grid(direction: np.ndarray) -> Geometry:
    return Geometry((11, 23, 17), (2.0, 1.25, 4.0), (-30.0, 55.0, 710.0), tuple(direction.ravel()))


def dark(geometry: Geometry) -> Volume:
    return Volume.from_array(np.zeros(geometry.shape, np.uint8), geometry)


def labelled(geometry: Geometry, where: np.ndarray) -> Labelmap:
    return Labelmap(where.astype(np.uint8), geometry, {1: Label(1, "object", MAGENTA)})


def strong(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Return bool: pixels of this very colour."""
    return (picture.astype(int) == color).all(axis=2)


def panels(picture: np.ndarray, geometry: Geometry) -> list[np.ndarray]:
    """Cut the page into its views: they lie side by side, pure black where empty, on a page that is not."""
    views = _views(geometry, (0, 0, 0))
    height = max(v.size[0] for v in views)
    left, cuts = 24, []
    for view in views:
        top = 40 + (height - view.size[0]) // 2
        cuts.append(picture[top : top + view.size[0], left : left + view.size[1]])
        left += view.size[1] + 16
    return cuts


@pytest.mark.parametrize("direction", [AXIAL, AXIAL_FLIPPED, SAGITTAL, CORONAL], ids=["ax", "flip", "sag", "cor"])
@pytest.mark.parametrize("oblique", [False, True])
def test_radiological_display_whatever_the_arrays_order(direction, oblique):
    """A blob near the patient's right, front, head corner: axial top left, coronal top left, sagittal top left."""
    geometry = grid(tilt(direction) if oblique else direction)
    corners = geometry.corners()
    right, front, head = corners[:, 0].min(), corners[:, 1].min(), corners[:, 2].max()
    middle = corners.mean(axis=0)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij"), axis=-1)
    world = geometry.voxel_to_world(index)
    aim = middle + 0.5 * (np.array([right, front, head]) - middle)
    blob = np.linalg.norm(world - aim, axis=-1) < 9
    assert blob.sum() > 20
    picture = render_overlay(dark(geometry), labelled(geometry, blob))
    for panel in panels(picture, geometry):
        rows, columns = np.nonzero(strong(panel, MAGENTA))
        assert rows.mean() < 0.5 * panel.shape[0]
        assert columns.mean() < 0.5 * panel.shape[1]


def test_letters_follow_the_anatomy():
    views = _views(grid(AXIAL), (0, 0, 0))
    assert [v.letters for v in views] == [("R", "L", "A", "P"), ("R", "L", "S", "I"), ("A", "P", "S", "I")]
    assert [v.axis for v in _views(grid(SAGITTAL), (0, 0, 0))] == [1, 2, 0]  # axial, coronal, sagittal cuts


@pytest.mark.parametrize("direction", [AXIAL, SAGITTAL, CORONAL])
def test_millimetres_have_one_length_in_all_views(direction):
    geometry = grid(direction)
    scales = []
    for view in _views(geometry, (0, 0, 0)):
        for axis, size in ((view.rows, view.size[0]), (view.columns, view.size[1])):
            scales.append(size / (geometry.shape[axis] * geometry.spacing_zyx[axis]))
    assert max(scales) / min(scales) < 1.01


def test_a_sphere_in_millimetres_is_drawn_round():
    geometry = Geometry((15, 50, 40), (1.0, 0.8, 3.0), (5.0, 6.0, 7.0))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij"), axis=-1)
    middle = geometry.voxel_to_world((7, 25, 20))
    ball = np.linalg.norm(geometry.voxel_to_world(index) - middle, axis=-1) < 13
    for panel in panels(render_overlay(dark(geometry), labelled(geometry, ball)), geometry):
        rows, columns = np.nonzero(strong(panel, MAGENTA))
        assert np.ptp(rows) / np.ptp(columns) == pytest.approx(1, abs=0.15)


def test_cuts_go_through_the_slices_that_show_most():
    array = np.zeros((11, 23, 17), np.uint8)
    array[2:5, 10:14, 4:9] = 1
    array[3, 2:20, 3:15] = 1
    array[:, 12, 6] = 1
    labelmap = Labelmap(array, grid(AXIAL))
    areas = [np.count_nonzero(array, axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    assert _center(labelmap, _present(labelmap)) == tuple(int(a.argmax()) for a in areas)


def test_small_labels_count_as_much_as_large_ones():
    array = np.zeros((11, 23, 17), np.uint8)
    array[2:9, 1:20, 1:12] = 1
    array[6, 21:23, 14:16] = 2
    array[6:8, 21:23, 12:13] = 3
    labelmap = Labelmap(array, grid(AXIAL))
    assert _center(labelmap, _present(labelmap))[0] == 6


def test_the_given_center_and_an_empty_mask():
    geometry = grid(AXIAL)
    empty = labelled(geometry, np.zeros(geometry.shape, bool))
    assert _center(empty, []) == (5, 11, 8)
    array = np.zeros(geometry.shape, np.uint8)
    array[9] = 200
    volume = Volume.from_array(array, geometry)
    bright = panels(render_overlay(volume, empty, center=(9, 0, 0)), geometry)[0]
    other = panels(render_overlay(volume, empty, center=(2, 0, 0)), geometry)[0]
    assert np.median(bright) == 200
    assert np.median(other) == 0


def test_outline_and_faint_fill_in_the_labels_colour():
    geometry = grid(AXIAL)
    array = np.full(geometry.shape, 100, np.uint8)
    mask = np.zeros(geometry.shape, bool)
    mask[3:8, 6:17, 4:13] = True
    with_mask = panels(render_overlay(Volume.from_array(array, geometry), labelled(geometry, mask)), geometry)[0]
    view = _views(geometry, (5, 11, 8))[0]
    x, y = view.pixel((5, 11, 8))
    inside = with_mask[round(y), round(x)].astype(int)
    assert inside[0] > 100 > inside[1]
    assert abs(inside - 100).max() < 60
    x, y = view.pixel((5, 11, 12.5))  # the face between the last voxel inside and the first outside
    assert strong(with_mask, MAGENTA)[round(y), round(x) - 2 : round(x) + 3].any()
    assert strong(with_mask, MAGENTA).mean() < 0.1


def test_points_are_drawn_at_their_voxel_in_every_view():
    geometry = grid(tilt(AXIAL_FLIPPED))
    empty = labelled(geometry, np.zeros(geometry.shape, bool))
    voxel = (4.0, 18.0, 3.0)
    point = Point(world=tuple(geometry.voxel_to_world(voxel)), positive=False)
    picture = render_overlay(dark(geometry), empty, prompts=[point], center=voxel)
    for panel, view in zip(panels(picture, geometry), _views(geometry, voxel), strict=True):
        rows, columns = np.nonzero(strong(panel, NEGATIVE))
        assert (columns.mean(), rows.mean()) == pytest.approx(view.pixel(voxel), abs=1.5)
        assert not strong(panel, POSITIVE).any()


def test_a_point_on_another_slice_is_smaller():
    geometry = grid(AXIAL)
    empty = labelled(geometry, np.zeros(geometry.shape, bool))
    here, elsewhere = (
        strong(
            panels(
                render_overlay(dark(geometry), empty, prompts=[Point(voxel=(k, 11, 8))], center=(4, 0, 0)), geometry
            )[0],
            POSITIVE,
        ).sum()
        for k in (4, 7)
    )
    assert 0 <= elsewhere < here / 3


def test_a_box_outlines_its_half_open_voxels():
    geometry = Geometry((1, 40, 60), (1.0, 1.0, 1.0))
    empty = labelled(geometry, np.zeros(geometry.shape, bool))
    box = Box(voxel=((0, 10, 20), (1, 30, 50)))
    plain_picture = render_overlay(dark(geometry), empty)
    changed = (render_overlay(dark(geometry), empty, prompts=[box]) != plain_picture).any(axis=2)
    rows, columns = np.nonzero(changed)
    scale = _views(geometry, (0, 0, 0))[0].size[0] / 40
    assert np.ptp(rows) == pytest.approx(20 * scale, abs=4)
    assert np.ptp(columns) == pytest.approx(30 * scale, abs=4)


@pytest.mark.parametrize(
    ("prompt", "shows"),
    [
        (Scribble([(4, 5, 5), (4, 6, 6)]), True),
        (Scribble([(7, 5, 5)]), False),
        (Lasso("axial", 4, [(3, 3), (3, 12), (15, 8)]), True),
        (Lasso("axial", 6, [(3, 3), (3, 12), (15, 8)]), False),
        (Box(world=((-20.0, 60.0, 715.0), (-10.0, 70.0, 735.0))), True),
        (MaskPrompt(np.ones((11, 23, 17), bool)), False),
    ],
)
def test_scribbles_and_lassos_show_on_their_own_slice(prompt, shows):
    geometry = grid(AXIAL)
    empty = labelled(geometry, np.zeros(geometry.shape, bool))
    bare, drawn = (
        panels(render_overlay(dark(geometry), empty, prompts=p, center=(4, 0, 0)), geometry)[0] for p in ([], [prompt])
    )
    assert (bare != drawn).any() == shows


def test_a_photograph_is_one_view_as_it_is():
    rgb = np.zeros((30, 50, 3), np.uint8)
    rgb[:15, :25] = (200, 40, 10)
    volume = Volume.from_array(rgb)
    picture = render_overlay(volume, labelled(volume.geometry, np.zeros((1, 30, 50), bool)))
    (view,) = _views(volume.geometry, (0, 0, 0))
    assert view.letters == ("", "", "", "")
    panel = picture[24 : 24 + view.size[0], 24 : 24 + view.size[1]]
    assert tuple(panel[40, 40]) == (200, 40, 10)
    assert tuple(panel[-40, -40]) == (0, 0, 0)
    assert view.size[0] / view.size[1] == pytest.approx(30 / 50, rel=0.01)


def test_the_volumes_window_is_applied():
    geometry = grid(AXIAL)
    volume = Volume.from_array(np.full(geometry.shape, 40, np.int16), geometry, modality="CT")
    panel = panels(render_overlay(volume, labelled(geometry, np.zeros(geometry.shape, bool))), geometry)[0]
    assert np.median(panel) == pytest.approx(127.5, abs=1)  # the level of the window is mid-grey


def test_another_grid_is_refused():
    geometry = grid(AXIAL)
    moved = replace(geometry, origin=(0.0, 0.0, 0.0))
    with pytest.raises(GeometryMismatchError, match="labelmap and image"):
        render_overlay(dark(geometry), labelled(moved, np.zeros(moved.shape, bool)))


def test_png_is_written_whole_or_not_at_all(tmp_path):
    geometry = grid(AXIAL)
    mask = labelled(geometry, np.ones(geometry.shape, bool))
    path = write_overlay_png(dark(geometry), mask, tmp_path / "see.png")
    picture = cv2.imread(str(path))[..., ::-1]
    np.testing.assert_array_equal(picture, render_overlay(dark(geometry), mask))
    assert [p.name for p in tmp_path.iterdir()] == ["see.png"]
    with pytest.raises(WriteError, match="does not exist"):
        write_overlay_png(dark(geometry), mask, tmp_path / "no" / "see.png")
    with pytest.raises(WriteError, match=r"\.png"):
        write_overlay_png(dark(geometry), mask, tmp_path / "see.jpg")


@pytest.mark.parametrize(("longest", "nice"), [(1.0, 1), (1.9, 1), (4.99, 2), (5, 5), (99, 50), (0.03, 0.02)])
def test_scale_bars_have_round_lengths(longest, nice):
    assert nice_length(longest) == pytest.approx(nice)
