"""The predictor's contract for the SAM family, as far as random weights can keep it; no reference package needed."""

import numpy as np
import pytest

from promptseg.errors import ModelError
from promptseg.models.families.sam.frames import KINDS
from promptseg.models.predictor import Embedding, Predictor, Prior, SliceImage, SlicePrompts

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.torch

POINT = SlicePrompts(np.array([[4, 3]], np.float32), np.array([True]))


@pytest.fixture(params=[kind for kind in KINDS if kind != "as-is"])
def predictor(request, tiny_arch):
    from promptseg.models.families.sam.on_torch import TorchSamRunner
    from promptseg.models.families.sam.predictor import SamOptions, SamPredictor
    from promptseg.models.networks.architectures import build_network
    from promptseg.models.runtime import Device

    torch.manual_seed(1)
    return SamPredictor(TorchSamRunner(build_network(tiny_arch), Device("cpu")), "tiny", SamOptions(request.param))


def test_any_shape_is_answered_on_its_own_grid(predictor):
    assert isinstance(predictor, Predictor)
    for shape in [(33, 47), (1, 40), (40, 1), (257, 300), (8, 8), (50, 60, 3)]:
        image = np.random.default_rng(0).random(shape).astype(np.float32)
        kept = image.copy()
        embedding = predictor.embed(SliceImage(image, (0.5, 2.0)))
        point = SlicePrompts(np.array([[shape[0] // 2, shape[1] // 2]], np.float32), np.array([True]))
        answer = predictor.predict(embedding, point)
        assert answer.logits.shape == shape[:2]
        assert answer.logits.dtype == np.float32
        assert np.isfinite(answer.logits).all()
        assert 0 <= answer.score <= 1
        assert np.array_equal(image, kept)
        assert embedding.spacing_mm == (0.5, 2.0)


def test_same_arguments_same_bits(predictor):
    image = SliceImage(np.random.default_rng(0).random((40, 50), np.float32))
    prior = Prior(np.random.default_rng(1).normal(0, 5, (40, 50)).astype(np.float32))
    kept = prior.logits.copy()
    first = predictor.predict(predictor.embed(image), POINT, prior)
    second = predictor.predict(predictor.embed(image), POINT, prior)
    assert np.array_equal(first.logits, second.logits)
    assert first.score == second.score
    assert np.array_equal(prior.logits, kept)
    assert not np.array_equal(first.logits, predictor.predict(predictor.embed(image), POINT).logits)


def test_every_kind_of_hint_is_heard(predictor):
    embedding = predictor.embed(SliceImage(np.random.default_rng(0).random((40, 50), np.float32)))
    drawn = np.zeros((40, 50), np.int8)
    drawn[20, 5:40] = 1
    hints = [
        POINT,
        SlicePrompts(POINT.points, np.array([False])),
        SlicePrompts(box=(5, 5, 20, 30)),
        SlicePrompts(scribble=drawn),
        SlicePrompts(scribble=-drawn),
        SlicePrompts(POINT.points, POINT.positive, (0, 0, 20, 30), drawn),
    ]
    answers = [predictor.predict(embedding, hint).logits for hint in hints]
    for i, a in enumerate(answers):
        for b in answers[:i]:
            assert not np.array_equal(a, b)


def test_a_constant_image_and_a_foreign_embedding(predictor):
    answer = predictor.predict(predictor.embed(SliceImage(np.zeros((50, 60), np.float32))), POINT)
    assert np.isfinite(answer.logits).all()
    with pytest.raises(ModelError, match="someone else"):
        predictor.predict(Embedding("someone else", (5, 5), (1.0, 1.0), {}), POINT)
