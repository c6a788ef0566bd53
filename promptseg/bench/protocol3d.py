"""The 3D protocols: one object in one volume, one chain.

A start, then five clicks, each at the deepest point of the largest 26-connected error, positive
where the object is missed and negative where it is spilled. The start is a box on the middle slice, or a click at the
object's deepest point, or a wrong mask as an automatic segmentation gives it (``promptseg.bench.faults``). Dice and the
normalised surface Dice (NSD) after the start and after every click. ``lowered`` is the share of clicks that lower the
Dice by more than 0.02. DSC_AUC and NSD_AUC are the areas under them over the five clicks, by the trapezoid rule: 4.0 is
perfect. With the box this is the protocol of the CVPR 2025 challenge on interactive 3D segmentation.

NSD's tolerance is 2 mm, or the smallest distance between voxels where that is larger. Time and peak memory are those
of the chain's own calls.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.bench.chains import Chain
from promptseg.bench.faults import faulty
from promptseg.bench.loading import VolumeTask
from promptseg.bench.memory import PeakMemory
from promptseg.bench.result import CaseResult
from promptseg.bench.simulate import error_click, first_click, key_slice, tight_box
from promptseg.errors import ModelError, SettingsError
from promptseg.prompts import Box, MaskPrompt, Point
from promptseg.score.metrics import dice, nsd

__all__ = ["COLUMNS_3D", "STARTS", "Rounds3D", "area_under_curve", "box_prompt", "run_volume", "tolerance_mm"]

BoolArray = NDArray[np.bool_]

TOLERANCE_MM = 2.0
LOWERED = 0.02  # a click that takes more of the Dice than this has done harm
STARTS = ("box", "click", "mask")
COLUMNS_3D = (
    *("dsc_auc", "nsd_auc", "dice@start", "nsd@start", "dice@final", "nsd@final"),
    *("lowered", "seconds", "peak_mib"),
)


@dataclass(frozen=True)
class Rounds3D:
    """How the chain is prompted.

    Attributes:
        clicks: corrections after the start.
        with_range: the box also says in which slices the object lies.
        start: "box", "click" or "mask".
    """

    clicks: int = 5
    with_range: bool = True
    start: str = "box"

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise SettingsError(f"expected a start of {', '.join(STARTS)}, got {self.start!r}")


def run_volume(chain: Chain, task: VolumeTask, rounds: Rounds3D | None = None) -> CaseResult:
    """Run the whole 3D protocol.

    Returns:
        Metrics by ``COLUMNS_3D``, with curves ``dice`` and ``nsd`` (after the start and after 1, 2, ... clicks).

    Raises:
        ModelError: an answer is unusable.
    """
    rounds = rounds or Rounds3D()
    timed = _Timed(chain.name, task.truth.shape)
    spacing = task.volume.geometry.spacing_zyx
    prompt = _start(task, rounds)
    mask = timed.call(lambda: chain.start(task.volume, prompt))
    overlap, surface = [dice(task.truth, mask)], [nsd(task.truth, mask, spacing, tolerance_mm(spacing))]
    for _ in range(rounds.clicks):
        click = error_click(task.truth, mask, spacing)
        if click is not None:
            z, y, x = (float(index) for index in click.index)
            point = Point(voxel=(z, y, x), positive=click.positive)
            mask = timed.call(lambda point=point: chain.click(point))  # type: ignore[misc]  # binds this round's point
        overlap.append(dice(task.truth, mask))
        surface.append(nsd(task.truth, mask, spacing, tolerance_mm(spacing)))
    metrics = {
        "dsc_auc": area_under_curve(overlap[1:]),
        "nsd_auc": area_under_curve(surface[1:]),
        "dice@start": overlap[0],
        "nsd@start": surface[0],
        "dice@final": overlap[-1],
        "nsd@final": surface[-1],
        "lowered": sum(a - b > LOWERED for a, b in itertools.pairwise(overlap)) / max(rounds.clicks, 1),
        "seconds": timed.seconds,
        "peak_mib": timed.peak_mib,
    }
    return CaseResult(task.case, chain.name, 3, metrics, {"dice": tuple(overlap), "nsd": tuple(surface)})


def _start(task: VolumeTask, rounds: Rounds3D) -> Box | Point | MaskPrompt:
    spacing = task.volume.geometry.spacing_zyx
    if rounds.start == "mask":
        return MaskPrompt(faulty(task.truth, spacing, task.case.name))
    if rounds.start == "click":
        z, y, x = first_click(task.truth, spacing).index
        return Point(voxel=(float(z), float(y), float(x)))
    return box_prompt(task.truth, rounds.with_range)


def area_under_curve(values: Sequence[float]) -> float:
    """Return the area under values one round apart, by the trapezoid rule: 4.0 for five perfect rounds."""
    return float(sum((a + b) / 2 for a, b in itertools.pairwise(values)))


def tolerance_mm(spacing_mm: Sequence[float]) -> float:
    """Return 2 mm, or the smallest spacing where that is larger."""
    return max(TOLERANCE_MM, min(spacing_mm))


def box_prompt(truth: BoolArray, with_range: bool) -> Box:
    """Return the box that opens a 3D session.

    Without a range: the tight box on the key slice (``simulate.key_slice``). With one: the tight box on the middle
    slice of the object's range, over that whole range; where the object leaves out the middle slice, the key slice is
    used, without a range.

    Args:
        truth: bool (z, y, x), not empty.
        with_range: whether to say in which slices the object lies.
    """
    low, high = (corner[0] for corner in tight_box(truth))
    key, middle = key_slice(truth), (low + high - 1) // 2
    index, first, last = (middle, low, high) if with_range and truth[middle].any() else (key, key, key + 1)
    (y0, x0), (y1, x1) = tight_box(truth[index])
    return Box(voxel=((float(first), float(y0), float(x0)), (float(last), float(y1), float(x1))))


class _Timed:
    """Adds up the time and keeps the peak memory of a chain's calls; refuses unusable masks."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self._name, self._shape = name, shape
        self.seconds, self.peak_mib = 0.0, 0.0

    def call(self, work: Callable[[], BoolArray]) -> BoolArray:
        with PeakMemory() as memory:
            started = time.perf_counter()
            mask = work()
            self.seconds += time.perf_counter() - started
        self.peak_mib = max(self.peak_mib, memory.peak_mib)
        if mask.shape != self._shape or mask.dtype != np.bool_:
            raise ModelError(
                f"expected a bool mask of shape {self._shape} from {self._name!r}, got {mask.dtype} {mask.shape}"
            )
        return mask
