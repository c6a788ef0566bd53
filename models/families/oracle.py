"""A fake for tests: it reads the truth off a noise-free image in which every object is one flat intensity.

With it, whatever is lost between a prompt and the 3D mask is lost by the engine, not by a model.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.models.predictor import Embedding, Prediction, Prior, SliceImage, SlicePrompts

__all__ = ["OraclePredictor"]

LOGIT = 8.0
REACH_PX = 3  # how far beside a carried mask the object is still recognised
Mask = NDArray[np.bool_]


class OraclePredictor:
    """Answers with the flat regions that hints or a carried mask point at; intensity 0 is background.

    Attributes:
        embedded: number of ``embed`` calls so far.
        predicted: number of ``predict`` calls so far.
    """

    def __init__(self) -> None:
        self.embedded = 0
        self.predicted = 0

    @property
    def model_id(self) -> str:
        """Always "oracle"."""
        return "oracle"

    def embed(self, image: SliceImage) -> Embedding:
        """Keep the intensities as integers of 1/255."""
        self.embedded += 1
        levels = np.rint(image.pixels * 255).astype(np.uint8)
        return Embedding(self.model_id, image.shape, image.spacing_mm, {"levels": levels})

    def predict(self, embedding: Embedding, prompts: SlicePrompts, prior: Prior | None = None) -> Prediction:
        """Return every region of the object's intensity that a hint or the prior touches."""
        self.predicted += 1
        levels = embedding.features["levels"]
        touched = np.zeros(levels.shape, np.bool_)
        source = levels
        if prior is not None:
            touched |= prior.logits > 0
            source = levels if prior.neighbour is None else prior.neighbour.features["levels"]
        value = _object_level(source, touched)
        touched = _grown(touched) if prior is not None and prior.neighbour is not None else touched
        hinted, refused = _hinted(levels.shape, prompts)
        if hinted.any():
            value = _object_level(levels, hinted)
        mask = _regions(levels == value, touched | hinted) if value else np.zeros(levels.shape, np.bool_)
        mask &= ~(_regions(levels == value, refused) & ~_wanted_last(levels == value, prompts))
        return Prediction(np.where(mask, np.float32(LOGIT), np.float32(-LOGIT)), 1.0)


def _object_level(levels: NDArray[np.uint8], where: Mask) -> int:
    """The commonest intensity above 0 under a mask; 0 when there is none."""
    inside = levels[where & (levels > 0)]
    return int(np.bincount(inside).argmax()) if inside.size else 0


def _hinted(shape: tuple[int, ...], prompts: SlicePrompts) -> tuple[Mask, Mask]:
    hinted, refused = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for (y, x), positive in zip(np.rint(prompts.points).astype(int), prompts.positive, strict=True):
        (hinted if positive else refused)[y, x] = True
    if prompts.scribble is not None:
        hinted |= prompts.scribble > 0
        refused |= prompts.scribble < 0
    if prompts.box is not None and not hinted.any():
        y0, x0, y1, x1 = (int(v) for v in prompts.box)
        hinted[y0:y1, x0:x1] = True
    return hinted, refused


def _wanted_last(same: Mask, prompts: SlicePrompts) -> Mask:
    """The connected regions of ``same`` whose newest click is positive."""
    _, labels = cv2.connectedComponents(same.astype(np.uint8))
    newest = {
        labels[y, x]: bool(k) for (y, x), k in zip(np.rint(prompts.points).astype(int), prompts.positive, strict=True)
    }
    return np.isin(labels, [label for label, wanted in newest.items() if wanted and label > 0])


def _regions(same: Mask, seeds: Mask) -> Mask:
    """The connected regions of ``same`` that hold a seed."""
    _, labels = cv2.connectedComponents(same.astype(np.uint8))
    kept = np.unique(labels[seeds & same])
    return np.isin(labels, kept[kept > 0])


def _grown(mask: Mask) -> Mask:
    kernel = np.ones((2 * REACH_PX + 1, 2 * REACH_PX + 1), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)
