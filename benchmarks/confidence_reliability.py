"""Does a slice's confidence say what share of it is right? Reliability over carried slices of real objects.

    python benchmarks/confidence_reliability.py [--cases benchmarks/shared_cases.toml] [--root ../shared/data]
                                                [--model builtin] [--every 4] [--start 0] [--fit]

After a box and two clicks: every carried slice's confidence against its true Dice, in ten bins, with the expected
calibration error (the mean distance of both, weighted by bin) and their rank correlation. Beside it the same for the
plain product of the measures, which is not calibrated. ``--fit`` fits the map's three constants on the volumes whose
number in the list is even and reports all figures on the others, which it has not seen. About four minutes on two
cores with every fourth object.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.stats import spearmanr

from promptseg.bench.cases import read_cases
from promptseg.bench.command import load_bench_predictor
from promptseg.bench.loading import CaseLoader
from promptseg.bench.protocol3d import box_prompt
from promptseg.bench.simulate import error_click
from promptseg.engine.checks import LEAST, Carried, step_quality
from promptseg.engine.options import EngineOptions
from promptseg.prompts import Point
from promptseg.score.metrics import dice
from promptseg.session.session import Session

CLICKS, BINS = 2, 10


@dataclass(frozen=True)
class Seen:
    """One carried slice: which volume it is of, what was measured, its confidence and its true Dice."""

    volume: int
    step: float
    trust: float
    sure: float
    right: float


def step_of(record: Carried) -> float:
    """Return the step's quality again from what is stored."""
    return step_quality(record.area_ratio, record.overlap, record.similarity, record.score, record.agreement)


def collect(options: argparse.Namespace) -> tuple[list[Seen], int]:
    """Run the objects; return all carried slices and how many objects there were."""
    predictor, load, seen = load_bench_predictor(options.model), CaseLoader(), list[Seen]()
    cases = [case for case in read_cases(options.cases, options.root) if 3 in case.dimensions]
    volumes = list(dict.fromkeys(case.name.partition("/")[0] for case in cases))
    cases = cases[options.start :: options.every]
    for case in cases:
        task = load.load_volume(case)
        session = Session(task.volume, predictor, EngineOptions(mode="slices"))
        session.add(box_prompt(task.truth, with_range=True))
        for _ in range(CLICKS):
            click = error_click(task.truth, session.mask(), task.volume.geometry.spacing_zyx)
            if click is not None:
                z, y, x = (float(v) for v in click.index)
                session.add(Point(voxel=(z, y, x), positive=click.positive))
        mask, volume = session.mask(), volumes.index(case.name.partition("/")[0])
        for item in session.review():
            right = dice(task.truth[item.index], mask[item.index])
            seen.append(Seen(volume, step_of(item.measured), item.measured.trust, item.confidence, right))
    return seen, len(cases)


def features(seen: list[Seen]) -> np.ndarray:
    """Return (n, 3): one, the step's log odds and the trust's logarithm, as ``checks.confidence`` reads them."""
    step, trust = (np.clip([getattr(s, name) for s in seen], LEAST, 1 - LEAST) for name in ("step", "trust"))
    return np.stack([np.ones(len(step)), np.log(step / (1 - step)), np.log(trust)], axis=1)


def fitted(seen: list[Seen]) -> np.ndarray:
    """Return the constants of least cross entropy against true Dice; none of the weights may be negative.

    Every volume counts alike, however many slices it has.
    """
    x, y = features(seen), np.array([s.right for s in seen])
    volumes, places = np.unique([s.volume for s in seen], return_inverse=True)
    weight = (1 / np.bincount(places) / len(volumes))[places]

    def loss(w: np.ndarray) -> float:
        odds = x @ w
        return float((weight * (np.logaddexp(0, odds) - y * odds)).sum())

    return minimize(loss, np.array([0.0, 1.0, 0.2]), bounds=[(None, None), (0, None), (0, None)]).x


def expected_error(sure: np.ndarray, right: np.ndarray, *, table: bool = False) -> float:
    """Return the expected calibration error; print its bins where asked."""
    bins, error = np.minimum((sure * BINS).astype(int), BINS - 1), 0.0
    if table:
        print("| confidence | slices | mean confidence | mean Dice |\n|---|---|---|---|")
    for at in np.unique(bins):
        here = bins == at
        error += float(here.mean() * abs(sure[here].mean() - right[here].mean()))
        if table:
            print(f"| {at / BINS:.1f} | {here.sum()} | {sure[here].mean():.2f} | {right[here].mean():.2f} |")
    return error


def report(title: str, sure: np.ndarray, right: np.ndarray, *, table: bool = False) -> None:
    """Print one line of figures."""
    error, rank = expected_error(sure, right, table=table), spearmanr(sure, right).statistic
    print(f"{title}: expected calibration error {error:.3f}, rank correlation {rank:.2f}, {len(sure)} slices")


def main() -> None:
    """Print the reliability table, and the fit where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, default=Path("benchmarks/shared_cases.toml"))
    parser.add_argument("--root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    seen, objects = collect(options)
    print(f"{objects} objects of {len({s.volume for s in seen})} volumes")
    if options.fit:
        learnt = fitted([s for s in seen if s.volume % 2 == 0])
        print(f"constants fitted on even volumes: {learnt.round(2).tolist()}; on all: {fitted(seen).round(2).tolist()}")
        seen = [s for s in seen if s.volume % 2 == 1]
        right = np.array([s.right for s in seen])
        report("held out, with them", 1 / (1 + np.exp(-features(seen) @ learnt)), right)
    right = np.array([s.right for s in seen])
    report("plain step quality", np.array([s.step for s in seen]), right)
    report("confidence as shipped", np.array([s.sure for s in seen]), right, table=True)


if __name__ == "__main__":
    main()
