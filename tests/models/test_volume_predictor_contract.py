"""What every 3D model must do; see the contract in promptseg.models.volume_predictor."""

import numpy as np
import pytest

from promptseg.errors import PromptError
from promptseg.models.builtin import BUILTIN_3D_ONNX
from promptseg.models.families.builtin.volume import BuiltinVolumePredictor
from promptseg.models.families.oracle_volume import OracleVolumePredictor
from promptseg.models.volume_predictor import (
    AxisRange,
    KnownSlice,
    SliceBox,
    View,
    ViewPrompts,
    VolumePredictor,
    volume_predictor_of,
)

SHAPE = (32, 64, 48)
CENTRE, RADII = (14, 35, 22), (8, 15, 11)


def lump(level=140.0, noise=0.0):
    """An ellipsoid off the middle of a view that is no cube, in no particular unit; and its mask."""
    at = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    mask = sum(((a - c) / r) ** 2 for a, c, r in zip(at, CENTRE, RADII, strict=True)) < 1
    voxels = np.where(mask, level, 20.0) + np.random.default_rng(5).normal(0, 1, SHAPE) * noise
    return voxels.astype(np.float32), mask


def clicks(*points, positive=True):
    return ViewPrompts(np.array(points, np.float32), np.full(len(points), positive))


def boxed(mask, axis):
    """Box on the middle slice and range of a mask, along an axis."""
    turned = np.moveaxis(mask, axis, 0)
    slices = np.flatnonzero(turned.any((1, 2)))
    middle = int(slices[len(slices) // 2])
    rows, columns = np.flatnonzero(turned[middle].any(1)), np.flatnonzero(turned[middle].any(0))
    box = SliceBox(axis, middle, (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1))
    return ViewPrompts(box=box, span=AxisRange(axis, slices[0], slices[-1] + 1))


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture(scope="module", params=["oracle", "builtin on ONNX Runtime", "builtin on OpenVINO"])
def predictor(request):
    if request.param == "oracle":
        return OracleVolumePredictor()
    if "OpenVINO" in request.param:
        pytest.importorskip("openvino")
        return BuiltinVolumePredictor(BUILTIN_3D_ONNX, threads=1, runtime="openvino")
    return BuiltinVolumePredictor(BUILTIN_3D_ONNX, threads=1)


def test_it_is_a_volume_predictor(predictor):
    assert isinstance(predictor, VolumePredictor)
    assert all(side % predictor.view_multiple == 0 for side in predictor.view_sides)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_box_with_a_range_on_any_plane_finds_an_easy_lump(predictor, axis):
    voxels, mask = lump()
    (answer,) = predictor.predict([View(voxels, boxed(mask, axis))])
    assert answer.logits.shape == SHAPE
    assert answer.logits.dtype == np.float32
    assert 0 <= answer.score <= 1
    assert dice(answer.mask, mask) > 0.9


def test_a_click_a_scribble_and_a_known_slice_say_the_same(predictor):
    voxels, mask = lump()
    strokes = np.zeros(SHAPE, np.int8)
    strokes[14, 30:40, 22], strokes[4, 10, 5:40] = 1, -1
    hints = [clicks(CENTRE), ViewPrompts(scribble=strokes), ViewPrompts(known=(KnownSlice(1, 35, mask[:, 35]),))]
    for prompts in hints:
        (answer,) = predictor.predict([View(voxels, prompts)])
        assert dice(answer.mask, mask) > 0.75


def test_an_earlier_answer_is_corrected(predictor):
    voxels, mask = lump()
    half = mask.copy()
    half[:, 35:] = False
    previous = np.where(half, np.float32(0.9), np.float32(0.1))
    (answer,) = predictor.predict([View(voxels, clicks((14, 44, 22)), previous)])
    assert dice(answer.mask, mask) > dice(half, mask) + 0.1


def test_intensities_may_have_any_unit(predictor):
    voxels, mask = lump()
    answers = predictor.predict([View(v, boxed(mask, 0)) for v in (voxels, voxels / 500, voxels * 3 - 1000)])
    for answer in answers[1:]:
        assert dice(answer.mask, answers[0].mask) > 0.99


def test_same_arguments_same_bits_and_nothing_changed(predictor):
    voxels, mask = lump()
    previous = np.where(mask, np.float32(0.8), np.float32(0.2))
    kept, before = voxels.copy(), previous.copy()
    view = View(voxels, clicks(CENTRE), previous)
    (first,), (second,) = predictor.predict([view]), predictor.predict([view])
    assert np.array_equal(first.logits, second.logits)
    assert first.score == second.score
    assert np.array_equal(voxels, kept)
    assert np.array_equal(previous, before)


def test_a_batch_is_answered_in_order_as_if_alone(predictor):
    voxels, mask = lump(noise=5)
    turned = np.ascontiguousarray(voxels.transpose(2, 0, 1))
    views = [
        View(voxels, boxed(mask, 0)),
        View(voxels, boxed(mask, 2)),
        View(turned, clicks((22, 14, 35))),
        View(voxels, clicks(CENTRE)),
    ]
    together = predictor.predict(views)
    for view, answer in zip(views, together, strict=True):
        (alone,) = predictor.predict([view])
        assert answer.logits.shape == view.voxels.shape
        np.testing.assert_allclose(answer.logits, alone.logits, atol=1e-3)
        assert answer.score == pytest.approx(alone.score, abs=1e-4)
    assert predictor.predict([]) == ()


def test_what_lies_outside_the_view_and_what_is_not_finite_do_no_harm(predictor):
    voxels, mask = lump()
    voxels[3, 3, 3] = np.nan
    prompts = ViewPrompts(
        np.array([CENTRE, (-40, 3, 3), (14, 500, 22)], np.float32),
        np.array([True, True, False]),
        span=AxisRange(0, -9, 99),
    )
    (answer,) = predictor.predict([View(voxels, prompts)])
    assert np.isfinite(answer.logits).all()
    assert dice(answer.mask, mask) > 0.75
    (flat,) = predictor.predict([View(np.zeros(SHAPE, np.float32), clicks(CENTRE))])
    assert np.isfinite(flat.logits).all()


def test_prompts_and_arrays_must_fit_the_view():
    voxels, mask = lump()
    with pytest.raises(PromptError, match=r"\(n, 3\)"):
        ViewPrompts(np.zeros((2, 2), np.float32), np.zeros(2, bool))
    with pytest.raises(PromptError, match=r"previous.*\(32, 64, 48\).*\(2, 2, 2\)"):
        View(voxels, ViewPrompts(), np.zeros((2, 2, 2), np.float32))
    with pytest.raises(PromptError, match=r"known slice \(32, 48\)"):
        View(voxels, ViewPrompts(known=(KnownSlice(1, 3, mask[0]),)))
    with pytest.raises(PromptError, match="below 48 of axis 2, got 48"):
        View(voxels, ViewPrompts(box=SliceBox(2, 48, (0, 0, 4, 4))))


def test_the_network_says_which_edges_it_takes():
    predictor = BuiltinVolumePredictor(BUILTIN_3D_ONNX, threads=1)
    with pytest.raises(PromptError, match=r"multiples of 16, got \(32, 40, 48\)"):
        predictor.predict([View(np.zeros((32, 40, 48), np.float32), clicks((3, 3, 3)))])


def test_a_model_says_whether_it_has_a_3d_member(monkeypatch):
    from promptseg.models.loading import load_predictor

    monkeypatch.setenv("PROMPTSEG_RUNTIME", "onnx")
    member = volume_predictor_of(load_predictor("builtin"))
    assert isinstance(member, VolumePredictor)
    assert volume_predictor_of(load_predictor("builtin")) is member
    assert volume_predictor_of(load_predictor("classical")) is None
