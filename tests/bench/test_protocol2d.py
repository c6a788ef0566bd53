"""The 2D protocol with predictors whose results are known in advance."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench_phantom import KnownPredictor

from promptseg.bench.baselines import BoxFillPredictor, GrabCutPredictor
from promptseg.bench.cases import Case, read_cases
from promptseg.bench.loading import CaseLoader, SliceTask
from promptseg.bench.protocol2d import COLUMNS_2D, Rounds, clicks_needed, run_slice
from promptseg.bench.run import BenchProgress, run_bench
from promptseg.errors import ModelError
from promptseg.models.predictor import Embedding, Prediction, Predictor, Prior, SliceImage, SlicePrompts


def bar_task(shape: tuple[int, int] = (30, 47), spacing: tuple[float, float] = (1.5, 0.8)) -> SliceTask:
    """A bright bar of rows 10 to 19, columns 10 to 39 on a dark ground: 300 px, 16 columns of it in the right half."""
    truth = np.zeros(shape, bool)
    truth[10:20, 10:40] = True
    pixels = np.where(truth, np.float32(0.9), np.float32(0.1))
    return SliceTask(Case("bar", Path("i"), Path("l")), SliceImage(pixels, spacing), truth)


def test_an_oracle_is_perfect_after_one_click() -> None:
    oracle = KnownPredictor("truth")
    row = run_slice(oracle, bar_task())
    assert set(row.metrics) == set(COLUMNS_2D)
    assert row.curves["dice"] == (1.0,) * 10
    for column in ("dice@1", "dice@10", "dice@box", "dice@scribble", "dice@stroke-click", "noc@85", "noc@90"):
        assert row.metrics[column] == 1.0
    assert row.metrics["score_error"] == 0.0
    assert len(oracle.shown) == 4  # one click, the box, the scribble, a click on it: nothing is left to correct


def test_an_empty_answer_is_worth_nothing() -> None:
    row = run_slice(KnownPredictor("nothing", score=0.25), bar_task())
    assert row.curves["dice"] == (0.0,) * 10
    assert row.metrics["dice@box"] == row.metrics["dice@scribble"] == 0.0
    assert row.metrics["noc@85"] == row.metrics["noc@90"] == 10
    assert row.metrics["score_error"] == 0.25


def test_a_model_that_sees_half_gets_the_dice_of_half() -> None:
    row = run_slice(KnownPredictor("half"), bar_task())
    right = 40 - 47 // 2  # columns 23 to 39 of the bar
    assert row.metrics["dice@5"] == pytest.approx(2 * 10 * right / (300 + 10 * right))


def test_prompts_are_simulated_round_by_round_with_the_last_answer_as_prior() -> None:
    model = KnownPredictor("half")
    run_slice(model, bar_task(), Rounds(clicks=3, after_box=1))
    first, second, third, box, box_click, scribble, on_it = model.shown
    assert first.prior is None
    # 15 mm high, 24 mm wide: the line midway, rows 14 and 15; the bar's middle column is 24.5
    assert first.prompts.points[0][0] in (14, 15)
    assert first.prompts.points[0][1] in (24, 25)
    assert first.prompts.positive.tolist() == [True]
    assert second.prior is not None
    assert second.prior.neighbour is None
    assert second.prompts.points[1][1] < 23  # the missed half
    assert third.prompts.positive.tolist() == [True] * 3
    assert box.prior is None
    assert box.prompts.box == (10.0, 10.0, 20.0, 40.0)
    assert box_click.prompts.box == (10.0, 10.0, 20.0, 40.0)
    assert len(box_click.prompts.points) == 1
    assert box_click.prior is not None
    assert scribble.prior is None
    assert scribble.prompts.scribble is not None
    assert set(np.unique(scribble.prompts.scribble)) == {-1, 0, 1}
    assert on_it.prior is None
    assert on_it.prompts.positive.tolist() == [True]
    y, x = on_it.prompts.points[0].astype(int)
    assert scribble.prompts.scribble[y, x] == 1


def test_a_persons_strokes_take_the_place_of_simulated_ones() -> None:
    model, task = KnownPredictor("half"), bar_task()
    strokes = np.zeros(task.truth.shape, np.int8)
    strokes[12, 30:34] = 1
    strokes[3, 5:9] = -1
    run_slice(model, replace(task, strokes=strokes), Rounds(clicks=1))
    scribble, on_it = model.shown[-2:]
    assert scribble.prompts.scribble is not None
    assert np.array_equal(scribble.prompts.scribble, strokes)
    y, x = on_it.prompts.points[0].astype(int)
    assert strokes[y, x] == 1


def test_clicks_needed() -> None:
    assert clicks_needed([0.2, 0.85, 0.7, 0.9], 0.85) == 2
    assert clicks_needed([0.2, 0.3, 0.4], 0.85) == 3
    assert clicks_needed([0.95], 0.85) == 1


def test_an_answer_on_another_grid_is_refused() -> None:
    class Wrong(KnownPredictor):
        def predict(self, embedding: Embedding, prompts: SlicePrompts, prior: Prior | None = None) -> Prediction:
            return Prediction(np.zeros((3, 4), np.float32), 0.5)

    with pytest.raises(ModelError, match=r"\(30, 47\)"):
        run_slice(Wrong("truth"), bar_task())


def test_a_run_goes_on_after_a_failure_and_tells_where_it_is(phantom: Path) -> None:
    class Fails(KnownPredictor):
        def embed(self, image: SliceImage) -> Embedding:
            raise ModelError("broken")

    (phantom / "cases.toml").write_text(
        (phantom / "cases.toml").read_text().replace("value = 7", "value = 99"), encoding="utf-8"
    )
    seen: list[BenchProgress] = []
    result = run_bench(
        read_cases(phantom / "cases.toml"),
        [Fails("truth"), KnownPredictor("truth", low=0.8)],
        rounds=Rounds(clicks=2),
        progress=seen.append,
    )
    assert [(row.case.name, row.metrics["dice@box"]) for row in result.rows] == [("phantom/ball", 1.0)]
    assert [(item.case.name, item.model) for item in result.skipped] == [
        ("phantom/ball", "truth"),
        ("phantom/tube", ""),
    ]
    assert "broken" in result.skipped[0].reason
    assert [step.done for step in seen] == [0, 1, 4]
    assert {step.total for step in seen} == {4}
    assert "dice@3" not in result.rows[0].metrics


def test_the_same_run_gives_the_same_numbers(phantom: Path) -> None:
    cases = read_cases(phantom / "cases.toml")

    def numbers() -> list[tuple[float, ...]]:
        result = run_bench(cases, [GrabCutPredictor(), BoxFillPredictor()], rounds=Rounds(clicks=4, after_box=2))
        return [(*row.curves["dice"], *row.curves["box_dice"], row.metrics["dice@scribble"]) for row in result.rows]

    assert numbers() == numbers()


@pytest.mark.parametrize("baseline", [GrabCutPredictor(), BoxFillPredictor()])
def test_baselines_follow_the_contract(baseline: Predictor) -> None:
    task = bar_task()
    embedding = baseline.embed(task.image)
    points, labels = np.array([[14, 24], [3, 3]], np.float32), np.array([True, False])
    before = Prior(np.where(task.truth, 3, -3).astype(np.float32))
    for prompts in (SlicePrompts(points, labels), SlicePrompts(box=(9.6, 10.2, 20.0, 40.0)), SlicePrompts()):
        for prior in (None, before, Prior(before.logits, embedding)):
            answer = baseline.predict(embedding, prompts, prior)
            assert answer.logits.shape == task.truth.shape
            assert answer.logits.dtype == np.float32
            assert 0 <= answer.score <= 1
            if len(prompts.points):
                assert answer.mask[14, 24]
                assert not answer.mask[3, 3]
    assert not baseline.predict(embedding, SlicePrompts()).mask.any()


def test_box_fill_fills_the_box() -> None:
    row = run_slice(BoxFillPredictor(), bar_task())
    assert row.metrics["dice@box"] == 1.0  # the truth is a box
    assert math.isclose(row.metrics["score_error"], float(np.mean([abs(0.5 - reached) for _, reached in row.scores])))


def test_grabcut_finds_a_bright_bar() -> None:
    row = run_slice(GrabCutPredictor(), bar_task())
    assert row.metrics["dice@box"] > 0.95
    assert row.metrics["dice@10"] > 0.95


def test_a_slice_of_the_phantom_with_each_baseline(phantom: Path) -> None:
    task = CaseLoader().load_slice(read_cases(phantom / "cases.toml")[0])
    row = run_slice(BoxFillPredictor(), task)
    share = task.truth.sum() / np.prod([np.ptp(np.nonzero(task.truth)[axis]) + 1 for axis in (0, 1)])
    assert row.metrics["dice@box"] == pytest.approx(2 * share / (1 + share))
