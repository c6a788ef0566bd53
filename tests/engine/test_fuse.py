"""Several planes vote, and the coarse ones have little to say."""

import numpy as np
import pytest

import promptseg
from promptseg.engine.fuse import best_slice, extent, plane_weight, vote, worth_walking
from promptseg.errors import SettingsError
from promptseg.models.families.oracle import OraclePredictor
from promptseg.models.predictor import Prediction
from promptseg.prompts import Plane
from promptseg.score.metrics import dice
from promptseg.session.session import Session

AXIAL, CORONAL, SAGITTAL = Plane.AXIAL, Plane.CORONAL, Plane.SAGITTAL
THICK = (6.5, 0.8, 0.9)  # z, y, x


class Counting(OraclePredictor):
    """Remembers the shapes of the slices that it was asked about; sees a third too much on those it is told to."""

    def __init__(self, flawed=()):
        super().__init__()
        self.shapes, self.flawed = [], set(flawed)

    def predict(self, embedding, prompts, prior=None):
        self.shapes.append(embedding.shape)
        answer = super().predict(embedding, prompts, prior)
        if embedding.shape not in self.flawed or not answer.mask.any():
            return answer
        wide = answer.mask | np.roll(answer.mask, 3, axis=1)
        return Prediction(np.where(wide, np.float32(8), np.float32(-8)), answer.score)


def ball(shape, spacing_zyx, radius_mm):
    axes = np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing_zyx, strict=True)), indexing="ij")
    middle = [(n // 2) * s for n, s in zip(shape, spacing_zyx, strict=True)]
    return sum((a - m) ** 2 for a, m in zip(axes, middle, strict=True)) < radius_mm**2


def opened(truth, spacing_zyx, predictor, fuse="auto"):
    image = np.where(truth, 200, 0).astype(np.int16)
    geometry = promptseg.Geometry(truth.shape, spacing_zyx[::-1], (-11.0, 7.5, 40.0))
    volume = promptseg.Volume(image, geometry, promptseg.Window(0, 255))
    return Session(volume, predictor, promptseg.EngineOptions(fuse=fuse))


def test_weights_are_shares_of_the_finest_pixels_area():
    assert [plane_weight(plane, (3.0, 3.0, 3.0)) for plane in Plane] == [1.0, 1.0, 1.0]
    assert plane_weight(AXIAL, THICK) == 1.0
    assert plane_weight(CORONAL, THICK) == pytest.approx(0.8 / 6.5)
    assert plane_weight(SAGITTAL, THICK) == pytest.approx(0.9 / 6.5)
    assert worth_walking(THICK) == (AXIAL,)
    assert set(worth_walking((1.0, 0.7, 0.7))) == set(Plane)


def test_more_than_half_of_the_weight_decides_and_the_first_plane_where_it_is_even():
    here, there, nowhere = (np.zeros((1, 1, 3), bool) for _ in range(3))
    here[..., :2], there[..., 1:] = True, True
    assert vote({AXIAL: here, CORONAL: there, SAGITTAL: nowhere}, (1.0, 1.0, 1.0)).tolist() == [[[False, True, False]]]
    assert vote({AXIAL: here, CORONAL: there}, (1.0, 1.0, 1.0)).tolist() == here.tolist()
    assert vote({CORONAL: there, AXIAL: here}, THICK).tolist() == here.tolist()  # the finer one, though second


def test_extent_and_best_slice_of_a_plane():
    mask = np.zeros((4, 5, 6), bool)
    mask[1:3, 2, 1:5] = True
    mask[2, 3, 2] = True
    assert (extent(mask, AXIAL), extent(mask, CORONAL), extent(mask, SAGITTAL)) == ((1, 3), (2, 4), (1, 5))
    assert (best_slice(mask, AXIAL), best_slice(mask, CORONAL), best_slice(mask, SAGITTAL)) == (2, 2, 2)


def test_on_a_thick_stack_a_sagittal_prompt_is_overruled_by_nothing_and_axial_slices_are_walked_too():
    truth = ball((25, 60, 54), THICK, 20.0)
    z, y, x = (n // 2 for n in truth.shape)
    axial, sagittal = (60, 54), (25, 60)
    model = Counting(flawed=[sagittal])
    session = opened(truth, THICK, model)
    session.add(promptseg.Point(voxel=(z, y, x), plane=SAGITTAL))
    alone = opened(truth, THICK, Counting(flawed=[sagittal]), fuse="off")
    alone.add(promptseg.Point(voxel=(z, y, x), plane=SAGITTAL))
    assert axial in model.shapes  # the plane that the prompt does not speak about, but that sees most
    assert dice(alone.mask(), truth) < 0.97
    kept = np.ones(truth.shape, bool)
    kept[:, :, x] = False  # the prompted slice is the person's
    assert dice(session.mask() & kept, truth & kept) >= 0.99
    assert np.array_equal(session.mask()[:, :, x], alone.mask()[:, :, x])


def test_on_a_thick_stack_an_axial_prompt_is_walked_in_its_plane_alone():
    truth = ball((25, 60, 54), THICK, 20.0)
    model = Counting()
    session = opened(truth, THICK, model)
    session.add(promptseg.Point(voxel=tuple(n // 2 for n in truth.shape)))
    assert set(model.shapes) == {(60, 54)}
    assert dice(session.mask(), truth) >= 0.99


def test_in_a_nearly_isotropic_volume_two_good_planes_outvote_a_bad_one():
    spacing = (1.2, 1.0, 0.9)
    truth = ball((30, 41, 50), spacing, 12.0)
    middle = tuple(n // 2 for n in truth.shape)
    session = opened(truth, spacing, Counting(flawed=[(41, 50)]))
    session.add(promptseg.Point(voxel=middle))
    kept = np.ones(truth.shape, bool)
    kept[middle[0]] = False
    assert dice(session.mask() & kept, truth & kept) >= 0.98
    seen = len(session._predictor.inner.shapes)
    session.add(promptseg.Point(voxel=(middle[0] + 4, middle[1], middle[2])))
    assert set(session._predictor.inner.shapes[seen:]) == {(41, 50)}  # a correction stays in its plane
    session.undo()
    session.undo()
    assert not session.mask().any()


def test_an_unknown_rule_is_one_sentence():
    with pytest.raises(SettingsError, match="expected fuse as one of off, auto, got 'atuo'"):
        promptseg.EngineOptions(fuse="atuo")
