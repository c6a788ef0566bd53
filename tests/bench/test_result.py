"""Means, groups and calibration, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from promptseg.bench.cases import Case
from promptseg.bench.result import BenchResult, CaseResult, calibration_error, mean_of


def row(name: str, model: str, value: float, kind: str = "organ", modality: str = "CT") -> CaseResult:
    case = Case(name, Path("i"), Path("l"), kind=kind, modality=modality)
    return CaseResult(case, model, 2, {"dice@1": value}, {"dice": (value,)}, ((0.5, value),))


RESULT = BenchResult(
    (
        row("a", "m", 0.2),
        row("a", "n", 0.4),
        row("b", "m", 0.6, modality="MR"),
        row("b", "n", 0.8, modality="MR"),
        row("c", "m", 0.1, kind="thin vessel"),
        row("c", "n", 0.3, kind="thin vessel"),
    )
)


def means(grouping: str, model: str) -> dict[str, float]:
    groups = RESULT.groups(2, grouping)
    return {name: mean_of(r.metrics["dice@1"] for r in rows if r.model == model) for name, rows in groups.items()}


def test_means_by_group() -> None:
    assert RESULT.models == ("m", "n")
    assert RESULT.dimensions == (2,)
    assert means("all", "m") == pytest.approx({"all": 0.3})
    assert means("vessels", "n") == pytest.approx({"not vessels": 0.6, "thin vessels": 0.3, "all": 0.5})
    assert means("modality", "m") == pytest.approx({"CT": 0.15, "MR": 0.6})
    assert means("kind", "m") == pytest.approx({"organ": 0.4, "thin vessel": 0.1})


def test_every_set_counts_the_same_and_vessels_apart() -> None:
    sets = (("a", "large", 0.2), ("b", "large", 0.4), ("c", "large", 0.6), ("d", "small", 0.8))
    rows = [
        replace(row(name, "m", value), case=replace(row(name, "m", value).case, set=own)) for name, own, value in sets
    ]
    vessel = row("e", "m", 0.1, kind="thin vessel")
    result = BenchResult((*rows, replace(vessel, case=replace(vessel.case, set="trees"))))
    assert result.has_sets
    assert not RESULT.has_sets
    groups = result.groups(2, "set")
    found = {name: mean_of(r.metrics["dice@1"] for r in own) for name, own in groups.items()}
    expected = {"large": 0.4, "small": 0.8, "trees": 0.1, "mean of sets": 0.6, "mean of sets, thin vessels": 0.1}
    assert found == pytest.approx(expected)
    assert len(groups["mean of sets"]) == 2


def test_unknown_numbers_do_not_enter_a_mean() -> None:
    assert mean_of([0.5, math.nan, 1.0]) == 0.75
    assert math.isnan(mean_of([]))


def test_calibration_by_hand() -> None:
    # Two bins: predicted 0.92 and 0.98 reached 0.85 and 0.95 (gap 0.05, two pairs); 0.31 reached 0.51 (gap 0.2).
    assert calibration_error([(0.92, 0.85), (0.98, 0.95), (0.31, 0.51)]) == pytest.approx((2 * 0.05 + 0.2) / 3)
    assert calibration_error([(1.0, 1.0), (0.0, 0.0)]) == 0.0
    assert math.isnan(calibration_error([]))
    mean_error, expected = RESULT.calibration("m")  # 0.5 predicted; 0.2, 0.6 and 0.1 reached
    assert mean_error == pytest.approx((0.3 + 0.1 + 0.4) / 3)
    assert expected == pytest.approx(0.5 - 0.3)
