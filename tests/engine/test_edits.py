"""Edits by hand, against shapes whose answer is known in mm."""

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import SHAPE, SPACING, X, Y, Z, volume_of
from scipy.ndimage import distance_transform_edt

from promptseg.engine.edits import (
    FillHoles,
    Grow,
    Interpolate,
    Island,
    KeepSlices,
    Paint,
    RemoveIslands,
    Smooth,
    Threshold,
    edit_from_dict,
    edit_to_dict,
)
from promptseg.errors import PromptError
from promptseg.models.families.oracle import OraclePredictor
from promptseg.prompts import MaskPrompt, Plane
from promptseg.session.session import Session

SZ, SY, SX = SPACING[::-1]
EMPTY = np.zeros(SHAPE, bool)
VOLUME = volume_of(EMPTY)


def distance_mm(z, y, x):
    return np.sqrt(((Z - z) * SZ) ** 2 + ((Y - y) * SY) ** 2 + ((X - x) * SX) ** 2)


def test_a_ball_brush_is_round_in_mm_not_in_voxels():
    painted = Paint([(12, 35, 45)], radius_mm=9).apply(EMPTY, VOLUME)
    assert np.array_equal(painted, distance_mm(12, 35, 45) <= 9)


def test_a_flat_brush_stays_in_its_plane_and_erases():
    full = ~EMPTY
    erased = Paint([(12, 35, 45)], radius_mm=9, erase=True, plane="coronal").apply(full, VOLUME)
    assert np.array_equal(~erased, (distance_mm(12, 35, 45) <= 9) & (Y == 35))


def test_a_brush_larger_than_the_image_paints_it_all_without_asking_for_more_memory():
    assert Paint([(12, 35, 45)], radius_mm=1e9).apply(EMPTY, VOLUME).all()
    assert Paint([(-900, 0, 0)], radius_mm=1e9).apply(EMPTY, VOLUME).all()
    with pytest.raises(PromptError, match="shorter stroke"):
        Paint([(0, 0, x) for x in range(100_000)], radius_mm=1e9).apply(EMPTY, VOLUME)
    with pytest.raises(PromptError, match="outside the image"):
        Paint([(1e300, 0, 0)], radius_mm=1).apply(EMPTY, VOLUME)


def test_a_brush_of_no_radius_paints_the_visited_voxels_and_is_cut_at_the_border():
    painted = Paint([(0, 0, 0), (0, 0, 1.4), (-3, 0, 0)], radius_mm=0).apply(EMPTY, VOLUME)
    assert np.argwhere(painted).tolist() == [[0, 0, 0], [0, 0, 1]]
    with pytest.raises(PromptError, match="outside the image"):
        Paint([(-30, 0, 0)], radius_mm=2).apply(EMPTY, VOLUME)


def test_a_brush_keeps_to_a_range_of_intensities():
    bright = volume_of(X > 45)
    painted = Paint([(12, 35, 45)], radius_mm=9, low=float(bright.array[0, 0, 60]) - 1).apply(EMPTY, bright)
    assert np.array_equal(painted, (distance_mm(12, 35, 45) <= 9) & (bright.array >= bright.array[0, 0, 60] - 1))
    assert 0 < painted.sum() < (distance_mm(12, 35, 45) <= 9).sum()


def test_the_part_that_was_clicked_goes_or_stays_alone():
    left, right = distance_mm(12, 35, 25) < 12, distance_mm(12, 35, 60) < 9
    assert np.array_equal(Island((12, 35, 60.4)).apply(left | right, VOLUME), left)
    assert np.array_equal(Island((12, 35, 60), keep=True).apply(left | right, VOLUME), right)
    assert np.array_equal(Island((0, 0, 0)).apply(left | right, VOLUME), left | right)
    assert np.array_equal(Island((-5, 35, 60)).apply(left | right, VOLUME), left | right)


def test_other_slices_are_cleared():
    ball = distance_mm(12, 35, 45) < 20
    assert np.array_equal(KeepSlices(12, 12).apply(ball, VOLUME), ball & (Z == 12))
    assert np.array_equal(KeepSlices(30, 37, "coronal").apply(ball, VOLUME), ball & (Y >= 30) & (Y <= 37))
    with pytest.raises(PromptError, match="first <= last"):
        KeepSlices(4, 3)


def test_holes_in_3d_and_in_a_plane():
    shell = (distance_mm(12, 35, 45) < 24) & (distance_mm(12, 35, 45) > 14)
    assert np.array_equal(FillHoles().apply(shell, VOLUME), distance_mm(12, 35, 45) < 24)
    tube = ((Y - 35) ** 2 + (X - 45) ** 2 < 200) & ((Y - 35) ** 2 + (X - 45) ** 2 > 80)  # open at both ends
    assert np.array_equal(FillHoles().apply(tube, VOLUME), tube)
    assert np.array_equal(FillHoles("axial").apply(tube, VOLUME), (Y - 35) ** 2 + (X - 45) ** 2 < 200)


def test_islands_are_measured_in_mm3():
    large, small = distance_mm(12, 35, 30) < 12, distance_mm(12, 35, 70) < 6
    limit = small.sum() * SX * SY * SZ
    both = large | small
    assert np.array_equal(RemoveIslands(limit + 1).apply(both, VOLUME), large)
    assert np.array_equal(RemoveIslands(limit - 1).apply(both, VOLUME), both)
    assert np.array_equal(RemoveIslands().apply(both, VOLUME), large)
    assert not RemoveIslands().apply(EMPTY, VOLUME).any()


def test_growing_and_shrinking_move_the_border_by_mm():
    point = EMPTY.copy()
    point[12, 35, 45] = True
    assert np.array_equal(Grow(8.5).apply(point, VOLUME), distance_mm(12, 35, 45) <= 8.5)
    slab = (Y >= 20) & (Y < 50)
    assert np.array_equal(Grow(-4.0).apply(slab, VOLUME), (Y >= 25) & (Y < 45))  # 4 mm = 5 voxels of 0.8 mm
    assert np.array_equal(Grow(-4.0).apply(~EMPTY, VOLUME), ~EMPTY)


def test_smoothing_keeps_a_flat_border_and_removes_a_speck():
    half = X >= 40
    assert np.array_equal(Smooth(2.0).apply(half, VOLUME), half)
    speck = half.copy()
    speck[12, 35, 10] = True
    assert np.array_equal(Smooth(2.0).apply(speck, VOLUME), half)


def test_only_what_lies_around_the_mask_is_smoothed_and_it_is_the_same():
    ball = (distance_mm(9, 20, 30) <= 12) | (distance_mm(2, 3, 4) <= 5)  # one touches three of the image's faces
    for sigma in (0.7, 2.5, 300.0):
        image = sitk.GetImageFromArray(ball.astype(np.float32))
        image.SetSpacing(SPACING)
        whole = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(image, sigma)) >= 0.5
        assert np.array_equal(Smooth(sigma).apply(ball, VOLUME), whole)
    part = Smooth(0.7).works_on(distance_mm(9, 20, 30) <= 3, VOLUME)
    assert np.prod([one.stop - one.start for one in part]) < EMPTY.size / 4


def test_a_threshold_reads_the_image():
    bright = (Y - 35) ** 2 + (X - 45) ** 2 < 100
    assert np.array_equal(Threshold(low=150).apply(~EMPTY, volume_of(bright)), bright)


def test_interpolation_between_two_discs_is_the_disc_between():
    mask = ((Y - 35) ** 2 + (X - 45) ** 2 < 20**2) & (Z == 4)
    mask |= ((Y - 35) ** 2 + (X - 45) ** 2 < 10**2) & (Z == 12)
    filled = Interpolate().apply(mask, VOLUME)
    assert not filled[:4].any()
    assert not filled[13:].any()
    for index, radius in ((6, 17.5), (8, 15.0), (10, 12.5)):
        found = np.sqrt(filled[index].sum() / np.pi)
        assert found == pytest.approx(radius, abs=0.7)  # below one pixel
    assert np.array_equal(filled[[4, 12]], mask[[4, 12]])
    turned = Interpolate("sagittal").apply(np.moveaxis(np.resize(mask, (24, 24, 70)), 0, 2)[:24], VOLUME)
    assert turned.any()


def test_interpolation_looks_at_the_masks_box_alone_and_gives_the_same():
    mask = (distance_mm(4, 12, 14) <= 9) & (Z == 4) | (distance_mm(9, 30, 25) <= 15) & (Z == 9) | (X == 0) & (Z == 11)
    filled = Interpolate().apply(mask, VOLUME)
    between = 0.6 * distances(mask[4]) + 0.4 * distances(mask[9])
    clear = abs(between) > 1e-4  # single and double precision may part on the border itself
    assert np.array_equal(filled[6][clear], between[clear] > 0)
    assert filled[6].any()


def distances(mask):
    """Signed distance by SciPy, which our code does not use for it."""
    inside, outside = (distance_transform_edt(part, sampling=(SY, SX)) for part in (mask, ~mask))
    return inside - outside


@pytest.mark.parametrize(
    "edit",
    [
        Paint([(1, 2, 3), (1, 2, 4.5)], 2.0, True, Plane.AXIAL),
        FillHoles(),
        RemoveIslands(12.5),
        Grow(-1.5),
        Smooth(1.0),
        Threshold(low=-100),
        Interpolate("coronal"),
    ],
    ids=lambda e: e.kind,
)
def test_edits_survive_json(edit):
    import json

    assert edit_from_dict(json.loads(json.dumps(edit_to_dict(edit)))) == edit


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "grew", "by_mm": 1}, "did you mean 'grow'"),
        ({"kind": "grow"}, "missing field"),
        ({"kind": "grow", "by_mm": 0}, "by_mm != 0"),
        ({"kind": "grow", "by": 1}, "by_mm"),
        ({"kind": "paint", "centres": [], "radius_mm": 1}, "stroke"),
        ({"kind": "smooth", "sigma_mm": -1}, "sigma_mm > 0"),
        ({"kind": "threshold", "low": 5, "high": 1}, "low <= high"),
    ],
)
def test_a_bad_edit_says_what_was_expected(data, message):
    with pytest.raises(PromptError, match=message):
        edit_from_dict(data)


def test_an_edit_in_a_session_spares_locked_labels_and_can_be_undone():
    session = Session(VOLUME, OraclePredictor())
    neighbour, mine = (X < 30) & (Z == 5), (X >= 30) & (X < 40) & (Z == 5)
    session.add(MaskPrompt(neighbour))
    session.lock(1)
    session.new_label("mine")
    session.add(MaskPrompt(mine))
    changed = session.edit(Grow(1.7))  # two voxels in the plane, none across 4 mm slices
    assert changed == ((5, 0, 40), (6, SHAPE[1], 42))
    assert np.array_equal(session.mask(1), neighbour)
    assert np.array_equal(session.mask("mine"), (X >= 30) & (X < 42) & (Z == 5))
    session.undo()
    assert np.array_equal(session.mask("mine"), mine)
    session.select(1)
    with pytest.raises(PromptError, match="locked"):
        session.edit(Grow(1.7))


def test_json_leaves_out_what_is_not_set_and_what_is_infinite():
    assert edit_to_dict(Paint([(1, 2, 3)], 2.0)).keys() == {"kind", "centres", "radius_mm", "erase"}
    assert edit_to_dict(Threshold(low=-50.0)) == {"kind": "threshold", "low": -50.0}
