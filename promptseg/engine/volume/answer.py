"""What the network answered in a view, as a value, and the passes that lead to an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.volume.grid import Region, ViewGrid, moved, sample, spread
from promptseg.engine.volume.placing import Frame, grown, with_clicks
from promptseg.engine.volume.told import Told, TrueSlice
from promptseg.engine.volume.view_source import ViewSource
from promptseg.models.volume_predictor import View, VolumePredictor
from promptseg.prompts import Plane

__all__ = ["Looker", "VolumeAnswer", "VolumeState", "as_previous", "previous_of"]

Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
IN_MASK, OUT_OF_MASK = 0.9, 0.1  # probabilities that stand for a mask without any, see ``View.previous``
MOST_LOOKS = 3  # at a first answer: each but the last one may find that the view cuts the object


@dataclass(frozen=True, eq=False)
class VolumeAnswer:
    """An answer where it was given.

    Attributes:
        grid: the view.
        logits: float16 (cells), > 0 means object.
        score: predicted Dice.
    """

    grid: ViewGrid
    logits: NDArray[np.float16]
    score: float

    @property
    def cells(self) -> Mask:
        """bool (cells)."""
        return self.logits > 0

    @property
    def probability(self) -> FloatArray:
        """float32 (cells)."""
        return _sigmoid(self.logits.astype(np.float32))

    def mask_in(self, region: Region) -> Mask:
        """Return the mask, bool, on the voxels of a region of the view."""
        return np.stack([plane > 0 for _, plane in spread(self.logits.astype(np.float32), self.grid, region)])

    def probabilities(self, region: Region) -> Iterator[FloatArray]:
        """Yield float32 (rows, columns) on the voxels of a region of the view, slice by slice."""
        for _, plane in spread(self.logits.astype(np.float32), self.grid, region):
            yield _sigmoid(plane)


@dataclass(frozen=True, eq=False)
class VolumeState:
    """What the volume engine knows of one label beyond its mask.

    Attributes:
        told: what a person has said.
        answer: the last answer; None before there is one.
        own: whether the network has made the object, and not only corrected a mask from elsewhere.
        confidence: by plane, float32 (slices): expected Dice of the mask with what was meant, NaN where there is none.
    """

    told: Told = field(default_factory=Told)
    answer: VolumeAnswer | None = None
    own: bool = False
    confidence: Mapping[Plane, FloatArray] = field(default_factory=dict)


def _sigmoid(logits: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float32)


def as_previous(cells: Mask) -> FloatArray:
    """Return the probabilities that stand for a mask (cells) without any."""
    return np.where(cells, np.float32(IN_MASK), np.float32(OUT_OF_MASK))


def previous_of(
    mask_in: Callable[[Region], Mask], volume_shape: tuple[int, int, int], grid: ViewGrid, last: VolumeAnswer | None
) -> FloatArray:
    """Return what the network is told of the mask so far, on a view: the last answer's probabilities where the mask is
    still what that answer said, else those that stand for a mask.

    Args:
        mask_in: gives the mask on a part of the volume.
        volume_shape: (z, y, x).
        grid: the view.
        last: the label's last answer.
    """
    mask = sample(mask_in, volume_shape, grid) > 0.5
    told = as_previous(mask)
    if last is not None:
        soft = moved(last.probability, last.grid, grid)
        told = np.where((soft > 0.5) == mask, soft, told)
    return np.where(grid.inside(volume_shape), told, np.float32(0))


class Looker:
    """Asks the network about views of one volume.

    Args:
        source: the volume's views.
        predictor: the network.
        on_pass: called after every pass; may raise ``Cancelled``.

    Attributes:
        frame: where views are placed.
        known: slices that are as they are; none at first.
    """

    def __init__(
        self,
        source: ViewSource,
        predictor: VolumePredictor,
        on_pass: Callable[[], None] = lambda: None,
    ) -> None:
        self._source, self._predictor, self._on_pass = source, predictor, on_pass
        self.known: Sequence[TrueSlice] = ()
        side = predictor.view_sides[0]
        volume = source.volume
        self.frame = Frame(volume.shape, volume.geometry.spacing_zyx, (side, side, side))

    def look(self, grid: ViewGrid, told: Told, previous: FloatArray | None) -> VolumeAnswer:
        """Return the answer in one view."""
        spacing = tuple(mm * step for mm, step in zip(self.frame.spacing_mm, grid.step, strict=True))
        view = View(self._source.voxels(grid), told.on(grid, self.known), previous, spacing)  # type: ignore[arg-type]
        (found,) = self._predictor.predict([view])
        self._on_pass()
        return VolumeAnswer(grid, found.logits.astype(np.float16), found.score)

    def look_around(
        self, grid: ViewGrid, told: Told, previous: Callable[[ViewGrid], FloatArray | None], looks: int = MOST_LOOKS
    ) -> VolumeAnswer:
        """Return the answer in a view that holds every click and, as far as ``looks`` go, does not cut the object."""
        grid = with_clicks(grid, told.clicks)
        answer = self.look(grid, told, previous(grid))
        for _ in range(looks - 1):
            wider = grown(answer.grid, answer.cells, told, self.frame)
            if wider is None:
                break
            answer = self.look(wider, told, previous(wider))
        return answer
