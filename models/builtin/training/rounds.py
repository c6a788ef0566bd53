"""One sample under interaction: its hints so far, the square looked at, and the answer on the whole scene."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from promptseg.models.builtin.training.prompts import correction, draw_strokes, first_click, sloppy_box, spoil
from promptseg.models.builtin.training.samples import Sample
from promptseg.models.families.builtin.views import Hints, Square, crop, draw_view, fit_square, paste

__all__ = ["Interaction"]

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Extent = tuple[float, float, float, float]

CARRY_FIRST, CARRY_ON, CARRY_LATER = 0.8, 0.75, 0.4
"""Where there are further cuts: to begin by carrying, to carry a carried answer on, to carry a corrected one."""

LOST, GOOD = 0.4, 0.75
"""An answer of less Dice is not carried on; a corrected one only when it has more than the second."""

LARGE = 0.07
"""Share of the picture from which on a thing is often looked at as a whole."""

FINE_FAMILIES, FINE_TILE = ("vessels", "cells"), 0.5
"""Families whose known answers are improved tile by tile, and how often."""


class Interaction:
    """A sample with a person who prompts it, for a few rounds, and who carries masks from cut to cut.

    Attributes:
        sample: what is segmented.
        cut: which of its cuts.
        hints: all prompts so far and the previous answer.
        square: of the current round.
        kind: the first prompt, with the number of corrections after it, e.g. "box+2".
    """

    def __init__(self, sample: Sample, rng: np.random.Generator) -> None:
        self.sample, self.rng, self.cut = sample, rng, 0
        self.kind = ""
        self.known: FloatArray | None = None
        if len(sample.targets) > 1 and rng.random() < CARRY_FIRST:
            self._carry(spoil(sample.targets[0], rng))
            return
        self.hints, extent, margin = self._first()
        self.square = self._square(extent, margin)

    @property
    def target(self) -> BoolArray:
        """bool (size, size) in the current cut."""
        target: BoolArray = self.sample.targets[self.cut]
        return target

    def _carry(self, mask: FloatArray) -> None:
        """Go to the next cut with this mask."""
        neighbour = self.sample.images[self.cut] if self.rng.random() < 0.9 else None
        self.cut += 1
        self.kind = "carry" if self.target.any() else "ended"
        self.hints, self.known = Hints(carried=mask, neighbour=neighbour), None
        self.square = self._square(_extent(mask > 0.5), float(self.rng.uniform(1.4, 2.4)), 24.0)

    def _first(self) -> tuple[Hints, Extent, float]:
        """The first prompt, what it spans, and how much larger the square shall be."""
        target, rng = self.target, self.rng
        draw, boxes = rng.random(), 0.3 if self.sample.visibility > 1.0 else 0.1
        if draw < boxes:
            self.kind = "box"
            box = sloppy_box(target, rng)
            margin = 8.0 if rng.random() < 0.1 else float(rng.uniform(1.1, 1.9))
            return Hints(box=box), box, margin
        if draw < boxes + 0.18:
            self.kind = "stroke"
            strokes = draw_strokes(target, rng, negative=bool(rng.random() < 0.6))
            margin = 8.0 if rng.random() < 0.2 else float(rng.uniform(1.15, 2.5))
            return Hints(strokes=strokes), _extent(strokes > 0), margin
        self.kind = "click"
        y, x = first_click(target, rng)
        hints = Hints(points=np.array([[y, x]], np.float32), positive=np.ones(1, np.bool_))
        extent = _extent(target)
        side = max(extent[2] - extent[0], extent[3] - extent[1])
        widest = 1.5 if self.sample.family == "vessels" else 6.0  # a whole tree in few pixels has no vessels any more
        wanted = float(np.exp(rng.uniform(math.log(0.3), math.log(widest)))) * side
        whole = 0.5 if target.mean() > LARGE else 0.22
        wanted = float(max(target.shape)) if rng.random() < whole else wanted
        half = max(40.0, wanted) / 2
        cy, cx = (y + 0.7 * half * rng.uniform(-1, 1), x + 0.7 * half * rng.uniform(-1, 1))
        return hints, (cy - half, cx - half, cy + half, cx + half), 1.0

    def _square(self, extent: Extent, margin: float, smallest: float = 40.0) -> Square:
        side = max(extent[2] - extent[0], extent[3] - extent[1]) * margin
        play = 0.1 * side * (margin - 1) / max(margin, 1.0)
        y = (extent[0] + extent[2]) / 2 - 0.5 + self.rng.normal(0, 1) * play
        x = (extent[1] + extent[3]) / 2 - 0.5 + self.rng.normal(0, 1) * play
        shape = (self.target.shape[0], self.target.shape[1])
        return fit_square(Square(y, x, side), shape, smallest)

    def view(self, size: int) -> tuple[FloatArray, FloatArray, float]:
        """The network's input (channels, size, size), the soft target (1, size, size), and the whole target's area.

        The area is in pixels of the view and counts what lies outside the square too.
        """
        target = crop(self.target.astype(np.float32), self.square, size)
        seen = float(target.sum()) if self.known is not None else 0.0  # a tile answers for what it shows
        area = seen or float(self.target.sum()) * (size / self.square.side) ** 2
        return draw_view(self.sample.images[self.cut], self.hints, self.square, size), target[None], area

    def answer(self, probability: FloatArray) -> bool:
        """Take the network's answer (size, size) for this square and go on; False when there is nothing to do."""
        target = self.target
        whole = paste(probability, self.square, (target.shape[0], target.shape[1]), -1.0)
        outside = self.known if self.known is not None else np.float32(0.0)
        whole = np.where(whole < 0, outside, whole).astype(np.float32)
        mask = whole > 0.5
        if self._goes_on(mask):
            self._carry(whole)
            return True
        click = correction(target, mask, self.rng)
        if click is None:
            return False
        y, x, positive = click
        if self.rng.random() < 0.01:
            positive = not positive
        hints = replace(
            self.hints,
            points=np.concatenate([self.hints.points, np.array([[y, x]], np.float32)]),
            positive=np.append(self.hints.positive, positive),
            previous=whole if self.rng.random() < 0.95 else None,
            carried=None,
            neighbour=None,
        )
        self.kind = f"{self.kind.split('+')[0]}+{len(hints.points) - (self.kind.startswith('click'))}"
        self.hints = hints
        self._look_again(whole, y, x, positive)
        return True

    def _goes_on(self, mask: BoolArray) -> bool:
        """Whether this answer is carried to the next cut rather than corrected."""
        if self.cut + 1 >= len(self.sample.targets) or not mask.any():
            return False
        target = self.target
        carried = self.hints.carried is not None
        if self.rng.random() > (CARRY_ON if carried else CARRY_LATER):
            return False
        if not target.any():
            return carried
        dice = 2 * int((mask & target).sum()) / (int(mask.sum()) + int(target.sum()))
        return dice > (LOST if carried else GOOD)

    def _look_again(self, whole: FloatArray, y: int, x: int, positive: bool) -> None:
        """Choose the next square: the same, around what is now known, or a tile of it."""
        mask = whole > 0.5
        seen = abs(y - self.square.y) < self.square.side / 2 - 2 and abs(x - self.square.x) < self.square.side / 2 - 2
        if self.sample.family in FINE_FAMILIES and mask.any() and self.rng.random() < FINE_TILE:
            self._look_at_tile(whole, y, x)
            return
        self.known = None
        if seen and self.rng.random() < 0.4:
            return
        extents = [] if not mask.any() else [_extent(mask)]
        if positive or not extents:
            extents.append((y, x, y + 1.0, x + 1.0))
        if self.hints.box is not None:
            extents.append(self.hints.box)
        box = np.array(extents)
        union = (*box[:, :2].min(0), *box[:, 2:].max(0))
        self.square = self._square(union, float(self.rng.uniform(1.2, 2.0)))

    def _look_at_tile(self, whole: FloatArray, y: int, x: int) -> None:
        """Look at a part of the target closely; outside of it the answer stays."""
        if self.rng.random() < 0.6:
            inside = np.argwhere(self.target if self.target.any() else whole > 0.5)
            y, x = inside[int(self.rng.integers(len(inside)))]
        side = float(self.rng.uniform(64.0, 170.0))
        shape = (self.target.shape[0], self.target.shape[1])
        self.square, self.known = fit_square(Square(float(y), float(x), side), shape), whole


def _extent(mask: BoolArray) -> Extent:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (float(rows[0]), float(columns[0]), float(rows[-1] + 1), float(columns[-1] + 1))
