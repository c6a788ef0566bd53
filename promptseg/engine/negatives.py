"""Finished labels as negatives: what is locked is not the object, and the model is told so."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.models.predictor import SlicePrompts

__all__ = ["with_locked"]

Mask = NDArray[np.bool_]
REACH_MM = 20.0  # around a click or stroke; a box says itself where to look
MOST_POINTS = 3  # more would crowd the few points that networks are trained with
LEAST_DEPTH_PX = 2.0  # a thinner piece may be a border that two persons draw differently


def with_locked(prompts: SlicePrompts, locked: Mask | None, spacing_mm: tuple[float, float]) -> SlicePrompts:
    """Return prompts with a negative point deep inside each of the largest locked pieces near them.

    Args:
        prompts: a person's, on one slice.
        locked: bool (h, w), other labels' pixels that this one may not take; None: there are none.
        spacing_mm: (row, column).
    """
    if locked is None or not locked.any():
        return prompts
    near = np.zeros_like(locked)
    for y0, x0, y1, x1 in _looked_at(prompts, spacing_mm):
        near[max(0, int(y0)) : max(0, int(y1)), max(0, int(x0)) : max(0, int(x1))] = True
    for y, x in np.rint(prompts.points).astype(int):
        near[y, x] = False
    pieces = (locked & near).astype(np.uint8)
    depth = cv2.distanceTransform(np.pad(pieces, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(pieces, connectivity=8)
    order = 1 + np.argsort(-stats[1:count, cv2.CC_STAT_AREA], kind="stable")
    deepest = [np.unravel_index(int(np.where(labels == at, depth, 0).argmax()), depth.shape) for at in order]
    places = [place for place in deepest if depth[place] >= LEAST_DEPTH_PX][:MOST_POINTS]
    if not places:
        return prompts
    return replace(
        prompts,
        points=np.concatenate([np.array(places, np.float32), prompts.points]),  # the person's come last: newest
        positive=np.concatenate([np.zeros(len(places), np.bool_), prompts.positive]),
    )


def _looked_at(prompts: SlicePrompts, spacing_mm: tuple[float, float]) -> list[tuple[float, float, float, float]]:
    """The half-open boxes that the prompts are about."""
    if prompts.box is not None:
        return [prompts.box]
    places = list(prompts.points[prompts.positive])
    if prompts.scribble is not None and (prompts.scribble > 0).any():
        drawn = np.argwhere(prompts.scribble > 0)
        places += [drawn.min(axis=0), drawn.max(axis=0)]
    if not places:
        return []
    reach = REACH_MM / np.array(spacing_mm)
    low, high = np.min(places, axis=0) - reach, np.max(places, axis=0) + reach + 1
    return [(float(low[0]), float(low[1]), float(high[0]), float(high[1]))]
