"""Scores per label: pairing, grids, and agreement with hand-made cases and the reference implementation."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from promptseg.errors import GeometryMismatchError, PromptError, SettingsError
from promptseg.export.segments import Segment, SegmentSet
from promptseg.score.evaluate import evaluate, resample_mask
from promptseg.volume import Geometry, Label, Labelmap

GRID = Geometry((12, 20, 26), (0.8, 1.2, 2.5), (-20.0, 30.0, -400.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
LIVER, SPLEEN = Label(1, "liver", (1, 2, 3)), Label(2, "spleen", (4, 5, 6))


def bricks(shift: int = 0, geometry: Geometry = GRID) -> Labelmap:
    """Two bricks of 4 x 8 x 10 and 2 x 4 x 5 voxels; the first one moved along x."""
    array = np.zeros(geometry.shape, np.uint8)
    array[2:6, 4:12, 5 + shift : 15 + shift] = 1
    array[8:10, 14:18, 18:23] = 2
    return Labelmap(array, geometry, {1: LIVER, 2: SPLEEN})


def test_a_known_shift() -> None:
    liver, spleen = evaluate(bricks(2), bricks(), tolerance_mm=1.0)
    assert (liver.label, spleen.label) == ("liver", "spleen")
    assert liver.dice == pytest.approx(0.8)  # 8 of 10 columns
    assert liver.iou == pytest.approx(8 / 12)
    assert liver.hd95_mm == pytest.approx(2 * 0.8)  # one face of each brick is 2 columns away
    assert 0 < liver.assd_mm < 1.6
    assert 0 < liver.nsd < 1
    assert liver.volume_error == 0
    assert liver.truth_ml == pytest.approx(320 * 0.8 * 1.2 * 2.5 / 1000)
    assert (spleen.dice, spleen.nsd, spleen.hd95_mm, spleen.assd_mm) == (1, 1, 0, 0)
    assert evaluate(bricks(2), bricks(), tolerance_mm=1.7)[0].nsd == 1


def test_it_matches_the_reference_implementation() -> None:
    reference = pytest.importorskip("surface_distance")
    rng = np.random.default_rng(4)
    truth, guess = (np.zeros(GRID.shape, np.uint8) for _ in range(2))
    for array in (truth, guess):
        for _ in range(4):
            z, y, x = (int(rng.integers(1, n // 2)) for n in GRID.shape)
            array[z : z + 4, y : y + 7, x : x + 9] = 1
    (score,) = evaluate(Labelmap(guess, GRID, {1: LIVER}), Labelmap(truth, GRID, {1: LIVER}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses names that SciPy has deprecated
        found = reference.compute_surface_distances(truth > 0, guess > 0, GRID.spacing_zyx)
    assert score.hd95_mm == pytest.approx(reference.compute_robust_hausdorff(found, 95), rel=1e-5)
    assert score.nsd == pytest.approx(reference.compute_surface_dice_at_tolerance(found, 1.0), rel=1e-5)


def test_labels_one_side_lacks_score_zero() -> None:
    only = Labelmap(np.where(bricks().array == 1, np.uint8(1), np.uint8(0)), GRID, {1: LIVER})
    scores = {score.label: score for score in evaluate(only, bricks())}
    assert scores["liver"].dice == 1
    assert scores["spleen"].dice == 0
    assert math.isinf(scores["spleen"].hd95_mm)
    assert scores["spleen"].volume_error == -1
    scores = {score.label: score for score in evaluate(bricks(), only)}
    assert math.isinf(scores["spleen"].volume_error)


def test_pairing_by_name_by_value_and_alone() -> None:
    other_values = bricks()
    array = np.where(other_values.array == 1, np.uint8(5), np.where(other_values.array == 2, np.uint8(1), np.uint8(0)))
    renamed = Labelmap(array, GRID, {5: Label(5, "liver", (0, 0, 0)), 1: Label(1, "spleen", (0, 0, 0))})
    assert [score.dice for score in evaluate(renamed, bricks())] == [1, 1]
    nameless = Labelmap(bricks().array, GRID, {1: Label.default(1), 2: Label.default(2)})
    assert [(score.label, score.dice) for score in evaluate(nameless, bricks())] == [("liver", 1), ("spleen", 1)]
    alone = Labelmap(np.where(bricks().array == 1, np.uint8(9), np.uint8(0)), GRID, {9: Label.default(9)})
    truth = Labelmap((bricks().array == 1).astype(np.uint8), GRID, {1: LIVER})
    assert [(score.label, score.dice) for score in evaluate(alone, truth)] == [("liver", 1)]
    (score,) = evaluate(alone, bricks(), labels=["9=liver"])
    assert (score.label, score.dice) == ("liver", 1)
    (score,) = evaluate(bricks(), bricks(), labels=["2"])
    assert score.label == "spleen"
    with pytest.raises(PromptError, match="lever"):
        evaluate(bricks(), bricks(), labels=["lever"])
    with pytest.raises(PromptError, match="nothing to evaluate"):
        evaluate(Labelmap(bricks().array, GRID), Labelmap(bricks().array, GRID))


def test_overlapping_objects_can_be_judged() -> None:
    whole = np.ones((4, 8, 10), np.bool_)
    both = SegmentSet(GRID, (Segment(LIVER, (2, 4, 5), whole), Segment(SPLEEN, (2, 4, 7), whole)))
    scores = {score.label: score for score in evaluate(both, bricks(), labels=["liver", "spleen=liver"])}
    assert scores["liver"].dice == pytest.approx(0.8)  # the last pair: the object two columns further
    assert evaluate(both, bricks(), labels=["liver"])[0].dice == 1


def test_another_grid_is_refused_or_resampled() -> None:
    fine = Geometry((24, 40, 52), (0.4, 0.6, 1.25), tuple(GRID.voxel_to_world((-0.25, -0.25, -0.25))), GRID.direction)
    array = bricks().array.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    guess = Labelmap(array, fine, {1: LIVER, 2: SPLEEN})
    with pytest.raises(GeometryMismatchError, match="--resample"):
        evaluate(guess, bricks())
    assert [score.dice for score in evaluate(guess, bricks(), resample=True)] == [1, 1]
    moved = Geometry(GRID.shape, GRID.spacing, tuple(GRID.voxel_to_world((0, 0, 2))), GRID.direction)
    assert evaluate(bricks(0, moved), bricks(), resample=True)[0].dice == pytest.approx(0.8)
    assert np.array_equal(resample_mask(bricks().array == 1, GRID, moved), bricks(-2).array == 1)


def test_a_negative_tolerance_is_refused() -> None:
    for tolerance in (-1.0, math.nan):
        with pytest.raises(SettingsError, match="tolerance"):
            evaluate(bricks(), bricks(), tolerance_mm=tolerance)
