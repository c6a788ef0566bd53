"""A person's hints and a known mask in the arrays that the SAM family reads.

Points and box corners become one list of (x, y) with labels: 1 object, 0 not, 2 and 3 the corners of a box, -1 a
padding point where there is no box (segment-anything's own ONNX format). The family reads no strokes: they become
points. A carried mask becomes a box with a margin, a point at its deepest place, one at the deepest place of what the
box holds beside it, and low-resolution logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.models.families.sam.frames import Frame
from promptseg.models.predictor import Prior, SlicePrompts

__all__ = ["WirePrompts", "deepest", "stroke_points", "to_wire"]

FloatArray = NDArray[np.float32]

STROKE_POINTS = 6  # of one sign: more of them crowd the handful of points that the family was trained with
CARRY_MARGIN = 0.1  # of the carried mask's box, on every side
CARRY_MARGIN_PX = 2.0  # at least
OUTSIDE_DEPTH_PX = 4.0  # a point beside a carried mask lies at least so far from it: the object may have moved
LOGIT_LIMIT = 32.0  # SAM 2 clamps mask prompts so (sam2_image_predictor.py); beyond it nothing is meant


@dataclass(frozen=True, eq=False)
class WirePrompts:
    """What the decoder is given.

    Attributes:
        coords: float32 (n, 2), (x, y) in pixels of the network's input.
        labels: float32 (n,).
        mask: float32 low-resolution logits, or None (then ``has_mask_input`` is 0).
        is_ambiguous: a lone click: part, object or whole may be meant.
        is_carried: all of it comes from a neighbouring slice's mask.
    """

    coords: FloatArray
    labels: FloatArray
    mask: FloatArray | None
    is_ambiguous: bool
    is_carried: bool = False


def to_wire(
    prompts: SlicePrompts, prior: Prior | None, frame: Frame, low_shape: tuple[int, int], low_px: int
) -> WirePrompts:
    """Translate hints and prior.

    Args:
        prompts: in the slice's pixels; may be empty when there is a prior.
        prior: a known mask, or None; at least one pixel of it is positive.
        frame: where the slice lies in the input.
        low_shape: shape of the coarse grid.
        low_px: its full edge, when the input is not trimmed.
    """
    box = prompts.box
    places, labels = [prompts.points], [prompts.positive.astype(np.float32)]
    if prompts.scribble is not None:
        for sign in (1, -1):
            drawn = stroke_points(prompts.scribble == sign)
            places.append(drawn)
            labels.append(np.full(len(drawn), float(sign > 0), np.float32))
    is_carried = prior is not None and prior.neighbour is not None and prompts.is_empty
    if prior is not None and is_carried:
        box = _box_around(prior.logits > 0, frame.shape)
        told = [(deepest(prior.logits > 0), 1.0), *((place, 0.0) for place in _beside(prior.logits > 0, box))]
        places.append(np.array([place for place, _ in told], np.float32))
        labels.append(np.array([kind for _, kind in told], np.float32))
    coords = [frame.to_input(np.concatenate(places).astype(np.float32))]
    kinds = np.concatenate(labels)
    if box is not None:
        corners = np.array([box[:2], (box[2] - 1, box[3] - 1)], np.float32)  # half-open to last pixel
        corners = frame.to_input(corners)
        coords.append(np.trunc(corners) if frame.kind == "lite-medsam" else corners)
        kinds = np.append(kinds, np.array([2, 3], np.float32))
    else:
        coords.append(np.zeros((1, 2), np.float32))
        kinds = np.append(kinds, np.float32(-1))
    mask = None
    if prior is not None:
        mask = np.clip(frame.lower(prior.logits, low_shape, low_px), -LOGIT_LIMIT, LOGIT_LIMIT)
    lone = prior is None and box is None and len(kinds) == 2 and kinds[0] == 1
    return WirePrompts(np.concatenate(coords), kinds.astype(np.float32), mask, bool(lone), is_carried)


def _box_around(mask: NDArray[np.bool_], shape: tuple[int, int]) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    low, high = (rows[0], columns[0]), (rows[-1] + 1, columns[-1] + 1)
    margins = [max(CARRY_MARGIN_PX, CARRY_MARGIN * (b - a)) for a, b in zip(low, high, strict=True)]
    y0, x0 = (max(0.0, float(a - m)) for a, m in zip(low, margins, strict=True))
    y1, x1 = (min(float(n), float(b + m)) for b, m, n in zip(high, margins, shape, strict=True))
    return (y0, x0, y1, x1)


def _beside(mask: NDArray[np.bool_], box: tuple[float, float, float, float]) -> list[tuple[int, int]]:
    """The (y, x) in the box that is deepest outside a mask; nothing where all of it lies near the mask."""
    y0, x0, y1, x1 = (int(v) for v in box)
    outside = np.zeros_like(mask)
    outside[y0:y1, x0:x1] = ~mask[y0:y1, x0:x1]
    y, x = deepest(outside)
    depth = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)[y, x]
    return [(y, x)] if outside[y, x] and depth >= OUTSIDE_DEPTH_PX else []


def deepest(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """(y, x) of the pixel farthest from a mask's border; the slice's own border counts as one."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return (int(y), int(x))


def stroke_points(drawn: NDArray[np.bool_], most: int = STROKE_POINTS) -> FloatArray:
    """A few pixels (n, 2) of a stroke or blob: the deepest, then always the one farthest from those chosen."""
    places = np.argwhere(drawn).astype(np.float32)
    if not len(places):
        return np.zeros((0, 2), np.float32)
    chosen = [np.array(deepest(drawn), np.float32)]
    distance = np.full(len(places), math.inf, np.float32)
    while len(chosen) < min(most, len(places)):
        distance = np.minimum(distance, ((places - chosen[-1]) ** 2).sum(1))
        if distance.max() < 4:  # neighbours say the same thing
            break
        chosen.append(places[int(distance.argmax())])
    return np.stack(chosen).astype(np.float32)
