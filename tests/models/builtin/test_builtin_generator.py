"""The synthetic world: seeded, in range, with targets of a useful size and prompts that say the truth."""

import itertools

import numpy as np
import pytest

from promptseg.models.builtin.training import prompts
from promptseg.models.builtin.training.samples import LARGEST_SHARE, SMALLEST_PX, World, make_samples
from promptseg.models.builtin.training.scenes import FAMILIES

pytestmark = pytest.mark.slow

SEEDS = (3, 8, 21)


def test_the_same_seed_paints_the_same_scene() -> None:
    first, second = make_samples((5, 1)), make_samples((5, 1))
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.targets, b.targets)


def test_other_seeds_paint_other_scenes() -> None:
    assert not np.array_equal(
        make_samples((5, 1), family="body")[0].images[0], make_samples((5, 2), family="body")[0].images[0]
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_offers_targets(family: str) -> None:
    samples = [sample for seed in SEEDS for sample in make_samples((seed,), family=family)]
    assert samples
    for sample in samples:
        assert sample.images.dtype == np.float32
        assert sample.images.shape == sample.targets.shape
        assert 0 <= sample.images.min() < sample.images.max() <= 1
        assert SMALLEST_PX <= sample.targets[0].sum() <= LARGEST_SHARE * sample.targets[0].size


STACKS = World(easy=1.0, stacks=1.0)


def test_neighbouring_cuts_are_alike_but_not_the_same() -> None:
    stacks = [s.images for seed in range(12) for s in make_samples((seed,), 1, "heart", STACKS) if len(s.images) > 1]
    assert len(stacks) > 5
    assert not any(np.array_equal(images[0], images[1]) for images in stacks)
    alike = [np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1] for images in stacks]
    pairs = itertools.pairwise(stacks)
    unlike = [np.corrcoef(a[0].ravel(), b[1].ravel())[0, 1] for a, b in pairs]
    assert np.mean(alike) > np.mean(unlike) + 0.2


def test_things_end_between_cuts_and_do_not_come_back() -> None:
    stacks = [s.targets for seed in range(40) for s in make_samples((seed,), 3, "body", STACKS)]
    there = [targets.any((1, 2)) for targets in stacks]
    ended = np.array([not cuts.all() for cuts in there])
    assert 0.05 < ended.mean() < 0.6
    assert all(cuts[0] for cuts in there)
    assert sum(bool((np.diff(cuts.astype(int)) > 0).any()) for cuts in there) < 0.1 * len(there)


def test_clear_pictures_show_their_targets_better() -> None:
    def shown(easy: float) -> float:
        world = World(easy=easy, stacks=0.0)
        return float(np.mean([s.visibility for seed in range(30) for s in make_samples((seed,), 3, world=world)]))

    assert shown(1.0) > shown(0.0) + 0.1


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


@pytest.mark.parametrize("seed", range(12))
def test_a_carried_mask_is_never_empty(target: np.ndarray, seed: int) -> None:
    carried = prompts.spoil(target, np.random.default_rng(seed))
    assert carried.dtype == np.float32
    assert 0 <= carried.min() <= carried.max() < 1.0001  # blurring rounds
    assert 0.2 * target.sum() < (carried > 0.5).sum() < 3 * target.sum()
