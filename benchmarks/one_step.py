"""One step of the walk, taken apart: what carries a mask to the next slice best?

    python benchmarks/one_step.py [--cases benchmarks/shared_cases.toml] [--root ../shared/data] [--model builtin]
                                  [--only NAME ...] [--slices 4]

From a slice with a true, a shrunk and a dilated mask to the slice beside it: Dice of the model's carried answer, of its
answer to the mask's box, of the mask copied and moved along with the image, and of all joined as the engine joins them.
About two minutes for the nine objects of the default list on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from promptseg.bench.cases import read_cases
from promptseg.bench.command import load_bench_predictor
from promptseg.bench.loading import CaseLoader
from promptseg.engine.carry import Carrier, grown, mask_logits
from promptseg.engine.options import EngineOptions
from promptseg.engine.plan import Step
from promptseg.engine.slices import LabelCanvas, SliceSource
from promptseg.models.predictor import Prior, SlicePrompts
from promptseg.prompts import Plane
from promptseg.score.metrics import dice
from promptseg.volume.label_voxels import Layers

AXIAL = Plane.AXIAL
ONLY = (
    "ct_trunk/right kidney",
    "ct_trunk/stomach",
    "ct_trunk/pancreas",
    "ct_trunk/vertebra L2",
    "ct_trunk/aorta",
    "ct_trunk/left hip",
    "ct_trunk/left autochthon",
    "mr_spine/middle vertebra",
    "mr_spine/lower disc",
)
WAYS = ("copied", "moved", "carried", "box", "joined")
KINDS = ("true", "shrunk", "dilated")


def changed(mask: np.ndarray, kind: str) -> np.ndarray:
    """Return the mask (h, w) as a walk may have left it."""
    if kind == "true":
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3) if kind == "shrunk" else (5, 5))
    work = cv2.erode if kind == "shrunk" else cv2.dilate
    return work(mask.astype(np.uint8), disc) > 0


def step(carrier: Carrier, canvas: LabelCanvas, front: np.ndarray, source: int, index: int) -> dict[str, np.ndarray]:
    """Return the masks that each way gives on slice ``index``."""
    where = Step(index, source)
    predictor, embedding = carrier._predictor, canvas.embedding(index)
    shape, _, allowed = carrier._expected(where, front, source)
    moved = (shape > 0) & allowed
    prior = Prior(mask_logits(front), neighbour=canvas.embedding(source))
    box = carrier._box(moved if moved.any() else front)
    joined, _ = carrier.find(where, front, mask_logits(front), source, known=True)
    return {
        "copied": front,
        "moved": moved,
        "carried": predictor.predict(embedding, SlicePrompts(), prior).mask & allowed,
        "box": predictor.predict(embedding, SlicePrompts(box=box)).mask & allowed,
        "joined": joined.mask,
    }


def main() -> None:
    """Print mean Dice by way and kind of the mask that is carried."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, default=Path("benchmarks/shared_cases.toml"))
    parser.add_argument("--root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--only", nargs="*", default=list(ONLY))
    parser.add_argument("--slices", type=int, default=4)
    options = parser.parse_args()
    predictor, load = load_bench_predictor(options.model), CaseLoader()
    found: dict[tuple[str, str], list[float]] = {}
    for case in read_cases(options.cases, options.root):
        if case.name not in options.only:
            continue
        task = load.load_volume(case)
        layers = Layers(task.truth.shape, "overwrite")
        canvas = LabelCanvas(SliceSource(task.volume, predictor), AXIAL, layers, 1)
        present = np.flatnonzero(task.truth.any(axis=(1, 2)))
        for at in np.linspace(0, len(present) - 2, options.slices).round().astype(int):
            source, index = int(present[at]), int(present[at + 1])
            for kind in KINDS:
                front = changed(task.truth[source], kind)
                if not front.any() or not grown(front, 20.0, canvas.spacing_mm).any():
                    continue
                carrier = Carrier(canvas, predictor, EngineOptions(), source, task.truth[source])
                for way, mask in step(carrier, canvas, front, source, index).items():
                    found.setdefault((way, kind), []).append(dice(task.truth[index], mask))
    print("| way | " + " | ".join(KINDS) + " | all |\n|---|" + "---|" * (len(KINDS) + 1))
    for way in WAYS:
        means = [float(np.mean(found[way, kind])) for kind in KINDS]
        print(f"| {way} | " + " | ".join(f"{mean:.3f}" for mean in (*means, float(np.mean(means)))) + " |")


if __name__ == "__main__":
    main()
