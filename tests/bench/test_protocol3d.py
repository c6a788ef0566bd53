"""The 3D protocol with chains whose results are known in advance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
from bench_phantom import BALL, SPACING, KnownPredictor, labels_array

from promptseg.bench.cases import read_cases
from promptseg.bench.chains import Chain, SessionChain
from promptseg.bench.loading import CaseLoader, VolumeTask
from promptseg.bench.memory import PeakMemory
from promptseg.bench.protocol3d import (
    COLUMNS_3D,
    Rounds3D,
    area_under_curve,
    box_prompt,
    run_volume,
    tolerance_mm,
)
from promptseg.bench.run import run_bench_3d
from promptseg.errors import ModelError, PromptError
from promptseg.prompts import Box, Point
from promptseg.volume import Volume


class ScriptedChain:
    """Gives the masks of a list, one per call, and keeps what it was asked."""

    name = "scripted"

    def __init__(self, masks: list[np.ndarray]) -> None:
        self.masks, self.boxes, self.points = iter(masks), list[Box](), list[Point]()

    def start(self, volume: Volume, box: Box) -> np.ndarray:
        self.boxes.append(box)
        return next(self.masks)

    def click(self, point: Point) -> np.ndarray:
        self.points.append(point)
        return next(self.masks)


@pytest.fixture
def task(phantom: Path) -> VolumeTask:
    return CaseLoader().load_volume(read_cases(phantom / "cases.toml")[0])


def test_a_perfect_chain_gets_four(task: VolumeTask) -> None:
    chain = ScriptedChain([task.truth])
    assert isinstance(chain, Chain)
    row = run_volume(chain, task)
    assert set(row.metrics) == set(COLUMNS_3D)
    assert row.metrics["dsc_auc"] == row.metrics["nsd_auc"] == 4.0
    assert row.metrics["dice@start"] == row.metrics["dice@final"] == row.metrics["nsd@final"] == 1.0
    assert chain.points == []  # nothing to correct


def test_an_empty_chain_gets_nothing_and_positive_clicks(task: VolumeTask) -> None:
    chain = ScriptedChain([np.zeros_like(task.truth)] * 6)
    row = run_volume(chain, task)
    assert row.metrics["dsc_auc"] == row.metrics["nsd_auc"] == row.metrics["dice@final"] == 0.0
    assert len(chain.points) == 5
    assert {point.positive for point in chain.points} == {True}
    assert chain.points[0].voxel == (4.0, 12.0, 13.0)  # the ball's centre is its deepest voxel


def test_curves_areas_and_signs_follow_the_masks(task: VolumeTask) -> None:
    truth = task.truth
    upper, spilled = truth.copy(), truth.copy()
    upper[:4] = False  # the slices below the centre are missed
    spilled[0:3, 20:25, 25:33] = True
    chain = ScriptedChain([upper, spilled, truth])
    row = run_volume(chain, task)
    dices = [2 * upper.sum() / (upper.sum() + truth.sum()), 2 * truth.sum() / (spilled.sum() + truth.sum()), 1.0]
    assert row.curves["dice"] == pytest.approx((*dices, 1.0, 1.0, 1.0))
    assert row.metrics["dsc_auc"] == pytest.approx((dices[1] + 1) / 2 + 3)
    first, second = chain.points
    assert first.positive
    assert first.voxel is not None
    assert first.voxel[0] < 4
    assert (second.positive, second.voxel) == (False, (1.0, 22.0, 28.0))  # of 3 x 5 x 8 voxels, the first of the two


def test_area_under_curve_by_hand() -> None:
    assert area_under_curve([1, 1, 1, 1, 1]) == 4.0
    assert area_under_curve([0.0, 0.5, 1.0]) == pytest.approx(0.25 + 0.75)
    assert area_under_curve([0.7]) == 0.0


def test_the_tolerance_is_two_mm_or_the_smallest_spacing() -> None:
    assert tolerance_mm((6.5, 0.8, 0.8)) == 2.0
    assert tolerance_mm((3.0, 3.5, 4.0)) == 3.0


def test_the_box_lies_on_the_middle_slice_and_spans_the_range(task: VolumeTask) -> None:
    ball = np.argwhere(task.truth[4])
    (y0, x0), (y1, x1) = ball.min(axis=0), ball.max(axis=0) + 1
    low, high = np.argwhere(task.truth)[:, 0].min(), np.argwhere(task.truth)[:, 0].max() + 1
    assert box_prompt(task.truth, with_range=True).voxel == ((low, y0, x0), (high, y1, x1))
    assert box_prompt(task.truth, with_range=False).voxel == ((4, y0, x0), (5, y1, x1))


def test_a_waist_in_the_middle_keeps_the_box_and_a_gap_moves_it() -> None:
    truth = np.zeros((9, 12, 15), bool)
    truth[1:8, 5:7, 6:8] = True
    truth[5, 2:10, 3:12] = True  # the fullest slice near the middle, which is 4
    assert box_prompt(truth, with_range=True).voxel == ((1, 5, 6), (8, 7, 8))
    truth[4] = False
    assert box_prompt(truth, with_range=True).voxel == ((5, 2, 3), (6, 10, 12))


def test_the_chain_is_asked_with_or_without_the_range(task: VolumeTask) -> None:
    for with_range, thickness in ((True, np.any(task.truth, axis=(1, 2)).sum()), (False, 1)):
        chain = ScriptedChain([task.truth])
        run_volume(chain, task, Rounds3D(clicks=0, with_range=with_range))
        assert chain.boxes[0].voxel is not None
        low, high = chain.boxes[0].voxel
        assert high[0] - low[0] == thickness


def test_a_mask_of_another_shape_is_refused(task: VolumeTask) -> None:
    with pytest.raises(ModelError, match="scripted"):
        run_volume(ScriptedChain([np.zeros((2, 3, 4), bool)]), task)


def test_a_session_with_a_model_that_sees_the_object_finds_it(phantom: Path) -> None:
    chain = SessionChain(KnownPredictor("truth", low=0.8), name="ours")
    with pytest.raises(PromptError, match="start"):
        chain.click(Point(voxel=(1.0, 2.0, 3.0)))
    (row,) = run_bench_3d(read_cases(phantom / "cases.toml")[:1], [chain]).rows
    assert row.model == "ours"
    assert row.metrics["dice@start"] > 0.9
    assert row.metrics["dsc_auc"] > 3.6


def test_time_and_memory_are_those_of_the_chain(task: VolumeTask) -> None:
    class Hungry(ScriptedChain):
        def start(self, volume: Volume, box: Box) -> np.ndarray:
            block = np.ones(unused + 64 * 2**20, np.uint8)  # 64 MiB more than ever, touched
            return super().start(volume, box) & bool(block[-1])

    with PeakMemory() as before:
        pass
    unused = max(0, int(before.peak_mib * 2**20) - psutil.Process().memory_info().rss)  # of what the process once held
    row = run_volume(Hungry([task.truth]), task)
    assert row.metrics["peak_mib"] >= before.peak_mib + 32
    assert row.metrics["seconds"] > 0


def test_the_phantom_is_anisotropic() -> None:
    assert len(set(SPACING)) == 3
    assert len(set((labels_array() == BALL).shape)) == 3
