"""The built-in predictor on slices of odd shapes, and that its answers go where prompts say."""

import numpy as np
import pytest

from promptseg.errors import ModelError
from promptseg.models.builtin import BUILTIN_ONNX
from promptseg.models.families.builtin.predictor import BuiltinPredictor
from promptseg.models.predictor import Prior, SliceImage, SlicePrompts


@pytest.fixture(scope="module")
def predictor() -> BuiltinPredictor:
    return BuiltinPredictor(BUILTIN_ONNX, threads=1)


def disc(shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1


def picture(mask: np.ndarray, seed: int = 0, noise: float = 0.04) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(0.35 + 0.35 * mask + noise * rng.standard_normal(mask.shape), 0, 1).astype(np.float32)


def click(y: float, x: float) -> SlicePrompts:
    return SlicePrompts(np.array([[y, x]], np.float32), np.array([True]))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / max(1, int(a.sum()) + int(b.sum()))


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (33, 200), (301, 97), (900, 1100)])
def test_answers_lie_on_the_slices_grid(predictor: BuiltinPredictor, shape: tuple[int, int]) -> None:
    image = SliceImage(np.random.default_rng(0).random(shape, np.float32))
    answer = predictor.predict(predictor.embed(image), click(shape[0] // 2, shape[1] // 2))
    assert answer.logits.shape == shape
    assert answer.logits.dtype == np.float32
    assert np.isfinite(answer.logits).all()
    assert 0 <= answer.score <= 1


@pytest.mark.parametrize(
    ("shape", "centre", "radii"),
    [((128, 160), (60, 100), (25, 30)), ((512, 400), (300, 150), (18, 22)), ((256, 256), (128, 120), (90, 80))],
)
def test_one_click_finds_a_plain_object_of_any_size(
    predictor: BuiltinPredictor, shape: tuple[int, int], centre: tuple[int, int], radii: tuple[int, int]
) -> None:
    mask = disc(shape, centre, radii)
    answer = predictor.predict(predictor.embed(SliceImage(picture(mask))), click(*centre))
    assert dice(answer.mask, mask) > 0.85


def test_colour_is_accepted(predictor: BuiltinPredictor) -> None:
    mask = disc((120, 140), (60, 70), (25, 20))
    colour = np.repeat(picture(mask)[..., None], 3, axis=2)
    answer = predictor.predict(predictor.embed(SliceImage(colour)), SlicePrompts(box=(35, 50, 85, 90)))
    assert dice(answer.mask, mask) > 0.85


def test_long_pixels_are_looked_at_as_squares(predictor: BuiltinPredictor) -> None:
    mask = disc((40, 160), (20, 80), (10, 40))
    image = SliceImage(picture(mask), (4.0, 1.0))
    answer = predictor.predict(predictor.embed(image), click(20, 80))
    assert answer.logits.shape == (40, 160)
    assert dice(answer.mask, mask) > 0.8


def test_the_same_question_gets_the_same_bits_and_nothing_is_changed(predictor: BuiltinPredictor) -> None:
    pixels = picture(disc((100, 130), (50, 60), (20, 25)))
    before = pixels.copy()
    embedding = predictor.embed(SliceImage(pixels))
    first = predictor.predict(embedding, click(50, 60))
    again = predictor.predict(embedding, click(50, 60), Prior(first.logits))
    np.testing.assert_array_equal(first.logits, predictor.predict(embedding, click(50, 60)).logits)
    np.testing.assert_array_equal(again.logits, predictor.predict(embedding, click(50, 60), Prior(first.logits)).logits)
    np.testing.assert_array_equal(pixels, before)


def test_nothing_known_means_nothing_found(predictor: BuiltinPredictor) -> None:
    embedding = predictor.embed(SliceImage(picture(disc((60, 60), (30, 30), (10, 10)))))
    empty = Prior(np.full((60, 60), -5, np.float32), embedding)
    assert not predictor.predict(embedding, SlicePrompts()).mask.any()
    assert not predictor.predict(embedding, SlicePrompts(), empty).mask.any()


def vessel(shape: tuple[int, int], width: float) -> np.ndarray:
    y, x = np.indices(shape)
    course = shape[0] / 2 + 0.2 * shape[0] * np.sin(x / 50)
    slope = 0.2 * shape[0] / 50 * np.cos(x / 50)
    return np.abs(y - course) / np.hypot(1, slope) < width / 2


def test_a_thin_vessel_is_followed_through_a_large_slice(predictor: BuiltinPredictor) -> None:
    mask = vessel((400, 500), 5)
    answer = predictor.predict(predictor.embed(SliceImage(picture(mask))), click(200, round(50 * np.pi)))
    assert dice(answer.mask, mask) > 0.8


def test_clicks_and_strokes_are_obeyed(predictor: BuiltinPredictor) -> None:
    image = predictor.embed(SliceImage(picture(disc((500, 420), (200, 200), (90, 80)))))
    points = np.array([[200, 200], [200, 210], [20, 20]], np.float32)
    strokes = np.zeros((500, 420), np.int8)
    strokes[190:195, 150:250], strokes[230:233, 150:250] = 1, -1
    answer = predictor.predict(image, SlicePrompts(points, np.array([True, False, True]), scribble=strokes))
    assert answer.mask[200, 200]
    assert not answer.mask[200, 210]
    assert answer.mask[20, 20]
    assert answer.mask[strokes > 0].all()
    assert not answer.mask[strokes < 0].any()


def test_a_mask_is_carried_to_where_the_object_has_moved(predictor: BuiltinPredictor) -> None:
    there, here = disc((160, 160), (80, 70), (30, 25)), disc((160, 160), (83, 74), (28, 26))
    neighbour = predictor.embed(SliceImage(picture(there, 1)))
    prior = Prior(np.where(there, 5, -5).astype(np.float32), neighbour)
    answer = predictor.predict(predictor.embed(SliceImage(picture(here, 2))), SlicePrompts(), prior)
    assert dice(answer.mask, here) > max(0.9, dice(there, here))


def test_a_carried_mask_ends_with_its_object(predictor: BuiltinPredictor) -> None:
    there = disc((160, 160), (80, 70), (15, 14))
    neighbour = predictor.embed(SliceImage(picture(there, 1)))
    prior = Prior(np.where(there, 5, -5).astype(np.float32), neighbour)
    here = predictor.embed(SliceImage(picture(np.zeros_like(there), 2)))
    assert predictor.predict(here, SlicePrompts(), prior).mask.sum() < 0.1 * there.sum()


@pytest.mark.parametrize("carried", [True, False])
def test_a_mask_of_one_long_pixel_is_known_and_carried(predictor: BuiltinPredictor, carried: bool) -> None:
    """On square pixels its probability is spread below a half."""
    embedding = predictor.embed(SliceImage(np.full((48, 2), 0.3, np.float32), (2.0, 1.0)))
    logits = np.full((48, 2), -6, np.float32)
    logits[20, 1] = 0.05
    prompts = SlicePrompts() if carried else click(20, 1)
    answer = predictor.predict(embedding, prompts, Prior(logits, embedding if carried else None))
    assert answer.logits.shape == (48, 2)
    assert np.isfinite(answer.logits).all()


def test_another_models_embedding_is_refused(predictor: BuiltinPredictor) -> None:
    other = BuiltinPredictor(BUILTIN_ONNX, "other", threads=1)
    embedding = other.embed(SliceImage(picture(disc((60, 60), (30, 30), (10, 10)))))
    with pytest.raises(ModelError, match="other"):
        predictor.predict(embedding, click(30, 30))


def test_a_missing_file_is_reported(tmp_path: object) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.onnx"):
        BuiltinPredictor(BUILTIN_ONNX.with_name("nowhere.onnx"))
