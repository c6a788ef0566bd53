"""The walk with a perfect model: what is lost here is the engine's."""

import numpy as np
import pytest
from phantoms import PHANTOMS, SHAPE, X, Y, Z, volume_of

import promptseg
from promptseg.models.families.oracle import OraclePredictor
from promptseg.score.metrics import dice
from promptseg.session.session import Session


def opened(truth, other=None, **options):
    return Session(volume_of(truth, other), OraclePredictor(), promptseg.EngineOptions(**options))


@pytest.mark.parametrize("name", PHANTOMS)
def test_one_click_finds_the_whole_object(name):
    truth, k, (y, x) = PHANTOMS[name]
    session = opened(truth)
    session.add(promptseg.Point(voxel=(k, y, x)))
    assert dice(session.mask(), truth) >= 0.99


@pytest.mark.parametrize("name", PHANTOMS)
def test_a_box_on_one_slice_finds_the_whole_object(name):
    truth, k, _ = PHANTOMS[name]
    rows, columns = np.flatnonzero(truth[k].any(1)), np.flatnonzero(truth[k].any(0))
    session = opened(truth)
    session.add(promptseg.Box(voxel=((k, rows[0], columns[0]), (k + 1, rows[-1] + 1, columns[-1] + 1))))
    assert dice(session.mask(), truth) >= 0.99


def test_two_clicked_arms_merge_into_one_trunk():
    arms, _, _ = PHANTOMS["merges"]
    session = opened(arms)
    session.add(promptseg.Point(voxel=(4, 35, 27)), promptseg.Point(voxel=(4, 35, 63)))
    assert dice(session.mask(), arms) >= 0.99


def test_a_missing_slice_is_bridged_and_a_longer_gap_ends_the_object():
    truth = (Y - 35) ** 2 + (X - 45) ** 2 < 100
    one_missing = truth & (Z != 14)
    session = opened(one_missing)
    session.add(promptseg.Point(voxel=(8, 35, 45)))
    assert np.array_equal(session.mask(), one_missing)
    gap = truth & ~((Z >= 14) & (Z < 18))
    session = opened(gap)
    session.add(promptseg.Point(voxel=(8, 35, 45)))
    assert np.array_equal(session.mask(), gap & (Z < 14))


def test_the_first_box_never_comes_back_after_the_object_ended():
    truth = (Y - 35) ** 2 + (X - 45) ** 2 < 100
    impostor = truth & (Z >= 16)  # the same place, another tissue, after a gap
    session = opened(truth & (Z < 12), impostor)
    session.add(promptseg.Box(voxel=((6, 25, 35), (7, 46, 56))))
    assert not (session.mask() & impostor).any()


def test_range_in_mm_and_box_range_limit_the_walk():
    truth = np.ones(SHAPE, bool) & ((Y - 35) ** 2 + (X - 45) ** 2 < 100)
    session = opened(truth, range_mm=12.0)  # three slices of 4 mm
    session.add(promptseg.Point(voxel=(10, 35, 45)))
    assert np.flatnonzero(session.mask().any((1, 2))).tolist() == list(range(7, 14))
    session = opened(truth)
    session.add(promptseg.Box(voxel=((4, 25, 35), (9, 46, 56))))
    assert np.flatnonzero(session.mask().any((1, 2))).tolist() == [4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("plane", "box"),
    [
        (promptseg.Plane.CORONAL, ((2, 35, 20), (22, 36, 71))),
        (promptseg.Plane.SAGITTAL, ((2, 10, 45), (22, 61, 46))),
    ],
)
def test_boxes_in_other_planes_walk_in_their_plane(plane, box):
    truth = ((Z - 12) / 8) ** 2 + ((Y - 35) / 20) ** 2 + ((X - 45) / 25) ** 2 < 1
    session = opened(truth)
    session.add(promptseg.Box(voxel=box))
    assert dice(session.mask(), truth) >= 0.99
    assert {p["type"] for p in session.log[0]["prompts"]} == {"box"}
    point = promptseg.Point(voxel=(12, 35, 45), plane=plane)
    session = opened(truth)
    session.add(point)
    assert dice(session.mask(), truth) >= 0.99


def test_a_correction_rules_up_to_the_middle_between_anchors():
    trunk = (Y - 35) ** 2 + (X - 30) ** 2 < 100
    second = ((Y - 35) ** 2 + (X - 60) ** 2 < 64) & (Z >= 4) & (Z < 20)
    session = opened(trunk | second)
    session.add(promptseg.Point(voxel=(12, 35, 30)))
    session.accept(16)
    before = session.mask()
    session.add(promptseg.Point(voxel=(8, 35, 60)))  # the second piece, clicked on slice 8
    after = session.mask()
    changed = np.flatnonzero((before ^ after).any((1, 2)))
    assert changed.tolist() == list(range(4, 11))  # slice 11 lies nearer to the anchor on 12, which has no second piece
    assert np.array_equal(after[4:11], (trunk | second)[4:11])


def test_a_negative_click_removes_a_piece_on_all_its_slices_and_nothing_else():
    trunk = (Y - 35) ** 2 + (X - 30) ** 2 < 100
    leak = ((Y - 35) ** 2 + (X - 60) ** 2 < 64) & (Z >= 4) & (Z < 20)
    session = opened(trunk | leak)
    session.add(promptseg.MaskPrompt(trunk | leak))
    session.add(promptseg.Point(voxel=(10, 35, 60), positive=False))
    assert np.array_equal(session.mask(), trunk)


def test_an_unpropagated_prompt_changes_its_slice_only():
    truth, k, (y, x) = PHANTOMS["ends"]
    session = opened(truth)
    changed = session.add(promptseg.Point(voxel=(k, y, x)), propagate=False)
    rows, columns = np.flatnonzero(truth[k].any(1)), np.flatnonzero(truth[k].any(0))
    assert changed == ((k, rows[0], columns[0]), (k + 1, rows[-1] + 1, columns[-1] + 1))
    assert np.array_equal(session.mask()[k], truth[k])


def test_every_slice_is_embedded_once():
    truth, k, (y, x) = PHANTOMS["ends"]
    oracle = OraclePredictor()
    session = Session(volume_of(truth), oracle)
    session.add(promptseg.Point(voxel=(k, y, x)))
    seen = oracle.embedded
    assert seen <= SHAPE[0]
    session.add(promptseg.Point(voxel=(k, y + 1, x)))
    assert oracle.embedded == seen


def test_the_reason_for_stopping_is_kept():
    truth, k, (y, x) = PHANTOMS["ends"]
    session = opened(truth)
    session.add(promptseg.Point(voxel=(k, y, x)))
    reasons = [r.reason for r in session.review() if r.reason]
    assert len(reasons) == 2
    assert all("the object ended" in reason for reason in reasons)


def test_cancel_leaves_the_session_as_it_was():
    truth, k, (y, x) = PHANTOMS["ends"]
    session = opened(truth)
    calls = []

    def cancel(progress):
        if progress.index is None:  # a slow machine: the same count again
            return
        calls.append(progress)
        if progress.done == 3:
            raise promptseg.Cancelled("stop")

    with pytest.raises(promptseg.Cancelled):
        session.add(promptseg.Point(voxel=(k, y, x)), on_progress=cancel)
    assert not session.mask().any()
    assert not session.can_undo
    assert [p.done for p in calls] == [1, 2, 3]
    assert calls[0].total == SHAPE[0] - 1
