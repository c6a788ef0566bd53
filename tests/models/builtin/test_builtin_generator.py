"""The synthetic world: seeded, in range, with targets of a useful size and prompts that say the truth."""

import numpy as np
import pytest

from promptseg.models.builtin.training import prompts
from promptseg.models.builtin.training.samples import LARGEST_SHARE, SMALLEST_PX, make_samples
from promptseg.models.builtin.training.scenes import FAMILIES

SEEDS = (3, 8)


def test_the_same_seed_paints_the_same_scene() -> None:
    first, second = make_samples((5, 1)), make_samples((5, 1))
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.target, b.target)


def test_other_seeds_paint_other_scenes() -> None:
    assert not np.array_equal(
        make_samples((5, 1), family="body")[0].image, make_samples((5, 2), family="body")[0].image
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_offers_targets(family: str) -> None:
    samples = [sample for seed in SEEDS for sample in make_samples((seed,), family=family)]
    assert samples
    for sample in samples:
        assert sample.image.dtype == np.float32
        assert 0 <= sample.image.min() < sample.image.max() <= 1
        reference = sample.target if sample.neighbour_target is None else sample.neighbour_target
        assert SMALLEST_PX <= reference.sum() <= LARGEST_SHARE * reference.size


def test_neighbouring_slices_are_alike_but_not_the_same() -> None:
    paired = [s for seed in range(40) for s in make_samples((seed,), family="heart") if s.neighbour is not None]
    assert paired
    for sample in paired:
        assert not np.array_equal(sample.image, sample.neighbour)
    alike = [np.corrcoef(s.image.ravel(), s.neighbour.ravel())[0, 1] for s in paired]
    unlike = [np.corrcoef(a.image.ravel(), b.neighbour.ravel())[0, 1] for a, b in zip(paired, paired[3:], strict=False)]
    assert np.mean(alike) > np.mean(unlike) + 0.2


@pytest.fixture
def target() -> np.ndarray:
    y, x = np.ogrid[:80, :120]
    return ((y - 35) / 20) ** 2 + ((x - 70) / 30) ** 2 < 1


def test_the_deepest_point_of_an_ellipse_is_its_centre(target: np.ndarray) -> None:
    y, x = prompts.deepest(target)
    assert abs(y - 35) <= 1
    assert abs(x - 70) <= 11  # an ellipse's medial axis is a segment


@pytest.mark.parametrize("seed", range(6))
def test_prompts_tell_the_truth(target: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert target[prompts.first_click(target, rng)]
    strokes = prompts.draw_strokes(target, rng, negative=True)
    assert target[strokes > 0].all()
    assert (strokes > 0).any()
    assert not target[strokes < 0].any()
    y0, x0, y1, x1 = prompts.sloppy_box(target, rng)
    assert (y0, x0) < (y1, x1)
    assert target[int(y0) : int(y1), int(x0) : int(x1)].sum() > 0.75 * target.sum()


def test_corrections_point_at_the_largest_error(target: np.ndarray) -> None:
    answer = target.copy()
    answer[:, :60] = False
    answer[70:78, 5:12] = True
    y, x, positive = prompts.correction(target, answer, None)
    assert positive
    assert target[y, x]
    assert not answer[y, x]
    answer = target.copy()
    answer[5:30, 2:30] = True
    y, x, positive = prompts.correction(target, answer, None)
    assert not positive
    assert not target[y, x]
    assert prompts.correction(target, target, None) is None
