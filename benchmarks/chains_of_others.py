"""promptseg's slice-to-slice chain against the chains of others, with one and the same 2D predictor, in one run.

    python benchmarks/chains_of_others.py [--cases benchmarks/shared_cases.toml] [--root ../shared/data]
                                          [--model builtin] [--out out/chains] [--every 4] [--no-range]

Every fourth object by default: about five minutes on two cores; ``--every 1`` runs all.

The others are written small, from their published behaviour:

- ``litemedsam``: the box of the previous slice's mask, 3 pixels wider, is the next prompt; where the mask is empty the
  original box is used again; it stops only at the ends of the range. (bowang-lab/MedSAM, LiteMedSAM branch, CVPR24
  inference script)
- ``iou-stop``: the previous mask is carried as box and prior; the walk ends where the IoU of neighbouring masks falls
  below 0.5. (computational-cell-analytics/micro-sam, multi_dimensional_segmentation.py)
- ``same-prompt``: the prompts of the prompted slice are given on every slice. (Project-MONAI/MONAILabel, SAM2 in 3D)
- ``copy-next``: prompts are copied to the neighbouring slice only while the mask is not empty. (cornerstone3D, ai
  package)

A click adds to the prompts of its slice; each chain then runs again from all prompted slices outward, the nearest
prompted slice ruling.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from promptseg.bench.cases import read_cases
from promptseg.bench.chains import SessionChain
from promptseg.bench.command import load_bench_predictor, write_bench
from promptseg.bench.protocol3d import Rounds3D
from promptseg.bench.run import run_bench_3d
from promptseg.bench.tables import mean_tables
from promptseg.engine.carry import mask_logits
from promptseg.engine.hints import Hint, merge_hints, place
from promptseg.engine.options import EngineOptions
from promptseg.engine.slices import SliceSource
from promptseg.models.predictor import Predictor, Prior, SlicePrompts
from promptseg.prompts import Box, Plane, Point
from promptseg.volume import Volume

AXIAL = Plane.AXIAL


class OtherChain:
    """What the four have in common: prompts by slice, and a walk outward from every prompted slice."""

    title = ""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    @property
    def name(self) -> str:
        """What the tables call it."""
        return self.title

    def start(self, volume: Volume, box: Box) -> np.ndarray:
        """Segment from a box."""
        placed = place(box, volume.geometry)
        self._source = SliceSource(volume, self._predictor)
        self._limits = placed.limits or (0, volume.shape[0])
        self._hints: dict[int, Hint] = dict(placed.hints)
        self._first_box = next(iter(placed.hints.values())).prompts.box
        self._answers: dict[int, np.ndarray] = {}
        return self._run(volume)

    def click(self, point: Point) -> np.ndarray:
        """Add a click and run again."""
        for index, hint in place(point, self._source.volume.geometry).hints.items():
            self._hints[index] = merge_hints(self._hints.get(index), hint)
        return self._run(self._source.volume)

    def _run(self, volume: Volume) -> np.ndarray:
        mask = np.zeros(volume.shape, np.bool_)
        anchors = sorted(self._hints)
        for index in anchors:
            before = self._answers.get(index)
            answer = self._ask(index, self._hints[index].prompts, None if before is None else Prior(before))
            self._answers[index] = answer
            mask[index] = answer > 0
        for position, anchor in enumerate(anchors):
            low = (anchors[position - 1] + anchor) // 2 if position else self._limits[0] - 1
            high = (anchor + anchors[position + 1] + 1) // 2 if position + 1 < len(anchors) else self._limits[1]
            self._walk(mask, anchor, range(anchor - 1, low, -1))
            self._walk(mask, anchor, range(anchor + 1, high))
        return mask

    def _walk(self, mask: np.ndarray, anchor: int, steps: Sequence[int]) -> None:
        previous = anchor
        for index in steps:
            if index in self._hints:
                return
            found = self._next(index, previous, mask[previous], anchor)
            if found is None:
                return
            mask[index] = found
            previous = index

    def _ask(self, index: int, prompts: SlicePrompts, prior: Prior | None = None) -> np.ndarray:
        return self._predictor.predict(self._source.embedding(AXIAL, index), prompts, prior).logits

    def _next(self, index: int, previous: int, mask: np.ndarray, anchor: int) -> np.ndarray | None:
        """Return the mask on the next slice, or None to stop."""
        raise NotImplementedError


def box_around(mask: np.ndarray, margin: int) -> tuple[float, float, float, float]:
    """Return the half-open box of a non-empty mask, widened by ``margin`` pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        max(0, rows[0] - margin),
        max(0, columns[0] - margin),
        min(mask.shape[0], rows[-1] + 1 + margin),
        min(mask.shape[1], columns[-1] + 1 + margin),
    )


class LiteMedSAM(OtherChain):
    """Box of the previous mask + 3 px; the original box where that is empty; no stop."""

    title = "litemedsam"

    def _next(self, index: int, previous: int, mask: np.ndarray, anchor: int) -> np.ndarray:
        box = box_around(mask, 3) if mask.any() else self._first_box
        return self._ask(index, SlicePrompts(box=box)) > 0


class IouStop(OtherChain):
    """The mask as box and prior; ends where neighbouring masks overlap by less than 0.5."""

    title = "iou-stop"

    def _next(self, index: int, previous: int, mask: np.ndarray, anchor: int) -> np.ndarray | None:
        if not mask.any():
            return None
        prior = Prior(mask_logits(mask), neighbour=self._source.embedding(AXIAL, previous))
        found = self._ask(index, SlicePrompts(box=box_around(mask, 1)), prior) > 0
        union = int((found | mask).sum())
        return found if int((found & mask).sum()) >= 0.5 * union else None


class SamePrompt(OtherChain):
    """The anchor's prompts on every slice."""

    title = "same-prompt"

    def _next(self, index: int, previous: int, mask: np.ndarray, anchor: int) -> np.ndarray:
        return self._ask(index, self._hints[anchor].prompts) > 0


class CopyNext(OtherChain):
    """The anchor's prompts, slice after slice, while the answer is not empty."""

    title = "copy-next"

    def _next(self, index: int, previous: int, mask: np.ndarray, anchor: int) -> np.ndarray | None:
        return self._ask(index, self._hints[anchor].prompts) > 0 if mask.any() else None


def main() -> None:
    """Run all chains and print the means and, per case, our DSC_AUC against the best of the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, default=Path("benchmarks/shared_cases.toml"))
    parser.add_argument("--root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--out", type=Path, default=Path("out/chains"))
    parser.add_argument("--every", type=int, default=4, help="of the list's objects, in its order")
    parser.add_argument("--start", type=int, default=0, help="the first of them")
    parser.add_argument("--no-range", action="store_true", help="the box says nothing of the object's range")
    options = parser.parse_args()
    cases = [case for case in read_cases(options.cases, options.root) if 3 in case.dimensions][
        options.start :: options.every
    ]
    predictor = load_bench_predictor(options.model)
    by_slices = EngineOptions(mode="slices")
    chains = [
        SessionChain(predictor, by_slices, "promptseg"),
        *(kind(predictor) for kind in OtherChain.__subclasses__()),
    ]
    result = run_bench_3d(cases, chains, rounds=Rounds3D(with_range=not options.no_range))
    write_bench(result, options.out)
    for table in mean_tables(result, ("vessels", "modality")):
        Console().print(table)
    worst, names = [], [kind.title for kind in OtherChain.__subclasses__()]
    print("\n| case | promptseg | best of the others | difference |\n|---|---|---|---|")
    for case in dict.fromkeys(row.case.name for row in result.rows):
        scores = {row.model: row.metrics["dsc_auc"] for row in result.rows if row.case.name == case}
        ours = scores.pop("promptseg")
        best = max(scores, key=lambda name: scores[name])
        print(f"| {case} | {ours:.3f} | {scores[best]:.3f} ({best}) | {ours - scores[best]:+.3f} |")
        worst.append((ours - scores[best], case))
    means = {
        name: sum(row.metrics["dsc_auc"] for row in result.rows if row.model == name) / len(worst)
        for name in ("promptseg", *names)
    }
    print("\nmean DSC_AUC: " + ", ".join(f"{name} {mean:.3f}" for name, mean in means.items()))
    behind = [case for difference, case in worst if difference < -0.02]
    print(f"cases more than 0.02 behind the best of the others: {len(behind)} of {len(worst)}: {', '.join(behind)}")


if __name__ == "__main__":
    main()
