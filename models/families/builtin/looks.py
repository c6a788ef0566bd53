"""Where to look: squares around prompts and masks, and what an answer that was found in one is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.models.families.builtin.views import Hints, Square, fit_square, paste

__all__ = [
    "BOX_MARGIN",
    "CARRY_MARGIN",
    "MASK_MARGIN",
    "SMALLEST_CARRY_PX",
    "Answer",
    "around",
    "best_of",
    "cut_share",
    "extent_of",
    "painted",
    "search_squares",
    "union_of",
    "worth_of",
]

FloatArray = NDArray[np.float32]
Extent = tuple[float, float, float, float]

BOX_MARGIN, MASK_MARGIN, CARRY_MARGIN, STROKE_MARGIN = 1.4, 1.5, 2.0, 1.6
"""Edge of the square relative to what it is put around."""

SEARCH_STEPS = 4
"""Squares tried for a first click, each half as wide as the one before; the whole slice is the first."""

SMALLEST_SQUARE_PX, SMALLEST_CARRY_PX = 40.0, 24.0
"""Squares around a mask are at least this wide, in pixels of the slice; the second when it is carried."""

SMALLEST_SEARCH_PX = 56.0
"""No search square is smaller, in pixels of the slice."""

DISOBEDIENCE = 0.3
"""How much an answer that disobeys every click loses against one that obeys, in units of the score."""

LARGE_BONUS = 0.015
"""Worth of a square twice as wide, in units of the score: between equals a whole is meant rather than its part."""

OWN_WORTH = 0.6
"""What an answer's own worth counts beside its agreement with the others."""

AGREEMENT_PX = 160
"""Edge of the grid on which answers are compared."""


@dataclass(frozen=True, eq=False)
class Answer:
    """One pass of the network: logits on the working grid, the square, and the score."""

    logits: FloatArray
    square: Square
    score: float


def extent_of(mask: NDArray[np.bool_]) -> Extent:
    """Half-open bounding box of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (float(rows[0]), float(columns[0]), float(rows[-1] + 1), float(columns[-1] + 1))


def union_of(hints: Hints) -> Extent:
    """What a square must hold: box, known mask, positive prompts; negative ones only if there is nothing else."""
    extents: list[Extent] = [] if hints.box is None else [hints.box]
    known = hints.previous if hints.previous is not None else hints.carried
    if known is not None and (known > 0.5).any():
        extents.append(extent_of(known > 0.5))
    points = hints.points[hints.positive]
    if hints.strokes is not None and (hints.strokes > 0).any():
        extents.append(extent_of(hints.strokes > 0))
    if not len(points) and not extents:
        points = hints.points
    extents += [(float(y), float(x), float(y) + 1, float(x) + 1) for y, x in points]
    if not extents and hints.strokes is not None:
        extents.append(extent_of(hints.strokes != 0))
    boxes = np.array(extents)
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def around(extent: Extent, margin: float, image: FloatArray, smallest: float = SMALLEST_SQUARE_PX) -> Square:
    """A square around a box, inside the slice where it can be."""
    side = max(extent[2] - extent[0], extent[3] - extent[1]) * margin
    centre = ((extent[0] + extent[2]) / 2 - 0.5, (extent[1] + extent[3]) / 2 - 0.5)
    return fit_square(Square(*centre, side), (image.shape[0], image.shape[1]), smallest)


def search_squares(image: FloatArray, hints: Hints) -> list[Square]:
    """From the whole slice inwards, around the first prompts."""
    extent = union_of(hints)
    whole = float(max(image.shape))
    least = max(SMALLEST_SEARCH_PX, STROKE_MARGIN * max(extent[2] - extent[0], extent[3] - extent[1]))
    sides = [whole]
    while len(sides) < SEARCH_STEPS and sides[-1] / 2 > least * 0.8:
        sides.append(max(least, sides[-1] / 2))
    return [around(extent, side / max(extent[2] - extent[0], extent[3] - extent[1]), image) for side in sides]


def worth_of(answer: Answer, hints: Hints, shape: tuple[int, ...]) -> float:
    """The score, a little more for large things, less what the square cuts off and the share of clicks disobeyed."""
    large = LARGE_BONUS * math.log2(answer.square.side)
    return answer.score + large - cut_share(answer, shape) - DISOBEDIENCE * _disobeyed(answer, hints)


def best_of(answers: list[Answer], hints: Hints, shape: tuple[int, ...]) -> Answer:
    """The answer that is worth most by itself and by what the others say.

    One click may mean many things, and a score knows only its own answer. If each answer is right with a chance like
    its score, the one of highest expected Dice is the one that agrees most with all, weighed by their scores.
    """
    agreed = _agreement(answers)
    worth = np.array([worth_of(answer, hints, shape) for answer in answers])
    return answers[int((agreed + OWN_WORTH * worth).argmax())]


def _agreement(answers: list[Answer]) -> NDArray[np.float64]:
    """Each answer's mean Dice with all of them, weighed by the scores."""
    low = np.min([(a.square.y - a.square.side / 2, a.square.x - a.square.side / 2) for a in answers], 0)
    high = np.max([(a.square.y + a.square.side / 2, a.square.x + a.square.side / 2) for a in answers], 0)
    scale = AGREEMENT_PX / float((high - low).max())
    masks = []
    for answer in answers:
        y, x = (np.array([answer.square.y, answer.square.x]) - low) * scale - 0.5
        placed = Square(float(y), float(x), answer.square.side * scale)
        masks.append(paste(answer.logits, placed, (AGREEMENT_PX, AGREEMENT_PX), -1.0).ravel() > 0)
    flat = np.stack(masks).astype(np.float64)
    sizes = flat.sum(1)
    dice = 2 * (flat @ flat.T) / np.maximum(sizes[:, None] + sizes[None], 1)
    scores = np.array([answer.score for answer in answers])
    agreed: NDArray[np.float64] = dice @ scores / max(float(scores.sum()), 1e-6)
    return agreed


def _disobeyed(answer: Answer, hints: Hints) -> float:
    """Share of the clicks on whose wrong side the answer is; clicks outside the square count as outside the mask."""
    if not len(hints.points):
        return 0.0
    size = answer.logits.shape[0]
    origin = np.array([answer.square.y, answer.square.x]) - answer.square.side / 2
    where = np.floor((hints.points - origin) * (size / answer.square.side)).astype(int)
    seen = ((where >= 0) & (where < size)).all(1)
    inside = np.zeros(len(where), np.bool_)
    inside[seen] = answer.logits[where[seen, 0], where[seen, 1]] > 0
    return float((inside != hints.positive).mean())


def cut_share(answer: Answer, shape: tuple[int, ...]) -> float:
    """Share of the square's border (where there is more slice behind it) that lies in the mask, but 0 below 2 %."""
    half = answer.square.side / 2
    mask = answer.logits > 0
    edges: list[NDArray[np.bool_]] = []
    if answer.square.y - half > 0:
        edges.append(mask[0])
    if answer.square.y + half < shape[0] - 1:
        edges.append(mask[-1])
    if answer.square.x - half > 0:
        edges.append(mask[:, 0])
    if answer.square.x + half < shape[1] - 1:
        edges.append(mask[:, -1])
    share = sum(int(edge.sum()) for edge in edges) / (4 * mask.shape[0])
    return 0.0 if math.isclose(share, 0.0) or share < 0.01 else share


def painted(hints: Hints, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """bool (h, w): where a person pointed at the object."""
    seeds = np.zeros(shape[:2], np.bool_)
    if hints.strokes is not None:
        seeds |= hints.strokes > 0
    for y, x in np.rint(hints.points[hints.positive]).astype(int):
        seeds[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = True
    return seeds
