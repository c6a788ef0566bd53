"""Every case, every model, one result. A case that fails is reported and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from promptseg.bench.cases import Case
from promptseg.bench.loading import CaseLoader
from promptseg.bench.protocol2d import Rounds, run_slice
from promptseg.bench.result import BenchResult, CaseResult, Skipped
from promptseg.errors import Cancelled, PromptsegError
from promptseg.models.predictor import Predictor

__all__ = ["Progress", "ProgressCallback", "run_bench"]


@dataclass(frozen=True)
class Progress:
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


ProgressCallback: TypeAlias = Callable[[Progress], None]


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
    wanted = [case for case in cases if 2 in case.dimensions]
    loader, rows, skipped = CaseLoader(), list[CaseResult](), list[Skipped]()
    for at, case in enumerate(wanted):
        try:
            task = loader.load_slice(case)
        except PromptsegError as exc:
            skipped.append(Skipped(case, "", str(exc)))
            continue
        for number, predictor in enumerate(predictors):
            _tell(progress, at * len(predictors) + number, len(wanted) * len(predictors), case.name, predictor.model_id)
            try:
                rows.append(run_slice(predictor, task, rounds))
            except Cancelled:
                raise
            except PromptsegError as exc:
                skipped.append(Skipped(case, predictor.model_id, str(exc)))
    total = len(wanted) * len(predictors)
    _tell(progress, total, total, "", "")
    return BenchResult(tuple(rows), tuple(skipped))


def _tell(progress: ProgressCallback | None, done: int, total: int, case: str, model: str) -> None:
    if progress is not None:
        progress(Progress(done, total, case, model))
