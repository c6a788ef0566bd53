"""A predictor without a network: region growing for the first guess, GrabCut for the border. A baseline."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.errors import ModelError
from promptseg.models.predictor import Embedding, Prediction, Prior, SliceImage, SlicePrompts

__all__ = ["ClassicalPredictor"]

EMBED_SIDE_PX = 320  # larger slices are shrunk to this long side
WORK_SIDE_PX = 160  # GrabCut runs on a crop shrunk to this long side
CLICK_RADIUS = 0.02  # of the crop's long side: the disc around a click that is certain
GROW_TOLERANCE = 0.12  # of the window: how far a grown pixel may differ from the click's surroundings
CORE_SHARE = 0.3  # of a box: half-axes of the ellipse in its middle that is taken for object
CARRIED_DEPTH = 0.4  # of a carried mask's deepest point: what lies deeper seeds the next slice
ITERATIONS = 3  # of GrabCut; Rother et al. report convergence within a few
LOGIT_PER_PX = 0.5  # logits are signed distances to the border, clipped to ±LOGIT_MAX
LOGIT_MAX = 6.0

Mask = NDArray[np.bool_]


class ClassicalPredictor:
    """GrabCut (Rother, Kolmogorov and Blake 2004, in OpenCV) behind the predictor's two verbs.

    Its score is a fixed 0.5: it has no opinion of its own quality.
    """

    nbytes = 0
    described = f"OpenCV {cv2.__version__} on the CPU"

    def __init__(self, model_id: str = "classical") -> None:
        self._model_id = model_id

    @property
    def model_id(self) -> str:
        """The registry's id."""
        return self._model_id

    def embed(self, image: SliceImage) -> Embedding:
        """Keep the slice as 8-bit RGB, shrunk to at most EMBED_SIDE_PX; there is nothing expensive to do."""
        scale = min(1.0, EMBED_SIDE_PX / max(image.shape))
        small = image.pixels
        if scale < 1:
            size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
            small = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
        colour = small if small.ndim == 3 else np.repeat(small[..., None], 3, axis=2)
        rgb = (np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8)
        return Embedding(self._model_id, image.shape, image.spacing_mm, {"rgb": rgb})

    def predict(self, embedding: Embedding, prompts: SlicePrompts, prior: Prior | None = None) -> Prediction:
        """Answer from seeds, box and prior; see the contract in ``promptseg.models.predictor``."""
        if embedding.model_id != self._model_id:
            raise ModelError(f"expected an embedding made by {self._model_id!r}, got one by {embedding.model_id!r}")
        if prompts.is_empty and (prior is None or not (prior.logits > 0).any()):
            return Prediction(np.full(embedding.shape, -LOGIT_MAX, np.float32), 0.5)
        rgb = embedding.features["rgb"]
        known = carried = None
        if prior is not None:
            known = _resized(prior.logits, rgb.shape) > 0
            if prior.neighbour is not None:
                carried = _same_tissue(rgb, prior.neighbour.features["rgb"], known)
        mask = _segment(rgb, _scaled(prompts, embedding.shape, rgb.shape), known, carried)
        return Prediction(_resized(_signed_distance(mask), embedding.shape), 0.5)


def _resized(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Linear resampling of (h, w) to ``shape``."""
    if values.shape == tuple(shape[:2]):
        return values
    return np.asarray(cv2.resize(values, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def _scaled(prompts: SlicePrompts, shape: tuple[int, int], small: tuple[int, ...]) -> SlicePrompts:
    """Prompts on the embedding's grid; paint keeps at least one pixel."""
    if shape == tuple(small[:2]):
        return prompts
    factor = np.array([small[0] / shape[0], small[1] / shape[1]], np.float32)
    box, scribble = prompts.box, prompts.scribble
    if box is not None:
        y0, x0, y1, x1 = (float(v) for v in np.array(box) * np.tile(factor, 2))
        box = (y0, x0, y1, x1)
    if scribble is not None:
        size = (small[1], small[0])
        shares = [cv2.resize((scribble == s).astype(np.float32), size, interpolation=cv2.INTER_AREA) for s in (1, -1)]
        scribble = np.where(shares[0] > 0, np.int8(1), np.where(shares[1] > 0, np.int8(-1), np.int8(0)))
    points = np.clip((prompts.points + 0.5) * factor - 0.5, 0, np.array(small[:2]) - 1).astype(np.float32)
    return SlicePrompts(points, prompts.positive, box, scribble)


def _same_tissue(here: NDArray[np.uint8], there: NDArray[np.uint8], mask: Mask) -> Mask:
    """The deep part of a carried mask where this slice still looks as the neighbouring one did under the mask."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    before = cv2.GaussianBlur(there, (0, 0), 1.0)[mask].astype(np.float32)
    differs = np.abs(cv2.GaussianBlur(here, (0, 0), 1.0).astype(np.float32) - np.median(before, axis=0)).max(axis=2)
    return np.asarray((depth > CARRIED_DEPTH * depth.max()) & (differs < 255 * GROW_TOLERANCE + before.std()))


def _segment(rgb: NDArray[np.uint8], prompts: SlicePrompts, prior: Mask | None, carried: Mask | None) -> Mask:
    shape = rgb.shape[:2]
    sure, never = _seeds(shape, prompts)
    if carried is not None:
        if not carried.any() and not sure.any():
            return np.zeros(shape, np.bool_)
        sure = sure | (carried & ~never)
    maybe = _first_guess(rgb, prompts, prior, sure, never)
    y0, x0, y1, x1 = _crop_box(maybe | sure | never, prompts.box)
    scale = min(1.0, WORK_SIDE_PX / max(y1 - y0, x1 - x0))
    size = (max(2, round((x1 - x0) * scale)), max(2, round((y1 - y0) * scale)))

    def small(array: NDArray[np.bool_]) -> Mask:
        resized = cv2.resize(array[y0:y1, x0:x1].astype(np.float32), size, interpolation=cv2.INTER_AREA)
        return np.asarray(resized > 0.3)

    trimap = np.where(small(maybe), cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    if prompts.box is not None:
        trimap[~small(_box_mask(shape, prompts.box))] = cv2.GC_BGD
    elif prior is not None:
        trimap[~small(_grown(maybe | sure, 0.3))] = cv2.GC_BGD
    trimap[small(never)] = cv2.GC_BGD
    trimap[small(sure)] = cv2.GC_FGD
    crop = cv2.resize(rgb[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    found = _grabcut(crop, trimap)
    result = np.zeros(shape, np.bool_)
    full = cv2.resize(found.astype(np.float32), (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR) > 0.5
    result[y0:y1, x0:x1] = full
    return np.asarray((result | sure) & ~never)


def _grabcut(crop: NDArray[np.uint8], trimap: NDArray[np.uint8]) -> Mask:
    foreground = np.isin(trimap, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if foreground.all() or not foreground.any():
        return np.asarray(foreground)
    cv2.setRNGSeed(0)  # its k-means starts at random; same prompts must give the same bits
    cv2.grabCut(crop, trimap, None, np.zeros((1, 65)), np.zeros((1, 65)), ITERATIONS, cv2.GC_INIT_WITH_MASK)
    return np.isin(trimap, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _seeds(shape: tuple[int, ...], prompts: SlicePrompts) -> tuple[Mask, Mask]:
    """Discs around clicks, and scribbles: (certainly object, certainly not)."""
    drawn = [np.zeros(shape[:2], np.uint8), np.zeros(shape[:2], np.uint8)]
    radius = max(1, round(CLICK_RADIUS * min(max(shape[:2]), 256)))
    for (y, x), positive in zip(prompts.points, prompts.positive, strict=True):
        cv2.circle(drawn[0 if positive else 1], (round(float(x)), round(float(y))), radius, 1, -1)
    sure, never = (d.astype(np.bool_) for d in drawn)
    if prompts.scribble is not None:
        sure, never = sure | (prompts.scribble > 0), never | (prompts.scribble < 0)
    if prompts.box is not None and not sure.any():
        sure = _core(shape, prompts.box)
    return sure & ~never, never


def _core(shape: tuple[int, ...], box: tuple[float, float, float, float]) -> Mask:
    """The ellipse in the middle of a box: without a seed GrabCut often calls the whole box background."""
    y0, x0, y1, x1 = box
    axes = (max(1, round((x1 - x0) * CORE_SHARE)), max(1, round((y1 - y0) * CORE_SHARE)))
    drawn = np.zeros(shape[:2], np.uint8)
    cv2.ellipse(drawn, (int((x0 + x1 - 1) / 2), int((y0 + y1 - 1) / 2)), axes, 0, 0, 360, 1, -1)
    return np.asarray(drawn > 0)


def _first_guess(rgb: NDArray[np.uint8], prompts: SlicePrompts, prior: Mask | None, sure: Mask, never: Mask) -> Mask:
    guess = np.zeros(rgb.shape[:2], np.bool_)
    if prior is not None and prior.any():
        guess |= prior
    elif prompts.box is not None:
        y0, x0, y1, x1 = prompts.box
        h, w = (y1 - y0) * 0.05, (x1 - x0) * 0.05
        guess |= _box_mask(rgb.shape[:2], (y0 + h, x0 + w, y1 - h, x1 - w))
    if sure.any() and (prior is None or (sure & ~guess).any()):
        guess |= _region_growing(rgb, sure, never)
    return guess & ~never


def _region_growing(rgb: NDArray[np.uint8], sure: Mask, never: Mask) -> Mask:
    """Flood the smoothed image from every certain component within a fixed tolerance."""
    grey = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (0, 0), max(1.0, max(rgb.shape[:2]) / 200))
    blocked = np.pad(never.astype(np.uint8), 1, constant_values=1)
    tolerance = round(255 * GROW_TOLERANCE)
    count, labels = cv2.connectedComponents(sure.astype(np.uint8))
    for component in range(1, count):
        y, x = np.argwhere(labels == component)[0]
        flags = 4 | (2 << 8) | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE
        cv2.floodFill(grey, blocked, (int(x), int(y)), 0, tolerance, tolerance, flags)
    return np.asarray(blocked[1:-1, 1:-1] == 2)


def _box_mask(shape: tuple[int, ...], box: tuple[float, float, float, float]) -> Mask:
    mask = np.zeros(shape[:2], np.bool_)
    y0, x0, y1, x1 = box
    mask[max(0, math.floor(y0)) : max(0, math.ceil(y1)), max(0, math.floor(x0)) : max(0, math.ceil(x1))] = True
    return mask


def _grown(mask: Mask, share: float) -> Mask:
    """Dilate by a share of the mask's own size (square root of its area)."""
    radius = max(3, round(share * math.sqrt(max(1, int(mask.sum())))))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def _crop_box(mask: Mask, box: tuple[float, float, float, float] | None) -> tuple[int, int, int, int]:
    """Half-open crop around everything known, with half its size as margin on every side."""
    if box is not None:
        mask = mask | _box_mask(mask.shape, box)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    margin = max(16, (int(rows[-1] - rows[0]) + int(columns[-1] - columns[0])) // 3)
    height, width = mask.shape
    return (
        max(0, int(rows[0]) - margin),
        max(0, int(columns[0]) - margin),
        min(height, int(rows[-1]) + margin + 1),
        min(width, int(columns[-1]) + margin + 1),
    )


def _signed_distance(mask: Mask) -> NDArray[np.float32]:
    if not mask.any():
        return np.full(mask.shape, -LOGIT_MAX, np.float32)
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(np.clip(LOGIT_PER_PX * (inside - outside), -LOGIT_MAX, LOGIT_MAX), np.float32)
