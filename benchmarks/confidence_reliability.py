"""Does a slice's confidence say what share of it is right? Reliability over carried slices of real objects.

    python benchmarks/confidence_reliability.py [--cases benchmarks/shared_cases.toml] [--root ../shared/data]
                                                [--model builtin] [--every 4]

After a box and two clicks: every carried slice's confidence against its true Dice, in ten bins, with the expected
calibration error (the mean distance of both, weighted by bin) and their rank correlation. About four minutes on two
cores with every fourth object.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from promptseg.bench.cases import read_cases
from promptseg.bench.command import load_bench_predictor
from promptseg.bench.loading import CaseLoader
from promptseg.bench.protocol3d import box_prompt
from promptseg.bench.simulate import error_click
from promptseg.metrics import dice
from promptseg.prompts import Point
from promptseg.session import Session

CLICKS, BINS = 2, 10


def main() -> None:
    """Print the reliability table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, default=Path("benchmarks/shared_cases.toml"))
    parser.add_argument("--root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--every", type=int, default=4)
    options = parser.parse_args()
    predictor, load = load_bench_predictor(options.model), CaseLoader()
    pairs: list[tuple[float, float]] = []
    cases = [case for case in read_cases(options.cases, options.root) if 3 in case.dimensions][:: options.every]
    for case in cases:
        task = load.load_volume(case)
        session = Session(task.volume, predictor)
        session.add(box_prompt(task.truth, with_range=True))
        for _ in range(CLICKS):
            click = error_click(task.truth, session.mask(), task.volume.geometry.spacing_zyx)
            if click is not None:
                z, y, x = (float(v) for v in click.index)
                session.add(Point(voxel=(z, y, x), positive=click.positive))
        mask = session.mask()
        pairs += [(item.confidence, dice(task.truth[item.index], mask[item.index])) for item in session.review()]
    sure, right = np.array(pairs).T
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    print("| confidence | slices | mean confidence | mean Dice |\n|---|---|---|---|")
    error = 0.0
    for at in range(BINS):
        here = bins == at
        if here.any():
            error += here.mean() * abs(float(sure[here].mean() - right[here].mean()))
            print(f"| {at / BINS:.1f} | {here.sum()} | {sure[here].mean():.2f} | {right[here].mean():.2f} |")
    rank = spearmanr(sure, right).statistic
    print(f"\n{len(sure)} slices of {len(cases)} objects")
    print(f"expected calibration error {error:.3f}, rank correlation {rank:.2f}")


if __name__ == "__main__":
    main()
