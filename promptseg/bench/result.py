"""What a benchmark found: one row per object and model, and the means over them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from promptseg.bench.cases import Case

__all__ = ["GROUPINGS", "BenchResult", "CaseResult", "Skipped", "calibration_error", "mean_of"]

Pair: TypeAlias = tuple[float, float]
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class CaseResult:
    """One model on one object.

    Attributes:
        case: the object.
        model: the model's id, or the chain's name in 3D.
        dimension: 2 or 3.
        metrics: numbers by column name, e.g. ``{"dice@1": 0.71, "noc@85": 4.0}``; see the protocol's module.
        curves: numbers by round, e.g. ``{"dice": (0.71, 0.80, ...)}``.
        scores: (predicted quality, Dice reached) of every answer.
    """

    case: Case
    model: str
    dimension: int
    metrics: dict[str, float]
    curves: dict[str, tuple[float, ...]] = field(default_factory=dict)
    scores: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class Skipped:
    """A case that could not run, and why. ``model`` is empty where the case itself could not be read."""

    case: Case
    model: str
    reason: str


def _everything(_case: Case) -> str:
    return "all"


GROUPINGS: dict[str, Callable[[Case], str]] = {
    "all": _everything,
    "vessels": lambda case: "thin vessels" if case.is_thin_vessel else "not vessels",
    "kind": lambda case: case.kind,
    "modality": lambda case: case.modality,
    "set": lambda case: case.set,
}


@dataclass(frozen=True)
class BenchResult:
    """All rows of one run.

    Attributes:
        rows: in the order in which they were run: case by case, model by model.
        skipped: what could not run.
    """

    rows: tuple[CaseResult, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """Every model, in the order of its first row."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    @property
    def has_sets(self) -> bool:
        """True where cases name the data set that they come from."""
        return any(row.case.set for row in self.rows)

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Every protocol that was run, of 2 and 3."""
        return tuple(sorted({row.dimension for row in self.rows}))

    def of(self, dimension: int, model: str | None = None) -> tuple[CaseResult, ...]:
        """Return the rows of one protocol, of one model or of all."""
        return tuple(row for row in self.rows if row.dimension == dimension and model in (None, row.model))

    def groups(self, dimension: int, grouping: str) -> dict[str, tuple[CaseResult, ...]]:
        """Return the rows of one protocol by group; ``grouping`` is a key of ``GROUPINGS``.

        Where thin vessels are kept apart, all objects together follow as a third group; sets are followed by their
        means, every set counting the same.
        """
        key, groups = GROUPINGS[grouping], dict[str, list[CaseResult]]()
        for row in self.of(dimension):
            groups.setdefault(key(row.case), []).append(row)
        sorted_groups = {name: tuple(groups[name]) for name in sorted(groups)}
        if grouping == "vessels" and len(groups) > 1:
            sorted_groups["all"] = self.of(dimension)
        if grouping == "set":
            sorted_groups |= _means_of_sets(sorted_groups)
        return sorted_groups

    def calibration(self, model: str) -> Pair:
        """Return how far a model's predicted quality lies off the Dice it reached, over all its answers.

        Returns:
            (mean absolute error, expected calibration error); NaN without answers.
        """
        pairs = [pair for row in self.rows if row.model == model for pair in row.scores]
        return mean_of(abs(score - reached) for score, reached in pairs), calibration_error(pairs)


def _means_of_sets(sets: dict[str, tuple[CaseResult, ...]]) -> dict[str, tuple[CaseResult, ...]]:
    """Return groups of one row per set and model, made of that set's means; sets of thin vessels kept apart."""
    apart = dict[str, list[CaseResult]]()
    for name, rows in sets.items():
        group = "mean of sets, thin vessels" if rows[0].case.is_thin_vessel else "mean of sets"
        for model in dict.fromkeys(row.model for row in rows):
            own = [row for row in rows if row.model == model]
            means = {key: mean_of(row.metrics.get(key, math.nan) for row in own) for key in own[0].metrics}
            apart.setdefault(group, []).append(
                CaseResult(replace(own[0].case, name=name), model, own[0].dimension, means)
            )
    return {group: tuple(rows) for group, rows in apart.items()}


def mean_of(values: Iterable[float]) -> float:
    """Return the mean of the numbers that are not NaN; NaN without any."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def calibration_error(pairs: Sequence[Pair]) -> float:
    """Return the expected calibration error of (predicted, reached) pairs in [0, 1].

    The pairs are sorted into ten bins of predicted quality; the error is the mean over bins, weighted by their number
    of pairs, of |mean predicted - mean reached| (Guo et al., "On calibration of modern neural networks", 2017).
    """
    if not pairs:
        return math.nan
    bins: dict[int, list[Pair]] = {}
    for predicted, reached in pairs:
        index = min(CALIBRATION_BINS - 1, max(0, int(predicted * CALIBRATION_BINS)))
        bins.setdefault(index, []).append((predicted, reached))
    gaps = (abs(sum(p for p, _ in each) - sum(r for _, r in each)) for each in bins.values())
    return sum(gaps) / len(pairs)
