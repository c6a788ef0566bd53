"""The metrics against numbers worked out by hand, and against DeepMind's surface-distance."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from promptseg.errors import GeometryMismatchError
from promptseg.score import metrics


def bar(start: int, stop: int, shape: tuple[int, int] = (9, 17)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[3:6, start:stop] = True
    return mask


def ball(centre: tuple[float, ...], radius_mm: float, shape: tuple[int, ...], spacing: tuple[float, ...]) -> np.ndarray:
    grid = np.indices(shape, dtype=float)
    squared = sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, spacing, strict=True))
    return np.asarray(squared <= radius_mm**2)


def test_overlap_of_shifted_bars_is_what_counting_gives() -> None:
    a, b = bar(2, 10), bar(4, 14)  # 24 and 30 pixels, 18 in common
    assert metrics.dice(a, b) == pytest.approx(2 * 18 / 54)
    assert metrics.iou(a, b) == pytest.approx(18 / 36)
    assert metrics.volume_error(a, b) == pytest.approx(0.25)
    assert metrics.volume_error(b, a) == pytest.approx(-0.2)


@pytest.mark.parametrize("shape", [(5, 8), (3, 5, 8)])
def test_empty_masks(shape: tuple[int, ...]) -> None:
    nothing, something = np.zeros(shape, bool), np.ones(shape, bool)
    spacing = (2.0, 0.5, 1.5)[: len(shape)]
    assert metrics.dice(nothing, nothing) == metrics.iou(nothing, nothing) == 1.0
    assert metrics.nsd(nothing, nothing, spacing, 1.0) == 1.0
    assert metrics.hd95(nothing, nothing, spacing) == metrics.assd(nothing, nothing, spacing) == 0.0
    assert metrics.volume_error(nothing, nothing) == 0.0
    for a, b in ((nothing, something), (something, nothing)):
        assert metrics.dice(a, b) == metrics.iou(a, b) == 0.0
        assert metrics.nsd(a, b, spacing, 1.0) == 0.0
        assert metrics.hd95(a, b, spacing) == metrics.assd(a, b, spacing) == float("inf")
    assert metrics.volume_error(nothing, something) == float("inf")
    assert metrics.volume_error(something, nothing) == -1.0


def test_a_shift_along_one_axis_is_measured_in_that_axis_millimetres() -> None:
    a, b = np.zeros((9, 17), bool), np.zeros((9, 17), bool)
    a[:, 2:5], b[:, 4:7] = True, True  # full-height bars, 2 columns apart
    # The bars' long sides are 2 columns from each other; in rows of 3 mm and columns of 0.7 mm that is 1.4 mm.
    assert metrics.hd95(a, b, (3.0, 0.7)) == pytest.approx(1.4)
    assert metrics.nsd(a, b, (3.0, 0.7), 1.4) == pytest.approx(1.0)
    assert metrics.nsd(a, b, (3.0, 0.7), 0.6) < 0.2


def test_identical_masks_are_perfect() -> None:
    mask = ball((4, 8, 9), 7.0, (9, 15, 21), (3.0, 1.0, 0.8))
    assert metrics.nsd(mask, mask, (3.0, 1.0, 0.8), 0.0) == 1.0
    assert metrics.hd95(mask, mask, (3.0, 1.0, 0.8)) == metrics.assd(mask, mask, (3.0, 1.0, 0.8)) == 0.0


def test_two_boxes_one_inside_the_other() -> None:
    outer, inner = np.zeros((12, 30, 20), bool), np.zeros((12, 30, 20), bool)
    outer[1:11, 2:28, 1:19], inner[3:9, 4:26, 3:17] = True, True  # 2 voxels apart on every side
    spacing = (1.5, 1.5, 1.5)
    assert metrics.nsd(outer, inner, spacing, 3.0 * np.sqrt(3)) == pytest.approx(1.0)  # the corners are farthest
    assert metrics.hd95(inner, outer, spacing) <= 3.0 * np.sqrt(3)
    assert metrics.nsd(outer, inner, spacing, 2.9) == 0.0


def reference(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...], tolerance: float) -> tuple[float, float, float]:
    import surface_distance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses names that SciPy has deprecated
        found = surface_distance.compute_surface_distances(a, b, spacing)
    areas = found["surfel_areas_gt"].sum(), found["surfel_areas_pred"].sum()
    means = surface_distance.compute_average_surface_distance(found)
    return (
        surface_distance.compute_surface_dice_at_tolerance(found, tolerance),
        surface_distance.compute_robust_hausdorff(found, 95),
        (means[0] * areas[0] + means[1] * areas[1]) / sum(areas),
    )


SPACINGS = [(6.5, 0.78, 0.9), (1.0, 2.5, 0.4), (3.0, 3.0, 3.0), (0.977, 1.3)]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(4))
def test_random_masks_equal_the_reference(spacing: tuple[float, ...], seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = (7, 12, 10)[: len(spacing)]
    a, b = (random.random(shape) < share for share in (0.3, 0.15 + 0.2 * seed))
    expected = reference(a, b, spacing, spacing[-1])
    measured = metrics.surface_distances(a, b, spacing)
    assert (measured.nsd(spacing[-1]), measured.percentile(95), measured.mean()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_shapes_equal_the_reference(spacing: tuple[float, ...]) -> None:
    shape = (11, 30, 26)[: len(spacing)]
    radius = 0.35 * min(n * s for n, s in zip(shape, spacing, strict=True))
    middle = [n / 2 for n in shape]
    a = ball(tuple(middle), radius, shape, spacing)
    b = ball(tuple(m * 0.8 for m in middle), radius * 1.2, shape, spacing)
    b[0] = True  # touches the border of the image
    for tolerance in (0.0, spacing[0], 2.0, 1.5 * max(spacing)):
        expected = reference(a, b, spacing, tolerance)
        measured = metrics.surface_distances(a, b, spacing)
        assert (measured.nsd(tolerance), measured.percentile(95), measured.mean()) == pytest.approx(expected, rel=1e-5)


def test_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(GeometryMismatchError, match="one shape"):
        metrics.dice(np.zeros((3, 4), bool), np.zeros((4, 3), bool))
    with pytest.raises(GeometryMismatchError, match="bool"):
        metrics.iou(np.zeros((3, 4), np.uint8), np.zeros((3, 4), bool))  # type: ignore[arg-type]
    with pytest.raises(GeometryMismatchError, match="one spacing per axis"):
        metrics.hd95(np.ones((3, 4), bool), np.ones((3, 4), bool), (1.0, 1.0, 1.0))
