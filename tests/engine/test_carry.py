"""What the model is asked on the next slice: branch by branch, with its memory, and no more than is needed."""

import numpy as np
from phantoms import SHAPE, X, Y, Z, volume_of

import promptseg
from promptseg.engine.branches import MOST_BRANCHES, branches
from promptseg.engine.carry import grown
from promptseg.models.families.oracle import OraclePredictor
from promptseg.models.families.sam.planes import inputs
from promptseg.models.families.sam.predictor import SamPredictor
from promptseg.models.predictor import Prediction, Prior, SlicePrompts
from promptseg.score.metrics import dice
from promptseg.session.session import Session


class Asked(OraclePredictor):
    """Remembers boxes and the sizes of carried masks; its score is as told."""

    def __init__(self, score=1.0):
        super().__init__()
        self.score, self.boxes, self.priors = score, [], []

    def predict(self, embedding, prompts, prior=None):
        if prompts.box is not None:
            self.boxes.append(prompts.box)
        if prior is not None and prior.neighbour is not None:
            self.priors.append(prior.logits > 0)
        return Prediction(super().predict(embedding, prompts, prior).logits, self.score)


def tube(row, column, radius=7):
    return (Y - row) ** 2 + (X - column) ** 2 < radius**2


def test_branches_that_lie_apart_are_parts_and_the_smallest_of_many_are_one():
    near, far = tube(20, 20)[0], tube(45, 70)[0]
    assert len(branches(near)) == 1
    parts = branches(near | far)
    assert [int((part & (near | far)).sum()) for part in parts] == [int(near.sum()), int(far.sum())]
    many = np.zeros((60, 80), bool)
    for k in range(7):
        many[5 : 9 + k, 10 * k + 2 : 10 * k + 6] = True
    parts = branches(many)
    assert len(parts) == MOST_BRANCHES
    assert np.array_equal(np.logical_or.reduce(parts), many)
    assert int(sum(part.sum() for part in parts)) == int(many.sum())
    assert [int(part.sum()) for part in parts[:3]] == [40, 36, 32]


def test_a_splitting_object_splits_its_prompts_and_a_merging_one_merges_them():
    spread = np.clip(np.abs(Z - 12) - 2, 0, None) * 3.0  # one in the middle slices, two arms beyond
    legs = ((Y - 35) ** 2 + (X - 46 - spread) ** 2 < 49) | ((Y - 35) ** 2 + (X - 46 + spread) ** 2 < 49)
    model = Asked(score=0.5)  # unsure: every answer is checked with a box
    session = Session(volume_of(legs), model)
    session.add(promptseg.Point(voxel=(12, 35, 46)))
    assert dice(session.mask(), legs) >= 0.99
    widths = [x1 - x0 for _, x0, _, x1 in model.boxes]
    assert max(widths[-4:]) < 30  # at the far ends the arms are 60 pixels apart: each has a box of its own
    alone = [prior for prior in model.priors if not (prior[:, :40].any() and prior[:, 52:].any())]
    assert len(alone) > 8
    back = Asked(score=0.5)
    session = Session(volume_of(legs & (Z <= 12)), back)
    session.add(promptseg.Point(voxel=(2, 35, 46 - 24)), promptseg.Point(voxel=(2, 35, 46 + 24)))
    assert dice(session.mask(), legs & (Z <= 12)) >= 0.99
    assert back.priors[-1][:, :40].any() or back.priors[-1][35, 46]  # at the trunk both arms are one mask again


def test_a_sure_answer_is_not_checked_and_an_unsure_one_is():
    truth = tube(35, 45, 12) & (Z > 3) & (Z < 20)
    counts = {}
    for score in (0.9, 0.5):
        model = Asked(score)
        session = Session(volume_of(truth), model)
        session.add(promptseg.Point(voxel=(12, 35, 45)))
        assert dice(session.mask(), truth) >= 0.99
        counts[score] = (len(model.priors), len(model.boxes))
    walked = session.log[-1]["slices"]
    assert counts[0.5][0] == counts[0.9][0] == walked
    assert counts[0.9][1] == 0
    assert counts[0.5][1] == walked - 4  # all but the two empty slices beyond each end


class Remembering(OraclePredictor):
    """An oracle whose carried answers come from its memory: the slices that it has seen, in order."""

    def __init__(self):
        super().__init__()
        self.asked = []

    @property
    def carrier(self):
        return self

    def remember(self, embedding, logits, index, memory=None):
        return (*(memory or ()), (index, logits > 0, embedding))

    def carry(self, embedding, index, memory):
        self.asked.append((index, tuple(at for at, _, _ in memory)))
        _, mask, neighbour = memory[-1]
        prior = Prior(np.where(mask, np.float32(5), np.float32(-5)), neighbour=neighbour)
        found = self.predict(embedding, SlicePrompts(), prior)
        return found, (*memory, (index, found.mask, embedding))


def test_a_model_with_a_memory_carries_with_it_and_remembers_what_was_taken_over():
    truth = tube(35, 35, 9) & (Z >= 8) & (Z < 16)
    truth |= tube(35, 70, 6) & (Z >= 8) & (Z < 18)
    model = Remembering()
    session = Session(volume_of(truth), model)
    session.add(promptseg.Point(voxel=(11, 35, 35)))
    assert dice(session.mask()[:, :, :55], truth[:, :, :55]) >= 0.99
    assert model.asked[:3] == [(10, (11,)), (9, (11, 10)), (8, (11, 10, 9))]
    beyond = [memory for index, memory in model.asked if index < 8]
    assert beyond
    assert all(memory == (11, 10, 9, 8) for memory in beyond)  # an empty answer is not remembered
    session.add(promptseg.Point(voxel=(15, 35, 70)))  # the second piece
    assert (14, (11, 15)) in model.asked  # the other anchor is known too, the walk's own comes last
    assert dice(session.mask()[13:], truth[13:]) >= 0.99
    session.undo()
    session.add(promptseg.Point(voxel=(15, 35, 70)), on_progress=lambda progress: None)  # the same, watched
    assert dice(session.mask()[13:], truth[13:]) >= 0.99


class ThresholdRunner:
    """A runner of the SAM family that cuts out what is as bright as the positive points; keeps what it was given."""

    input_px, low_px, has_single, takes_mask, nbytes, described = 128, 32, True, True, 0, "fake"

    def __init__(self):
        self.wires = []

    def encode(self, batch):
        low = inputs(batch)[:, :1].reshape(len(batch), 1, 32, 4, 32, 4).mean(axis=(3, 5))
        return [{"image": np.zeros((1, 8, 8), np.float32), "low": each[0]} for each in low]

    def decode(self, features, wire, shape):
        self.wires.append(wire)
        x, y = (wire.coords[wire.labels == 1][0] / 4).astype(int)
        found = np.abs(features["low"] - features["low"][y, x]) < 0.5
        return np.where(found, np.float32(8), np.float32(-8))[None], np.array([0.9], np.float32)


def test_the_sam_family_is_carried_by_points_inside_and_outside_a_box_and_logits():
    bent = ((X > 20) & (X < 36) & (Y > 8) & (Y < 62)) | ((X > 20) & (X < 75) & (Y > 46) & (Y < 62))  # an L
    truth = bent & (Z > 6) & (Z < 16)
    runner = ThresholdRunner()
    session = Session(volume_of(truth), SamPredictor(runner, "fake-sam"))
    session.add(promptseg.Point(voxel=(11, 55, 28)))
    assert dice(session.mask(), truth) > 0.9  # its masks are as coarse as its grid
    carried = [wire for wire in runner.wires if wire.is_carried]
    assert len(carried) >= 8
    scale = 128 / 92  # of the slice's longer side to the input
    for wire in carried[:8]:
        assert wire.labels.tolist() == [1, 0, 2, 3]
        (x, y), (away_x, away_y) = np.rint(wire.coords[:2] / scale).astype(int)
        assert bent[11, y, x]
        assert not bent[11, away_y, away_x]
        assert wire.mask.max() > 0 > wire.mask.min()
        (x0, y0), (x1, y1) = wire.coords[2:] / scale
        assert 10 < x0 < 21 < 74 < x1 < 85
        assert 0 <= y0 < 9 < 61 < y1 < 70


def test_locked_labels_are_negatives_and_keep_their_voxels():
    left, right = tube(35, 30, 9), tube(35, 60, 9)
    points = []

    class Listening(OraclePredictor):
        def predict(self, embedding, prompts, prior=None):
            points.append([(tuple(p), bool(k)) for p, k in zip(prompts.points.tolist(), prompts.positive, strict=True)])
            return super().predict(embedding, prompts, prior)

    session = Session(volume_of(left | right), Listening())
    session.add(promptseg.Point(voxel=(12, 35, 30)))
    session.lock(1)
    session.new_label("right")
    points.clear()
    session.add(promptseg.Box(voxel=((12, 20, 15), (13, 50, 75))))  # around both
    told = points[0]
    assert len(told) == 1
    (y, x), positive = told[0]
    assert not positive
    assert left[12, round(y), round(x)]
    assert np.array_equal(session.mask("right"), right)
    assert np.array_equal(session.mask(1), left)
    assert session.mask().shape == SHAPE


def test_growing_far_measures_distances_instead_of_laying_a_kernel(monkeypatch):
    mask = np.zeros((40, 60), np.bool_)
    mask[10:14, 20:30] = True
    assert grown(mask, 20.0, (1e-6, 1e-6)).all()  # as a kernel: 40 million pixels a side
    rows, columns = np.mgrid[:40, :60]
    away = np.hypot(
        0.01 * np.maximum(10 - rows, rows - 13).clip(0), 0.02 * np.maximum(20 - columns, columns - 29).clip(0)
    )
    found = grown(mask, 0.2, (0.01, 0.02))  # 20 and 10 pixels: by a kernel
    monkeypatch.setattr("promptseg.engine.carry.LARGEST_KERNEL", 1)
    assert np.mean(found != grown(mask, 0.2, (0.01, 0.02))) < 0.02
    np.testing.assert_array_equal(grown(mask, 0.195, (0.01, 0.02)), away <= 0.195)
