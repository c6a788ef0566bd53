"""Is the carried mask still the same object? Measures on two neighbouring masks, and the stop tests on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.engine.options import EngineOptions

__all__ = [
    "Appearance",
    "Carried",
    "Evidence",
    "appearance",
    "confidence",
    "iou",
    "measure",
    "shifted_overlap",
    "step_quality",
    "stop_reason",
]

Mask = NDArray[np.bool_]
SMALL_AREA_PX = 30  # below this, area ratios, overlaps and histograms are noise
BINS = 32  # of the window
LEAST = 1e-3  # of a measure in a logarithm
CALIBRATION = (1.04, 0.26, 1.01)
"""Offset and weights of the step's quality and of the trust in the way to it, by least cross entropy against the true
Dice of carried slices of the built-in model: ``benchmarks/confidence_reliability.py --every 3 --start 1 --fit``, fitted
on one part of the volumes; on the others the expected calibration error is 0.09 (0.15 for the step's quality alone)."""

MIN_STD = 0.05  # of the window: what noise and texture may differ even in a flat object


@dataclass(frozen=True, eq=False)
class Appearance:
    """The windowed intensities (0 ... 1) under a mask.

    Attributes:
        mean: their mean.
        std: their standard deviation.
        histogram: (bins,) their smoothed distribution, sum 1.
    """

    mean: float
    std: float
    histogram: NDArray[np.float64]


@dataclass(frozen=True)
class Carried:
    """What one step of the walk measured.

    Attributes:
        index: slice index.
        area_px: pixels of the new mask.
        area_ratio: new area over the neighbour's.
        overlap: IoU with the neighbour's mask after moving centroids together, 0 ... 1.
        intensity_shift: change of the mean against the anchor's, in its standard deviations.
        similarity: Bhattacharyya coefficient of the intensity distributions here and on the anchor, 0 ... 1.
        score: the model's predicted quality, 0 ... 1.
        agreement: forward against backward, 0 ... 1: mean IoU of the neighbour's mask moved along with the image and
            this one, and of this one moved back and the neighbour's.
        trust: the anchor's score times all agreements from there to here, 0 ... 1: errors add up.
        confidence: 0 ... 1, of all of these: what share of the slice's mask is right (Dice).
        reason: why the walk ended here, or "".
    """

    index: int
    area_px: int
    area_ratio: float
    overlap: float
    intensity_shift: float
    similarity: float
    score: float
    agreement: float
    trust: float
    confidence: float
    reason: str = ""


def appearance(values: NDArray[np.float32]) -> Appearance:
    """Measure the windowed intensities (n,) or (n, 3) under a non-empty mask."""
    counts = np.histogram(values, BINS, (0.0, 1.0))[0].astype(np.float64)
    smoothed = np.convolve(counts, (0.25, 0.5, 0.25), mode="same")
    return Appearance(float(values.mean()), float(values.std()), smoothed / max(float(smoothed.sum()), 1e-9))


def shifted_overlap(mask: Mask, other: Mask) -> float:
    """IoU of two non-empty masks (h, w) after moving the second's centroid onto the first's, to the nearest pixel."""
    a, b = (cv2.moments(np.ascontiguousarray(m).view(np.uint8), binaryImage=True) for m in (mask, other))
    dy = round(a["m01"] / a["m00"] - b["m01"] / b["m00"])
    dx = round(a["m10"] / a["m00"] - b["m10"] / b["m00"])
    h, w = mask.shape
    here = mask[max(0, dy) : min(h, h + dy), max(0, dx) : min(w, w + dx)]
    moved = other[max(0, -dy) : min(h, h - dy), max(0, -dx) : min(w, w - dx)]
    common = int(np.count_nonzero(here & moved))
    return float(common / (a["m00"] + b["m00"] - common))


def iou(mask: Mask, other: Mask) -> float:
    """Intersection over union of two masks (h, w); 1 where both are empty."""
    union = int(np.count_nonzero(mask | other))
    return int(np.count_nonzero(mask & other)) / union if union else 1.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of a carried mask beside the mask itself.

    Attributes:
        look: its appearance; ``anchor``: the anchor's.
        score: the model's.
        agreement: see ``Carried``.
        trust: that of the slice before.
    """

    look: Appearance
    anchor: Appearance
    score: float
    agreement: float
    trust: float


def measure(index: int, mask: Mask, neighbour: Mask, found: Evidence) -> Carried:
    """Measure one step. Both masks are non-empty, (h, w) on one slice grid."""
    area, before = int(np.count_nonzero(mask)), int(np.count_nonzero(neighbour))
    overlap = shifted_overlap(mask, neighbour)
    shift = abs(found.look.mean - found.anchor.mean) / max(found.anchor.std, MIN_STD)
    similarity = float(np.sqrt(found.look.histogram * found.anchor.histogram).sum())
    ratio, trust = area / before, found.trust * found.agreement
    step = step_quality(ratio, overlap, similarity, found.score, found.agreement)
    sure = confidence(step, trust)
    return Carried(index, area, ratio, overlap, shift, similarity, found.score, found.agreement, trust, sure)


def step_quality(area_ratio: float, overlap: float, similarity: float, score: float, agreement: float) -> float:
    """Join one step's measures to a number in [0, 1]: the geometric mean of what speaks for it."""
    area = min(area_ratio, 1 / area_ratio) if area_ratio > 0 else 0.0
    terms = (score, overlap, math.sqrt(area), similarity, agreement)
    return math.prod(min(max(term, 0.0), 1.0) for term in terms) ** (1 / len(terms))


def confidence(step: float, trust: float) -> float:
    """Return the share of a carried mask that is right, as expected from its step and the way to it.

    A logistic of both, rising in each; its three constants are fitted to true Dice, see ``CALIBRATION``.
    """
    offset, of_step, of_trust = CALIBRATION
    inside = [min(max(value, LEAST), 1 - LEAST) for value in (step, trust)]
    odds = offset + of_step * math.log(inside[0] / (1 - inside[0])) + of_trust * math.log(inside[1])
    return 1 / (1 + math.exp(-odds))


def stop_reason(step: Carried, options: EngineOptions) -> str:
    """Return why the walk must end *before* this slice, or "" to go on."""
    if step.score < options.min_score:
        return f"the model's own score fell to {step.score:.2f}"
    if step.intensity_shift > options.max_intensity_shift:
        return f"the intensity moved by {step.intensity_shift:.1f} standard deviations"
    if step.area_px <= SMALL_AREA_PX:
        return ""
    if step.similarity < options.min_similarity:
        return f"the tissue changed (similarity {step.similarity:.2f})"
    if step.area_ratio > options.max_area_ratio:
        return f"the area grew {step.area_ratio:.1f}-fold"
    possible = min(step.area_ratio, 1 / step.area_ratio)  # the IoU of two masks of these sizes, one inside the other
    if step.overlap < options.min_overlap * possible:
        return f"the shape changed (overlap {step.overlap:.2f})"
    return ""
