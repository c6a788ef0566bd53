"""What any model must beat, behind the same seam: OpenCV's GrabCut, and no segmentation at all.

Both ignore a prior that comes from a neighbouring slice unless told below, and neither knows how good its answer is
(score 0.5).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.models.predictor import Embedding, Prediction, Prior, SliceImage, SlicePrompts

__all__ = ["BoxFillPredictor", "GrabCutPredictor"]

BoolArray = NDArray[np.bool_]

GRABCUT_SIDE_PX = 320  # longer side at which GrabCut works; it takes seconds on larger images and gains nothing
GRABCUT_ROUNDS = 5
SURE_SHARE = 1 / 64  # radius around a click that is certainly (not) the object, of the longer side
LIKELY_SHARE = 1 / 8  # half the side of the window around a positive click that is probably the object
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
    """OpenCV's GrabCut (Rother et al., 2004), seeded by the prompts.

    A box: everything outside is background, everything inside probably the object. Clicks and strokes are certain in
    a small disc; a window around a positive click is probably the object, and so is the earlier answer on this slice;
    the rest is probably background. Works at no more than 320 px a side.
    """

    @property
    def model_id(self) -> str:
        """``"grabcut"``."""
        return "grabcut"

    def embed(self, image: SliceImage) -> Embedding:
        """Shrink to the working size, 8 bit, three channels."""
        scale = min(1.0, GRABCUT_SIDE_PX / max(image.shape))
        size = (max(2, round(image.shape[1] * scale)), max(2, round(image.shape[0] * scale)))
        pixels = image.pixels if image.pixels.ndim == 3 else np.repeat(image.pixels[..., None], 3, axis=2)
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        return Embedding(
            self.model_id, image.shape, image.spacing_mm, {"pixels": np.rint(small * 255).astype(np.uint8)}
        )

    def predict(self, embedding: Embedding, prompts: SlicePrompts, prior: Prior | None = None) -> Prediction:
        """Cut the graph; an answer of all background where the prompts leave nothing to cut."""
        pixels = embedding.features["pixels"]
        seeds = _seeds(embedding.shape, prompts, prior)
        seeds = _shrunk(seeds, (pixels.shape[0], pixels.shape[1]))
        foreground = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
        if foreground.all() or not foreground.any():
            small = foreground
        else:
            cv2.setRNGSeed(0)  # its k-means draws at random
            models = np.zeros((1, 65)), np.zeros((1, 65))
            cv2.grabCut(pixels, seeds, None, *models, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
            small = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
        if small.shape == embedding.shape:
            return _answer(small)
        size = (embedding.shape[1], embedding.shape[0])
        smooth = cv2.resize(small.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        return _answer(smooth > 0.5)


def _seeds(shape: tuple[int, int], prompts: SlicePrompts, prior: Prior | None) -> NDArray[np.uint8]:
    """Return GrabCut's seed map (h, w) on the original grid."""
    seeds = np.full(shape, cv2.GC_PR_BGD, np.uint8)
    sure, likely = (max(1, round(max(shape) * share)) for share in (SURE_SHARE, LIKELY_SHARE))
    for y, x in prompts.points[prompts.positive]:
        window = _box_slices((y - likely, x - likely, y + likely + 1, x + likely + 1), shape)
        seeds[window] = cv2.GC_PR_FGD
    if prior is not None:
        seeds[:] = np.where(prior.logits > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    if prompts.box is not None:
        inside = np.zeros(shape, bool)
        inside[_box_slices(prompts.box, shape)] = True
        if prior is None and len(prompts.points) == 0:
            seeds[inside] = cv2.GC_PR_FGD
        seeds[~inside] = cv2.GC_BGD
    if prompts.scribble is not None:
        seeds[prompts.scribble > 0], seeds[prompts.scribble < 0] = cv2.GC_FGD, cv2.GC_BGD
        if prior is None and prompts.box is None and len(prompts.points) == 0:
            distance = cv2.distanceTransform((prompts.scribble <= 0).astype(np.uint8), cv2.DIST_L2, 3)
            seeds[(seeds == cv2.GC_PR_BGD) & (distance <= likely / 2)] = cv2.GC_PR_FGD
    order = np.argsort(~prompts.positive, kind="stable")
    for point, positive in zip(prompts.points[order], prompts.positive[order], strict=True):
        cv2.circle(seeds, _xy(point), sure, cv2.GC_FGD if positive else cv2.GC_BGD, -1)
    return seeds


def _shrunk(seeds: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Shrink a seed map without losing thin strokes: whatever is certain anywhere in a cell is certain there."""
    size = (shape[1], shape[0])
    if seeds.shape == shape:
        return seeds.copy()
    small = cv2.resize(seeds, size, interpolation=cv2.INTER_NEAREST)
    for value in (cv2.GC_BGD, cv2.GC_FGD):
        share = cv2.resize((seeds == value).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        small[share > (0.0 if value == cv2.GC_FGD else 0.5)] = value
    return np.asarray(small, np.uint8)


def _answer(mask: BoolArray) -> Prediction:
    return Prediction(np.where(mask, np.float32(4), np.float32(-4)), 0.5)


def _xy(point: NDArray[np.float32]) -> tuple[int, int]:
    return (round(float(point[1])), round(float(point[0])))


def _box_slices(box: tuple[float, float, float, float], shape: tuple[int, int]) -> tuple[slice, slice]:
    y0, x0, y1, x1 = (round(float(v)) for v in box)
    return (slice(max(0, y0), max(0, min(shape[0], y1))), slice(max(0, x0), max(0, min(shape[1], x1))))
