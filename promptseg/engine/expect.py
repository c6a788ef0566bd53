"""What a mask on the next slice is expected to be before, and beside, what the model says.

Three sources, none of which was trained: the neighbour's mask moved along with the image, the shape between two slices
that a person has prompted, and the object's intensities. Each speaks in logits, limited so that a model that is sure is
never overruled.

How they are joined was chosen on one step of the walk, from true, shrunk and dilated neighbours of nine objects of two
volumes (benchmarks/one_step.py): mean Dice 0.64 with the model's carried answer alone, 0.60 with its answer to the
mask's box alone, 0.73 with both, moved shape and intensities.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.engine.distances import signed_distance_mm

__all__ = ["Between", "Tissue", "as_logits", "moved", "window_around"]

Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
LIMIT = 3.0  # largest logit of a shape
TISSUE_LIMIT = 2.5  # largest logit of an intensity
BINS = 32  # of the window
AROUND_MM = 20.0  # how far around the object its surroundings are sampled
SMOOTHING_PX = 0.7  # of the intensities' logits, against noise
FLOW_LEAST_PX, FLOW_MOST_PX = 128, 256  # working sizes for the motion between two slices


def as_logits(distance_mm: FloatArray, blur_mm: float) -> FloatArray:
    """Return logits (h, w) that grow by one with every ``blur_mm`` into the shape."""
    return np.asarray(np.clip(distance_mm / np.float32(blur_mm), -LIMIT, LIMIT), np.float32)


def moved(distance_mm: FloatArray, there: FloatArray, here: FloatArray) -> FloatArray:
    """Move a shape along with the image.

    The motion is dense inverse search flow (Kroeger et al., ECCV 2016) without spatial propagation, whose result does
    not depend on the number of threads.

    Args:
        distance_mm: (h, w) the shape on its own slice.
        there: (h, w) that slice, windowed to 0 ... 1.
        here: (h, w) the slice that it is moved to.
    """
    h, w = here.shape
    scale = min(max(1.0, FLOW_LEAST_PX / min(h, w)), FLOW_MOST_PX / max(h, w))
    size = (max(16, round(w * scale)), max(16, round(h * scale)))
    target, source = (cv2.resize(np.rint(np.clip(p, 0, 1) * 255).astype(np.uint8), size) for p in (here, there))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setUseSpatialPropagation(False)
    flow = cv2.resize(search.calc(target, source, None), (w, h))
    rows, columns = np.mgrid[:h, :w].astype(np.float32)
    x, y = columns + flow[..., 0] * (w / size[0]), rows + flow[..., 1] * (h / size[1])
    return np.asarray(cv2.remap(distance_mm, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


class Tissue:
    """Intensities of one region against those of another.

    Args:
        inside: (n,) the object's, windowed to 0 ... 1.
        outside: (m,) those of what it is told from.
    """

    def __init__(self, inside: FloatArray, outside: FloatArray) -> None:
        ratio = _log_shares(inside) - _log_shares(outside)
        self._logits = np.clip(ratio, -TISSUE_LIMIT, TISSUE_LIMIT).astype(np.float32)

    def logits(self, pixels: FloatArray) -> FloatArray:
        """Return logits (h, w) of a slice (h, w): the log ratio of both intensity distributions, smoothed."""
        bins = np.clip(np.rint(np.nan_to_num(pixels) * (BINS - 1)), 0, BINS - 1).astype(np.int64)
        return np.asarray(cv2.GaussianBlur(self._logits[bins], (0, 0), SMOOTHING_PX), np.float32)


def _log_shares(values: FloatArray) -> NDArray[np.float64]:
    """The logarithm of a smoothed histogram, never of zero."""
    counts = np.histogram(values, BINS, (0.0, 1.0))[0] + 0.5
    smoothed = np.convolve(counts, (0.25, 0.5, 0.25), mode="same")
    return np.asarray(np.log(smoothed / smoothed.sum()))


@dataclass(frozen=True, eq=False)
class Between:
    """The shape between two slices on which a person has said what it is (signed distances, centroids aligned).

    Attributes:
        first, last: slice indices.
        masks: the masks (h, w) there, not empty.
        spacing_mm: (row, column).
    """

    first: int
    last: int
    masks: tuple[Mask, Mask]
    spacing_mm: tuple[float, float]

    def distance_mm(self, index: int) -> FloatArray:
        """Return the signed distance (h, w) of the shape on a slice between both."""
        share = (index - self.first) / (self.last - self.first)
        centres = [np.argwhere(mask).mean(axis=0) for mask in self.masks]
        centre = (1 - share) * centres[0] + share * centres[1]
        parts = []
        for mask, own in zip(self.masks, centres, strict=True):
            dy, dx = centre - own
            shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
            distance = signed_distance_mm(mask, self.spacing_mm)
            size = (mask.shape[1], mask.shape[0])
            parts.append(cv2.warpAffine(distance, shift, size, borderMode=cv2.BORDER_REPLICATE))
        return np.asarray((1 - share) * parts[0] + share * parts[1], np.float32)


def window_around(masks: list[Mask], margin_px: tuple[int, int]) -> tuple[slice, slice] | None:
    """Return rows and columns around masks (h, w) with a margin; None when all are empty."""
    whole = np.logical_or.reduce(masks)
    rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    if rows.size == 0:
        return None
    (my, mx), (h, w) = margin_px, whole.shape
    return (
        slice(max(0, int(rows[0]) - my), min(h, int(rows[-1]) + 1 + my)),
        slice(max(0, int(columns[0]) - mx), min(w, int(columns[-1]) + 1 + mx)),
    )
