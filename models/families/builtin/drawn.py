"""Prompts and earlier answers on the grid that the built-in network works on."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.models.families.builtin.views import Hints
from promptseg.models.predictor import Prior, SlicePrompts

__all__ = ["hints_of", "logits_of", "obey", "sigmoid"]

FloatArray = NDArray[np.float32]

CERTAIN = 2.0
"""Logit of a pixel that a person pointed at."""

CLICK_SHARE = 1 / 400
"""Radius of a click that counts as certain, of the slice's longer side."""


def obey(logits: FloatArray, prompts: SlicePrompts) -> FloatArray:
    """Return logits (h, w) on whose right side every click and stroke is.

    Args:
        logits: float32 (h, w) on the slice's own grid.
        prompts: in pixels of the slice.
    """
    out = logits.copy()
    if prompts.scribble is not None:
        out[prompts.scribble > 0] = np.maximum(out[prompts.scribble > 0], CERTAIN)
        out[prompts.scribble < 0] = np.minimum(out[prompts.scribble < 0], -CERTAIN)
    reach = int(max(out.shape) * CLICK_SHARE)
    for (y, x), positive in zip(np.rint(prompts.points).astype(int), prompts.positive, strict=True):
        part = np.s_[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        out[part] = np.maximum(out[part], CERTAIN) if positive else np.minimum(out[part], -CERTAIN)
    return out


def hints_of(prompts: SlicePrompts, prior: Prior | None, shape: tuple[int, int], square: tuple[int, ...]) -> Hints:
    """Prompts and prior on the working grid."""
    scale = np.array([square[0] / shape[0], square[1] / shape[1]], np.float32)
    box = None
    if prompts.box is not None:
        box = (
            float(prompts.box[0] * scale[0]),
            float(prompts.box[1] * scale[1]),
            float(prompts.box[2] * scale[0]),
            float(prompts.box[3] * scale[1]),
        )
    strokes = prompts.scribble if prompts.scribble is not None and prompts.scribble.any() else None
    if strokes is not None and strokes.shape != square:
        strokes = cv2.resize(strokes, square[::-1], interpolation=cv2.INTER_NEAREST)
    known: FloatArray | None = None
    if prior is not None:
        known = sigmoid(prior.logits)
        if known.shape != square:
            soft = cv2.resize(known, square[::-1], interpolation=cv2.INTER_LINEAR)
            if not (soft > 0.5).any():  # a pixel between empty ones, spread thin
                soft = cv2.resize(known, square[::-1], interpolation=cv2.INTER_NEAREST)
            known = np.asarray(soft, np.float32)
    carried = prior is not None and prior.neighbour is not None
    neighbour = prior.neighbour.features.get("grey") if prior is not None and prior.neighbour is not None else None
    return Hints(
        points=((prompts.points + 0.5) * scale - 0.5).astype(np.float32),
        positive=prompts.positive,
        box=box,
        strokes=strokes,
        previous=None if carried else known,
        carried=known if carried else None,
        neighbour=neighbour if neighbour is not None and neighbour.shape == square else None,
    )


def sigmoid(logits: FloatArray) -> FloatArray:
    """Probabilities of logits."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float32)


def logits_of(probability: FloatArray) -> FloatArray:
    """Logits of probabilities, finite."""
    sure = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(sure / (1 - sure)), np.float32)
