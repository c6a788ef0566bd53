"""One sample under interaction: its hints so far, the window looked at, and the answer on the whole scene."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from promptseg.models.builtin.training.prompts import correction, draw_strokes, first_click, sloppy_box, spoil
from promptseg.models.builtin.training.samples import Sample
from promptseg.models.builtin.views import Hints, Window, crop, draw_view, fit_window, paste

__all__ = ["Interaction"]

FloatArray = NDArray[np.float32]
Extent = tuple[float, float, float, float]


class Interaction:
    """A sample with a person who prompts it, for a few rounds.

    Attributes:
        sample: what is segmented.
        hints: all prompts so far and the previous answer.
        window: of the current round.
        kind: the first prompt, with the number of corrections after it, e.g. "box+2".
    """

    def __init__(self, sample: Sample, rng: np.random.Generator) -> None:
        self.sample, self.rng = sample, rng
        self.kind = ""
        self.hints, extent, margin = self._first()
        self.window = self._window(extent, margin)

    def _first(self) -> tuple[Hints, Extent, float]:
        """The first prompt, what it spans, and how much larger the window shall be."""
        sample, rng = self.sample, self.rng
        if sample.neighbour_target is not None and (not sample.target.any() or rng.random() < 0.9):
            self.kind = "carry" if sample.target.any() else "ended"
            hints = Hints(carried=spoil(sample.neighbour_target, rng), neighbour=sample.neighbour)
            return hints, _extent(sample.neighbour_target), float(rng.uniform(1.2, 2.2))
        draw = rng.random()
        if draw < 0.22:
            self.kind = "box"
            box = sloppy_box(sample.target, rng)
            margin = 8.0 if rng.random() < 0.1 else float(rng.uniform(1.1, 1.9))
            return Hints(box=box), box, margin
        if draw < 0.42:
            self.kind = "stroke"
            strokes = draw_strokes(sample.target, rng, negative=bool(rng.random() < 0.6))
            margin = 8.0 if rng.random() < 0.2 else float(rng.uniform(1.15, 2.5))
            return Hints(strokes=strokes), _extent(strokes > 0), margin
        self.kind = "click"
        y, x = first_click(sample.target, rng)
        hints = Hints(points=np.array([[y, x]], np.float32), positive=np.ones(1, np.bool_))
        extent = _extent(sample.target)
        side = max(extent[2] - extent[0], extent[3] - extent[1])
        widest = 1.5 if sample.family == "vessels" else 6.0  # a whole tree in few pixels has no vessels any more
        wanted = float(np.exp(rng.uniform(math.log(0.3), math.log(widest)))) * side
        wanted = float(max(sample.target.shape)) if rng.random() < 0.25 else wanted
        half = max(40.0, wanted) / 2
        cy, cx = (y + 0.7 * half * rng.uniform(-1, 1), x + 0.7 * half * rng.uniform(-1, 1))
        return hints, (cy - half, cx - half, cy + half, cx + half), 1.0

    def _window(self, extent: Extent, margin: float) -> Window:
        side = max(extent[2] - extent[0], extent[3] - extent[1]) * margin
        play = 0.1 * side * (margin - 1) / max(margin, 1.0)
        y = (extent[0] + extent[2]) / 2 - 0.5 + self.rng.normal(0, 1) * play
        x = (extent[1] + extent[3]) / 2 - 0.5 + self.rng.normal(0, 1) * play
        return fit_window(Window(y, x, side), self.sample.target.shape)

    def view(self, size: int) -> tuple[FloatArray, FloatArray, float]:
        """The network's input (channels, size, size), the soft target (1, size, size), and the whole target's area.

        The area is in pixels of the view and counts what lies outside the window too.
        """
        target = crop(self.sample.target.astype(np.float32), self.window, size)
        area = float(self.sample.target.sum()) * (size / self.window.side) ** 2
        return draw_view(self.sample.image, self.hints, self.window, size), target[None], area

    def answer(self, probability: FloatArray) -> bool:
        """Take the network's answer (size, size) for this window and prompt again; False when nothing is wrong."""
        shape = self.sample.target.shape
        whole = paste(probability, self.window, shape, 0.0)
        mask = whole > 0.5
        click = correction(self.sample.target, mask, self.rng)
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
        self._look_again(mask, y, x, positive)
        return True

    def _look_again(self, mask: NDArray[np.bool_], y: int, x: int, positive: bool) -> None:
        """Choose the next window: the same, or around what is now known."""
        seen = abs(y - self.window.y) < self.window.side / 2 - 2 and abs(x - self.window.x) < self.window.side / 2 - 2
        if seen and self.rng.random() < 0.4:
            return
        extents = [] if not mask.any() else [_extent(mask)]
        if positive or not extents:
            extents.append((y, x, y + 1.0, x + 1.0))
        if self.hints.box is not None:
            extents.append(self.hints.box)
        box = np.array(extents)
        union = (*box[:, :2].min(0), *box[:, 2:].max(0))
        self.window = self._window(union, float(self.rng.uniform(1.2, 2.0)))


def _extent(mask: NDArray[np.bool_]) -> Extent:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (float(rows[0]), float(columns[0]), float(rows[-1] + 1), float(columns[-1] + 1))
