"""What every family must do; see the contract in promptseg.models.predictor."""

import numpy as np
import pytest

from promptseg.errors import ModelError, PromptError
from promptseg.models.loading import load_predictor
from promptseg.models.predictor import Embedding, Predictor, Prior, SliceImage, SlicePrompts

MODELS = ["builtin", "classical"]


def disc_image(shape=(90, 131), noise=0.03):
    """A bright disc of radius 18 at (40, 70) on grey, float32 in [0, 1]; and its mask."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    mask = (y - 40) ** 2 + (x - 70) ** 2 < 18**2
    image = np.where(mask, 0.75, 0.3) + np.random.default_rng(3).normal(0, noise, shape)
    return np.clip(image, 0, 1).astype(np.float32), mask


def point(y, x, positive=True):
    return SlicePrompts(np.array([[y, x]], np.float32), np.array([positive]))


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture(params=MODELS)
def predictor(request):
    return load_predictor(request.param)


def test_it_is_a_predictor_and_loaded_once(predictor):
    assert isinstance(predictor, Predictor)
    assert load_predictor(predictor.model_id) is predictor


@pytest.mark.parametrize("prompts", [point(40, 70), SlicePrompts(box=(22, 52, 59, 89))], ids=["one click", "a box"])
def test_an_easy_disc_is_found_on_the_slices_own_grid(predictor, prompts):
    image, mask = disc_image()
    answer = predictor.predict(predictor.embed(SliceImage(image, (0.7, 0.7))), prompts)
    assert answer.logits.shape == image.shape
    assert answer.logits.dtype == np.float32
    assert 0 <= answer.score <= 1
    assert dice(answer.mask, mask) > 0.9


def test_a_scribble_works(predictor):
    image, mask = disc_image()
    drawn = np.zeros(image.shape, np.int8)
    drawn[40, 60:80] = 1
    drawn[70, 40:100] = -1
    answer = predictor.predict(predictor.embed(SliceImage(image)), SlicePrompts(scribble=drawn))
    assert dice(answer.mask, mask) > 0.85


def test_same_arguments_same_bits_and_nothing_changed(predictor):
    image, _ = disc_image()
    kept = image.copy()
    embedding = predictor.embed(SliceImage(image))
    prompts = point(40, 70)
    first = predictor.predict(embedding, prompts)
    second = predictor.predict(embedding, prompts)
    third = predictor.predict(predictor.embed(SliceImage(image)), prompts, None)
    assert np.array_equal(first.logits, second.logits)
    assert np.array_equal(first.logits, third.logits)
    assert first.score == second.score
    assert np.array_equal(image, kept)


def test_a_carried_mask_finds_the_moved_object_and_an_empty_slice_stays_empty(predictor):
    here, mask = disc_image()
    there = np.roll(here, (3, 4), axis=(0, 1))
    source, target = predictor.embed(SliceImage(here)), predictor.embed(SliceImage(there))
    logits = np.where(mask, np.float32(5), np.float32(-5))
    answer = predictor.predict(target, SlicePrompts(), Prior(logits, neighbour=source))
    assert dice(answer.mask, np.roll(mask, (3, 4), axis=(0, 1))) > 0.9
    nothing = Prior(np.full(here.shape, -5, np.float32), neighbour=source)
    assert not predictor.predict(target, SlicePrompts(), nothing).mask.any()


@pytest.mark.parametrize("shape", [(33, 47), (1, 40), (40, 1), (257, 600), (8, 8)])
def test_any_shape_is_answered_on_its_own_grid(predictor, shape):
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    answer = predictor.predict(predictor.embed(SliceImage(image)), point(shape[0] // 2, shape[1] // 2))
    assert answer.logits.shape == shape
    assert np.isfinite(answer.logits).all()


def test_colour_is_accepted(predictor):
    image, mask = disc_image()
    rgb = np.stack([image, image * 0.5, image * 0.8], axis=-1)
    answer = predictor.predict(predictor.embed(SliceImage(rgb)), point(40, 70))
    assert dice(answer.mask, mask) > 0.85


def test_a_constant_image_does_not_break(predictor):
    answer = predictor.predict(predictor.embed(SliceImage(np.zeros((50, 60), np.float32))), point(20, 20))
    assert np.isfinite(answer.logits).all()


def test_another_models_embedding_is_refused(predictor):
    foreign = Embedding("someone else", (5, 5), (1.0, 1.0), {})
    with pytest.raises(ModelError, match="someone else"):
        predictor.predict(foreign, point(2, 2))


def test_prompts_say_their_shape():
    with pytest.raises(PromptError, match=r"\(n, 2\)"):
        SlicePrompts(np.zeros((2, 3), np.float32), np.zeros(2, bool))


def test_an_embedding_is_named_by_its_content(predictor):
    image, _ = disc_image()
    first, again = (predictor.embed(SliceImage(image.copy(), (0.7, 0.7))) for _ in range(2))
    assert first.content == again.content
    assert len(first.content) == 32
    changed = image.copy()
    changed[40, 70] = 0.1
    others = [SliceImage(changed, (0.7, 0.7)), SliceImage(image, (0.8, 0.7)), SliceImage(image[1:], (0.7, 0.7))]
    assert len({first.content, *(predictor.embed(other).content for other in others)}) == 4
