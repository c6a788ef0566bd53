"""What a person painted, as evidence about this very image: an online model of the pixels under strokes and clicks.

A network that was trained on other images guesses what looks like the object; a stroke shows it. A logistic regression
on every pixel's intensities and their neighbourhood statistics learns, in some milliseconds, what tells the painted
object from the painted background (the idea of ECONet, Asad et al., MIDL 2022); its log odds join the network's.
Where the network is sure, its own answer counts a little beside the strokes, and for background where none was painted.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from promptseg.models.families.builtin.drawn import sigmoid
from promptseg.models.families.builtin.views import Hints

__all__ = ["Painted", "painted_of", "weigh_by_evidence"]

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Painted = NDArray[np.int8]

STROKE_WEIGHT = 0.6  # of the log odds; this and the next five chosen on 128 images of training and validation
CLICK_WEIGHT, FEWEST_CLICKS = 0.3, 3  # of the log odds of clicks alone, which count from so many on
CLICK_SHARE = 3 / 256  # radius of what a click shows, of the slice's longer side
LARGEST_ODDS = 4.0  # log odds are cut here: no model of intensities alone decides
RIDGE = 0.5  # of the regression's weights, for features of mean 0 and deviation 1
MARGIN = 0.25  # of what is painted or answered: how much around it is looked at
WORK_SIDE_PX = 160  # larger parts are shrunk to this long side
SMOOTHING_PX = 0.7  # of the log odds, against noise
FEWEST_PX = 10  # painted as object, on the working grid: fewer say nothing
MOST_PX = 600  # of each kind that are learnt from
BACKGROUND_SHARE = 0.7  # what painted background counts, relative to the painted object
SURE, SURE_SHARE = 0.95, 0.2  # from which probability on the network's own answer is learnt from, and what it counts
SCALES_PX, SPREAD_SCALES_PX = (1.0, 2.0, 4.0, 8.0), (2.0, 4.0)  # of neighbourhood means and deviations
STEPS = 8  # of Newton's method
PAINTED_SHARE = 0.25  # of a working pixel that makes it painted


def painted_of(hints: Hints, shape: tuple[int, ...]) -> tuple[Painted, float] | None:
    """What a person showed of the object, and what it weighs: strokes, and discs around clicks where there are several.

    Returns:
        int8 (h, w) with +1 object, -1 background, and the weight; None where too little was shown.
    """
    clicked = len(hints.points) >= FEWEST_CLICKS
    if hints.strokes is None and not clicked:
        return None
    painted = np.zeros(shape, np.int8) if hints.strokes is None else hints.strokes.astype(np.int8)
    reach = max(1, round(CLICK_SHARE * max(shape)))
    for (y, x), positive in zip(np.rint(hints.points).astype(int), hints.positive, strict=True) if clicked else ():
        painted[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = 1 if positive else -1
    return painted, CLICK_WEIGHT if hints.strokes is None else STROKE_WEIGHT


def weigh_by_evidence(pixels: FloatArray, logits: FloatArray, painted: Painted, weight: float) -> FloatArray:
    """Return logits (h, w) that agree better with what was painted; unchanged where too little was.

    Args:
        pixels: float32 (h, w) or (h, w, 3), any range.
        logits: float32 (h, w), the network's answer.
        painted: int8 (h, w), +1 object, -1 background, 0 untouched.
        weight: of the log odds beside the network's.
    """
    part = _surroundings((logits > 0) | (painted != 0))
    if part is None:
        return logits
    height, width = part[0].stop - part[0].start, part[1].stop - part[1].start
    scale = min(1.0, WORK_SIDE_PX / max(height, width))
    size = (max(4, round(width * scale)), max(4, round(height * scale)))
    small = [_shrunk(array[part], size) for array in (logits, painted > 0, painted < 0)]
    inside, outside = small[1] > PAINTED_SHARE, small[2] > PAINTED_SHARE
    if int(inside.sum()) < FEWEST_PX:
        return logits
    odds = _log_odds(_features(_shrunk(pixels[part], size)), sigmoid(small[0]), inside, outside)
    weighed = logits.copy()
    weighed[part] += weight * cv2.resize(odds, (width, height), interpolation=cv2.INTER_LINEAR)
    return weighed


def _log_odds(features: FloatArray, known: FloatArray, inside: BoolArray, outside: BoolArray) -> FloatArray:
    """The regression's log odds (h, w) of the object, smoothed and cut."""
    groups = [
        (inside, 1.0, 1.0),
        (outside, 0.0, BACKGROUND_SHARE),
        ((known < 1 - SURE) & ~inside, 0.0, SURE_SHARE if outside.any() else 1.0),
        ((known > SURE) & ~outside, 1.0, SURE_SHARE),
    ]
    places = [_spread(mask) for mask, _, _ in groups]
    truth = np.concatenate([np.full(len(at), is_object) for at, (_, is_object, _) in zip(places, groups, strict=True)])
    counts = np.concatenate(
        [np.full(len(at), share / max(1, len(at))) for at, (_, _, share) in zip(places, groups, strict=True)]
    )
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    weights = _regression(flat[np.concatenate(places)], truth, counts * (200 / counts.sum()))
    odds = cv2.GaussianBlur((flat @ weights).reshape(inside.shape).astype(np.float32), (0, 0), SMOOTHING_PX)
    return np.asarray(np.clip(odds, -LARGEST_ODDS, LARGEST_ODDS), np.float32)


def _regression(
    features: NDArray[np.float64], truth: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights (k,) of a ridge logistic regression by Newton's method; the last feature is the constant, hardly held."""
    ridge = np.full(features.shape[1], RIDGE)
    ridge[-1] = 1e-3
    weights = np.zeros(features.shape[1])
    for _ in range(STEPS):
        probability = 1 / (1 + np.exp(-np.clip(features @ weights, -30, 30)))
        slope = features.T @ ((truth - probability) * counts) - ridge * weights
        curvature = (features.T * (np.maximum(probability * (1 - probability), 1e-3) * counts)) @ features
        weights = weights + np.linalg.solve(curvature + np.diag(ridge), slope)
    return weights


def _features(pixels: FloatArray) -> FloatArray:
    """Intensities, neighbourhood means, deviations and edges, with their squares and a constant last: (h, w, k).

    Squares let a band of intensities stand out between darker and brighter things. Colour adds its differences to grey.
    """
    grey = pixels if pixels.ndim == 2 else pixels.mean(-1)
    found = [*_means(_stretched(grey)), *_texture(_stretched(grey))]
    if pixels.ndim == 3:
        found += [plane for channel in (0, 2) for plane in _means(_stretched(pixels[..., channel] - grey))]
    stack = np.stack(found, -1)
    stack = (stack - stack.mean((0, 1))) / (stack.std((0, 1)) + 1e-5)
    table: FloatArray = np.concatenate([stack, stack**2, np.ones_like(stack[..., :1])], -1)
    return table


def _stretched(plane: FloatArray) -> FloatArray:
    """The 1st to the 99th percentile on 0..1, a little more kept."""
    low, high = np.percentile(plane, (1.0, 99.0))
    stretched: FloatArray = np.clip((plane - low) / max(float(high - low), 1e-3), -0.2, 1.2).astype(np.float32)
    return stretched


def _means(plane: FloatArray) -> list[FloatArray]:
    return [plane, *(np.asarray(cv2.GaussianBlur(plane, (0, 0), scale), np.float32) for scale in SCALES_PX)]


def _texture(plane: FloatArray) -> list[FloatArray]:
    spreads = []
    for scale in SPREAD_SCALES_PX:
        mean, square = (cv2.GaussianBlur(power, (0, 0), scale) for power in (plane, plane**2))
        spreads.append(np.sqrt(np.maximum(square - mean**2, 0)))
    smooth = cv2.GaussianBlur(plane, (0, 0), SCALES_PX[0])
    edges = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    return [*spreads, np.asarray(edges, np.float32)]


def _spread(mask: BoolArray) -> NDArray[np.int64]:
    """At most ``MOST_PX`` flat indices of a mask, evenly over it."""
    places = np.flatnonzero(mask)
    return places if len(places) <= MOST_PX else places[np.linspace(0, len(places) - 1, MOST_PX).astype(int)]


def _shrunk(array: NDArray[np.generic], size: tuple[int, int]) -> FloatArray:
    return np.asarray(
        cv2.resize(np.ascontiguousarray(array, np.float32), size, interpolation=cv2.INTER_AREA), np.float32
    )


def _surroundings(mask: BoolArray) -> tuple[slice, slice] | None:
    """The part of the slice around a mask, None without one."""
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    margin = round(max(8.0, MARGIN * max(rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0])))
    return (
        slice(max(0, int(rows[0]) - margin), min(mask.shape[0], int(rows[-1]) + 1 + margin)),
        slice(max(0, int(columns[0]) - margin), min(mask.shape[1], int(columns[-1]) + 1 + margin)),
    )
