"""Sessions answered in the volume, with networks that know the truth: what is lost is the engine's."""

from dataclasses import replace

import numpy as np
import pytest
from phantoms import PHANTOMS, SHAPE, X, Y, Z, volume_of

import promptseg
from promptseg.engine.options import EngineOptions
from promptseg.errors import Cancelled, PromptError, SettingsError
from promptseg.example import example_truth, example_volume
from promptseg.models.families.oracle import OraclePredictor
from promptseg.models.families.oracle_volume import OracleVolumePredictor
from promptseg.session.frozen import freeze, thaw
from promptseg.session.session import Session

BALL = ((Z - 11) * 4.0) ** 2 + ((Y - 35) * 0.8) ** 2 + ((X - 30) * 0.8) ** 2 < 16.0**2  # mm: 4 x 0.8 x 0.8
OTHER = (Y - 35) ** 2 + (X - 70) ** 2 + ((Z - 11) * 5.0) ** 2 < 120
WHOLE = 0.93  # Dice: the oracle takes no cell that is partly object


class Both(OraclePredictor):
    """An oracle for slices and one for volumes."""

    def __init__(self, predictor=None):
        super().__init__()
        self.volume_predictor = predictor or OracleVolumePredictor()


def opened(truth=BALL, other=OTHER, mode="auto", **options):
    return Session(volume_of(truth, other), Both(), EngineOptions(mode=mode, **options))


def box_around(mask, range_given=True):
    z, y, x = (np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3))
    middle = (int(z[0]) + int(z[-1])) // 2
    y, x = np.flatnonzero(mask[middle].any(axis=1)), np.flatnonzero(mask[middle].any(axis=0))
    low, high = (float(z[0]), float(z[-1]) + 1) if range_given else (float(middle), float(middle) + 1)
    return promptseg.Box(voxel=((low, float(y[0]), float(x[0])), (high, float(y[-1]) + 1, float(x[-1]) + 1)))


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize("range_given", [True, False])
def test_a_box_is_answered_whole_and_in_few_passes(range_given):
    session = opened()
    session.add(box_around(BALL, range_given))
    assert dice(session.mask(), BALL) > WHOLE
    assert session._predictor.inner.volume_predictor.predicted <= 5


class NeedsAnAnswer(OracleVolumePredictor):
    """Takes clicks as corrections only: with none to correct, it finds nothing."""

    def predict(self, views):
        found = super().predict(views)
        lost = [view.previous is None and len(view.prompts.points) > 0 for view in views]
        return tuple(replace(a, logits=-np.abs(a.logits)) if no else a for a, no in zip(found, lost, strict=True))


@pytest.mark.parametrize("range_given", [True, False])
def test_a_click_beside_a_box_is_a_correction_of_what_the_box_gave(range_given):
    session = Session(volume_of(BALL, OTHER), Both(NeedsAnAnswer()))
    session.add(box_around(BALL, range_given), promptseg.Point(voxel=(11, 10, 10), positive=False))
    assert dice(session.mask(), BALL) > WHOLE


@pytest.mark.parametrize("name", ["kidney_right", "lesion"])
def test_in_one_call_or_two_a_box_and_a_click_give_the_same(name):
    volume, truth = example_volume(), example_truth()
    (value,) = (value for value, label in truth.labels.items() if label.name == name)
    box, outside = box_around(truth.mask(value), range_given=False), np.argwhere(~truth.mask(value))[5]
    masks = []
    for calls in ([box, promptseg.Point(voxel=tuple(outside), positive=False)],), ([box],):
        session = promptseg.open_session(volume)
        for prompts in calls:
            session.add(*prompts)
        masks.append(session.mask())
    assert dice(masks[0], truth.mask(value)) > dice(masks[1], truth.mask(value)) - 0.02


@pytest.mark.parametrize("name", ["ends", "drifts", "thins out"])
def test_a_click_finds_an_object_of_any_size_and_place(name):
    truth, index, (y, x) = PHANTOMS[name]
    session = opened(truth, None)
    session.add(promptseg.Point(voxel=(index, y, x)))
    assert dice(session.mask(), truth) > 0.85


@pytest.mark.parametrize("plane", ["coronal", "sagittal"])
def test_a_click_needs_no_axial_slice(plane):
    session = opened()
    session.add(promptseg.Point(voxel=(11, 35, 30), plane=plane))
    assert dice(session.mask(), BALL) > WHOLE


def test_clicks_correct_a_mask_that_came_from_elsewhere_and_the_rest_stays():
    far = (np.abs(Z - 20) < 2) & (np.abs(Y - 10) < 4) & (np.abs(X - 80) < 6)
    wrong = (BALL & (X < 34)) | far
    session = opened()
    session.add(promptseg.MaskPrompt(wrong))
    session.add(promptseg.Point(voxel=(11, 35, 40)))
    assert dice(session.mask() & ~far, BALL) > 0.9
    assert np.array_equal(session.mask() & far, far)


def test_a_negative_click_takes_a_merged_neighbour_off():
    session = opened()
    session.add(promptseg.MaskPrompt(BALL | OTHER))
    session.add(promptseg.Point(voxel=(11, 35, 30)), promptseg.Point(voxel=(11, 35, 70), positive=False))
    assert dice(session.mask(), BALL) > WHOLE


def test_every_clicked_voxel_is_as_the_click_says_even_where_the_network_is_deaf():
    session = opened()
    session.add(box_around(BALL))
    session.add(promptseg.Point(voxel=(3, 60, 10)))  # background: the oracle never answers it
    assert session.mask()[3, 60, 10]
    session.add(promptseg.Point(voxel=(11, 36, 31), positive=False))
    assert not session.mask()[11, 36, 31]
    assert session.mask()[3, 60, 10]


def test_the_range_holds_but_for_a_click_beyond_it():
    session = opened()
    low, high = box_around(BALL).voxel
    session.add(promptseg.Box(voxel=((10.0, low[1], low[2]), (13.0, high[1], high[2]))))
    assert np.flatnonzero(session.mask().any(axis=(1, 2))).tolist() == [10, 11, 12]
    session.add(promptseg.Point(voxel=(13, 35, 30)))
    assert session.mask()[13, 35, 30]


def test_accepted_and_drawn_slices_stay():
    session = opened()
    session.add(promptseg.MaskPrompt(BALL & (X < 34)))
    session.accept(11)
    square = np.array([(25.0, 30.0), (25.0, 40.0), (33.0, 40.0), (33.0, 30.0)])
    session.add(promptseg.Lasso("axial", 10, square))
    accepted, drawn = session.mask()[11].copy(), session.mask()[10].copy()
    assert drawn.any()
    session.add(promptseg.Point(voxel=(12, 35, 42)))
    assert session.mask()[12, 35, 42]
    assert np.array_equal(session.mask()[11], accepted)
    assert np.array_equal(session.mask()[10], drawn)


@pytest.mark.parametrize("plane", list(promptseg.Plane))
def test_a_click_on_a_drawn_slice_changes_what_it_hangs_together_with_and_the_rest_stays_as_drawn(plane):
    session = opened()
    session.new_label("ball")
    session.add(box_around(BALL))
    middle = [11, 35, 30]
    a, b = (axis for axis in range(3) if axis != plane.axis)
    drawn = [
        tuple(middle[c] + (da if c == a else db if c == b else 0) for c in range(3)) for da, db in ((0, 0), (1, 2))
    ]
    session.add(promptseg.Scribble(voxels=drawn, plane=plane))
    at = (slice(None),) * plane.axis + (middle[plane.axis],)
    before = session.mask()[at]
    beyond = [n - 1 if c == b else middle[c] for c, n in enumerate(SHAPE)]
    assert not session.mask()[tuple(beyond)]
    session.add(promptseg.Point(voxel=beyond))
    assert session.mask()[tuple(beyond)]
    assert session.mask()[tuple(drawn[0])]
    session.add(promptseg.Point(voxel=beyond, positive=False))
    assert not session.mask()[tuple(beyond)]
    assert not (before & ~session.mask()[at]).any()


@pytest.mark.parametrize("plane", list(promptseg.Plane))
def test_an_earlier_click_outlives_a_stroke_on_its_slice_but_not_one_over_it(plane):
    session = opened()
    session.add(box_around(BALL))
    a, b = (axis for axis in range(3) if axis != plane.axis)
    clicked, stroke = [11, 35, 30], [11, 35, 30]
    clicked[b] = SHAPE[b] - 2  # background: neither network answers it
    session.add(promptseg.Point(voxel=clicked))
    end = [v + (1 if axis == a else 0) for axis, v in enumerate(stroke)]
    session.add(promptseg.Scribble(voxels=(stroke, end), plane=plane))
    assert session.mask()[tuple(clicked)]
    session.add(promptseg.Scribble(voxels=(clicked, clicked), plane=plane, positive=False))
    assert not session.mask()[tuple(clicked)]


def test_locked_labels_keep_their_voxels():
    session = opened()
    session.add(promptseg.MaskPrompt(BALL & (X > 36)))
    session.lock(1)
    session.new_label()
    session.add(box_around(BALL))
    assert np.array_equal(session.mask(1), BALL & (X > 36))
    assert dice(session.mask(2), BALL & (X <= 36)) > 0.95


def test_first_on_its_slice_then_in_the_volume_is_the_same_as_at_once():
    at_once, later = opened(), opened()
    at_once.add(box_around(BALL))
    later.add(box_around(BALL), propagate=False)
    assert np.flatnonzero(later.mask().any(axis=(1, 2))).size == 1
    assert later.is_pending()
    later.propagate()
    assert not later.is_pending()
    assert np.array_equal(at_once.mask(), later.mask())


@pytest.mark.parametrize("start", ["box", "click"])
def test_grown_afresh_it_comes_from_the_prompts_and_what_is_true_alone(start):
    session = opened()
    session.add(box_around(BALL) if start == "box" else promptseg.Point(voxel=(11, 35, 30)))
    from_prompts = session.mask().copy()
    session.edit(promptseg.edits.Paint(((20, 10, 80),), 6.0))
    assert session.mask()[20, 10, 80]
    session.accept(9)
    session.propagate(afresh=True)
    assert dice(session.mask(), from_prompts) > 0.95
    assert not session.mask()[20, 10, 80]
    assert np.array_equal(session.mask()[9], from_prompts[9])
    session.undo()
    assert session.mask()[20, 10, 80]


def test_undo_redo_and_replay_give_the_same_voxels(tmp_path):
    session = opened()
    session.add(box_around(BALL))
    first = session.mask().copy()
    session.add(promptseg.Point(voxel=(3, 60, 10)))
    second = session.mask().copy()
    session.undo()
    assert np.array_equal(session.mask(), first)
    session.add(promptseg.Point(voxel=(3, 60, 10)))
    assert np.array_equal(session.mask(), second)
    again = opened()
    again.add(box_around(BALL))
    again.add(promptseg.Point(voxel=(3, 60, 10)))
    assert [entry.get("digest") for entry in again.log] == [entry.get("digest") for entry in session.log]


def test_what_was_answered_in_the_volume_survives_on_disk():
    session = opened()
    session.add(box_around(BALL))
    session.add(promptseg.Point(voxel=(3, 60, 10)))
    past = session._history.capture()
    again = thaw(*freeze(past)).done[-1].after.engine[1].volume
    kept = past.done[-1].after.engine[1].volume
    assert again.told == kept.told
    assert again.answer.grid == kept.answer.grid
    assert np.array_equal(again.answer.logits, kept.answer.logits)
    assert np.array_equal(
        again.confidence[promptseg.Plane.AXIAL], kept.confidence[promptseg.Plane.AXIAL], equal_nan=True
    )


def test_cancelled_between_two_passes_nothing_has_changed():
    session, reports = opened(), []

    def stop(progress):
        reports.append((progress.done, progress.total))
        if progress.done == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        session.add(box_around(BALL), on_progress=stop)
    assert not session.mask().any()
    assert session.log == ()
    assert sorted({done for done, _ in reports if done}) == [1, 2]


def test_confidence_and_probabilities_tell_of_the_answer():
    session = opened()
    session.add(box_around(BALL))
    probability = session.probabilities()
    assert probability.shape == SHAPE
    assert probability.dtype == np.float32
    assert np.array_equal(probability > 0.5, session.mask())
    for plane, axis in (("axial", 0), ("sagittal", 2)):
        strip = session.confidence(plane=plane)
        present = session.mask().any(axis=tuple(a for a in range(3) if a != axis))
        assert np.array_equal(np.isfinite(strip), present)
        assert ((strip[present] > 0) & (strip[present] <= 1)).all()
    assert {item.index for item in session.review()} == set(np.flatnonzero(session.mask().any(axis=(1, 2))).tolist())
    walked = opened(mode="slices")
    walked.add(box_around(BALL))
    with pytest.raises(PromptError, match="mode"):
        walked.probabilities()


def test_volume_mode_needs_a_model_with_a_3d_network():
    with pytest.raises(SettingsError, match="3D network"):
        Session(volume_of(BALL), OraclePredictor(), EngineOptions(mode="volume"))


def test_pictures_and_models_for_slices_stay_slice_by_slice():
    flat = Session(promptseg.Volume.from_array(np.zeros((1, 40, 50), np.uint8)), Both())
    flat.add(promptseg.Point(voxel=(0, 20, 20)))
    assert flat._predictor.inner.volume_predictor.predicted == 0
    by_slices = opened(mode="slices")
    by_slices.add(box_around(BALL))
    assert by_slices._predictor.inner.volume_predictor.predicted == 0
    assert dice(by_slices.mask(), BALL) > WHOLE
