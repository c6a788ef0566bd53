"""Every case, every model, one result. A case that fails is reported and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from promptseg.bench.cases import Case
from promptseg.bench.chains import Chain
from promptseg.bench.loading import CaseLoader
from promptseg.bench.protocol2d import Rounds, run_slice
from promptseg.bench.protocol3d import Rounds3D, run_volume
from promptseg.bench.result import BenchResult, CaseResult, Skipped
from promptseg.errors import Cancelled, PromptsegError
from promptseg.models.predictor import Predictor

__all__ = ["BenchProgress", "ProgressCallback", "run_bench", "run_bench_3d"]

Task = TypeVar("Task")
Runner: TypeAlias = tuple[str, Callable[[Task], CaseResult]]


@dataclass(frozen=True)
class BenchProgress:
    """Where a run stands.

    Attributes:
        done: runs (one model on one case) that are over.
        total: runs altogether.
        case: the case that comes next; "" at the end.
        model: the model that comes next; "" at the end.
    """

    done: int
    total: int
    case: str
    model: str


ProgressCallback: TypeAlias = Callable[[BenchProgress], None]


def run_bench(
    cases: Sequence[Case],
    predictors: Sequence[Predictor],
    *,
    rounds: Rounds | None = None,
    progress: ProgressCallback | None = None,
) -> BenchResult:
    """Run the 2D protocol on every case that takes part in it.

    Args:
        cases: what to run on; those without 2 in ``dimensions`` are passed over.
        predictors: what to compare.
        rounds: how many clicks.
        progress: called before every run and at the end; what it raises stops the benchmark.
    """
    runners = [(each.model_id, lambda task, each=each: run_slice(each, task, rounds)) for each in predictors]
    return _run([case for case in cases if 2 in case.dimensions], CaseLoader().load_slice, runners, progress)


def run_bench_3d(
    cases: Sequence[Case],
    chains: Sequence[Chain],
    *,
    rounds: Rounds3D | None = None,
    progress: ProgressCallback | None = None,
) -> BenchResult:
    """Run the 3D protocol on every case that takes part in it.

    Args:
        cases: what to run on; those without 3 in ``dimensions`` are passed over.
        chains: what to compare; ``SessionChain(predictor)`` for promptseg's own.
        rounds: how many clicks, and whether the object's range is given.
        progress: called before every run and at the end; what it raises stops the benchmark.
    """
    runners = [(each.name, lambda task, each=each: run_volume(each, task, rounds)) for each in chains]
    return _run([case for case in cases if 3 in case.dimensions], CaseLoader().load_volume, runners, progress)


def _run(
    cases: Sequence[Case],
    load: Callable[[Case], Task],
    runners: Sequence[Runner[Task]],
    progress: ProgressCallback | None,
) -> BenchResult:
    rows, skipped, total = list[CaseResult](), list[Skipped](), len(cases) * len(runners)
    for at, case in enumerate(cases):
        try:
            task = load(case)
        except PromptsegError as exc:
            skipped.append(Skipped(case, "", str(exc)))
            continue
        for number, (name, run) in enumerate(runners):
            if progress is not None:
                progress(BenchProgress(at * len(runners) + number, total, case.name, name))
            try:
                rows.append(run(task))
            except Cancelled:
                raise
            except PromptsegError as exc:
                skipped.append(Skipped(case, name, str(exc)))
    if progress is not None:
        progress(BenchProgress(total, total, "", ""))
    return BenchResult(tuple(rows), tuple(skipped))
