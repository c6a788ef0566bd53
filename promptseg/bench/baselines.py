"""What any model must beat, behind the same seam: OpenCV's GrabCut, and no segmentation at all.

Neither knows how good its answer is (score 0.5).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.models.predictor import Embedding, Prediction, Prior, SliceImage, SlicePrompts

__all__ = ["BoxFillPredictor", "GrabCutPredictor"]

BoolArray = NDArray[np.bool_]

GRABCUT_SIDE_PX = 192  # longer side at which GrabCut works; 320 px and 5 rounds gave no better masks
GRABCUT_ROUNDS = 2
SURE_SHARE = 1 / 64  # radius around a click that is certainly (not) the object, of the longer side
LIKELY_SHARE = 1 / 20  # half the side of the window around a positive click that is probably the object
CORE_SHARE = 0.5  # of a box, along each side, that is certainly the object
MARGIN_SHARE = 0.25  # of the window, of the longer side of what may be the object
SMALLEST_MARGIN_PX = 8
DISC_SHARE = 1 / 16  # radius of box-fill's disc around a click


class BoxFillPredictor:
    """The whole box; without a box a disc around every positive click and stroke, less one around every negative."""

    @property
    def model_id(self) -> str:
        """``"box-fill"``."""
        return "box-fill"

    def embed(self, image: SliceImage) -> Embedding:
        """Remember the slice's shape."""
        return Embedding(self.model_id, image.shape, image.spacing_mm, {})

    def predict(self, embedding: Embedding, prompts: SlicePrompts, prior: Prior | None = None) -> Prediction:
        """Answer with the prompts' own area; without prompts repeat the prior."""
        if prompts.is_empty and prior is not None:
            return Prediction(prior.logits.astype(np.float32), 0.5)
        mask = np.zeros(embedding.shape, np.uint8)
        if prompts.box is not None:
            mask[_box_slices(prompts.box, embedding.shape)] = 1
        radius = max(1, round(max(embedding.shape) * DISC_SHARE))
        order = np.argsort(~prompts.positive, kind="stable")  # negative discs last: they win
        for point, positive in zip(prompts.points[order], prompts.positive[order], strict=True):
            cv2.circle(mask, _xy(point), radius, int(positive), -1)
        if prompts.scribble is not None:
            brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (radius | 1, radius | 1))
            mask |= cv2.dilate((prompts.scribble > 0).astype(np.uint8), brush)
            mask[prompts.scribble < 0] = 0
        return _answer(mask.astype(bool))


class GrabCutPredictor:
    """OpenCV's GrabCut (Rother et al., 2004), seeded by the prompts, in a window around them.

    Certain: a small disc around clicks and strokes; the middle half of a box (with the box as it is, GrabCut finds
    nothing in most medical images); the deep half of a neighbouring slice's mask. Probably the object: the box; else
    the earlier answer and a square around the newest positive click; else what lies near the strokes. The rest is
    probably background, and certainly so outside the box and outside the window, which reaches a quarter further than
    all that on every side, so that the background is learnt from what is near. Works at no more than 192 px.
    """

    @property
    def model_id(self) -> str:
        """``"grabcut"``."""
        return "grabcut"

    def embed(self, image: SliceImage) -> Embedding:
        """Keep the slice as 8 bit in three channels."""
        pixels = image.pixels if image.pixels.ndim == 3 else np.repeat(image.pixels[..., None], 3, axis=2)
        return Embedding(
            self.model_id, image.shape, image.spacing_mm, {"pixels": np.rint(pixels * 255).astype(np.uint8)}
        )

    def predict(self, embedding: Embedding, prompts: SlicePrompts, prior: Prior | None = None) -> Prediction:
        """Cut the graph; an answer of all background where the prompts leave nothing to cut."""
        mask = np.zeros(embedding.shape, bool)
        seeds = _seeds(embedding.shape, prompts, prior)
        window = _window(seeds)
        if window is not None:
            mask[window] = _cut(embedding.features["pixels"][window], seeds[window])
        return _answer(mask)


def _cut(pixels: NDArray[np.uint8], seeds: NDArray[np.uint8]) -> BoolArray:
    """Run GrabCut on (h, w, 3) pixels and return bool (h, w)."""
    scale = min(1.0, GRABCUT_SIDE_PX / max(seeds.shape))
    size = (max(2, round(seeds.shape[1] * scale)), max(2, round(seeds.shape[0] * scale)))
    small = np.ascontiguousarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    shrunk = _shrunk(seeds, size)
    if len(np.unique(np.isin(shrunk, (cv2.GC_FGD, cv2.GC_PR_FGD)))) == 2:  # else there is nothing to cut
        cv2.setRNGSeed(0)  # its k-means draws at random
        cv2.grabCut(small, shrunk, None, np.zeros((1, 65)), np.zeros((1, 65)), GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = np.isin(shrunk, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    return np.asarray(cv2.resize(found, seeds.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.5)


def _seeds(shape: tuple[int, int], prompts: SlicePrompts, prior: Prior | None) -> NDArray[np.uint8]:
    """Return GrabCut's seed map (h, w) on the original grid."""
    seeds = np.full(shape, cv2.GC_PR_BGD, np.uint8)
    sure, likely = (max(1, round(max(shape) * share)) for share in (SURE_SHARE, LIKELY_SHARE))
    if prior is not None:
        seeds[prior.logits > 0] = cv2.GC_PR_FGD
        if prior.neighbour is not None:
            depth = cv2.distanceTransform((prior.logits > 0).astype(np.uint8), cv2.DIST_L2, 3)
            seeds[(depth > 0) & (depth >= CORE_SHARE * depth.max())] = cv2.GC_FGD
    elif prompts.box is not None:
        y0, x0, y1, x1 = prompts.box
        dy, dx = (y1 - y0) * (1 - CORE_SHARE) / 2, (x1 - x0) * (1 - CORE_SHARE) / 2
        seeds[_box_slices(prompts.box, shape)] = cv2.GC_PR_FGD
        seeds[_box_slices((y0 + dy, x0 + dx, y1 - dy, x1 - dx), shape)] = cv2.GC_FGD
    elif prompts.scribble is not None:
        away = cv2.distanceTransform((prompts.scribble <= 0).astype(np.uint8), cv2.DIST_L2, 3)
        seeds[away <= likely / 2] = cv2.GC_PR_FGD
    if len(prompts.points) and prompts.positive[-1]:
        y, x = prompts.points[-1]
        seeds[_box_slices((y - likely, x - likely, y + likely + 1, x + likely + 1), shape)] = cv2.GC_PR_FGD
    if prompts.box is not None:
        inside = np.zeros(shape, bool)
        inside[_box_slices(prompts.box, shape)] = True
        seeds[~inside] = cv2.GC_BGD
    if prompts.scribble is not None:
        seeds[prompts.scribble > 0], seeds[prompts.scribble < 0] = cv2.GC_FGD, cv2.GC_BGD
    order = np.argsort(~prompts.positive, kind="stable")  # negative discs last: they win
    for point, positive in zip(prompts.points[order], prompts.positive[order], strict=True):
        cv2.circle(seeds, _xy(point), sure, cv2.GC_FGD if positive else cv2.GC_BGD, -1)
    return seeds


def _window(seeds: NDArray[np.uint8]) -> tuple[slice, slice] | None:
    """Return the part of the slice that GrabCut looks at; None where nothing is said to be the object."""
    hit = np.argwhere((seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD))
    if len(hit) == 0:
        return None
    low, high = hit.min(axis=0), hit.max(axis=0) + 1
    margin = max(SMALLEST_MARGIN_PX, round(float((high - low).max()) * MARGIN_SHARE))
    (y0, x0), (y1, x1) = low - margin, high + margin
    return _box_slices((y0, x0, y1, x1), (seeds.shape[0], seeds.shape[1]))


def _shrunk(seeds: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Shrink a seed map to (w, h) without losing thin strokes of the object."""
    if seeds.shape[::-1] == size:
        return seeds.copy()
    small = np.array(cv2.resize(seeds, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    small[cv2.resize((seeds == cv2.GC_BGD).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5] = cv2.GC_BGD
    small[cv2.resize((seeds == cv2.GC_FGD).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0] = cv2.GC_FGD
    return small


def _answer(mask: BoolArray) -> Prediction:
    return Prediction(np.where(mask, np.float32(4), np.float32(-4)), 0.5)


def _xy(point: NDArray[np.float32]) -> tuple[int, int]:
    return (round(float(point[1])), round(float(point[0])))


def _box_slices(box: tuple[float, float, float, float], shape: tuple[int, int]) -> tuple[slice, slice]:
    y0, x0, y1, x1 = (round(float(v)) for v in box)
    return (slice(max(0, y0), max(0, min(shape[0], y1))), slice(max(0, x0), max(0, min(shape[1], x1))))
