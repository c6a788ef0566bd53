"""A fake 3D model for tests: it reads the truth off a noise-free image in which every object is one flat intensity.

With it, whatever is lost between a prompt and the 3D mask is lost by the engine, not by a model.
"""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import numpy as np
from numpy.typing import NDArray

from promptseg.models.volume_predictor import View, ViewAnswer, ViewPrompts

__all__ = ["OracleVolumePredictor"]

LOGIT = 8.0
ALIKE = 0.1  # of the view's range: intensities of one object, up to what resampling leaves at its border
BoolArray = NDArray[np.bool_]


class OracleVolumePredictor:
    """Answers with the flat regions that hints point at; the view's lowest intensity is background.

    Attributes:
        predicted: number of views answered so far.
    """

    def __init__(self, view_sides: tuple[int, ...] = (64, 96)) -> None:
        self.predicted = 0
        self._sides = view_sides

    @property
    def model_id(self) -> str:
        """Always "oracle"."""
        return "oracle"

    @property
    def view_sides(self) -> tuple[int, ...]:
        """As given."""
        return self._sides

    @property
    def view_multiple(self) -> int:
        """Any edge will do."""
        return 1

    def predict(self, views: Sequence[View]) -> tuple[ViewAnswer, ...]:
        """Return, for each view, the connected regions of the object's intensity that a hint touches."""
        self.predicted += len(views)
        return tuple(_answer(view) for view in views)


def _answer(view: View) -> ViewAnswer:
    wanted, refused = _hinted(view)
    levels = np.nan_to_num(view.voxels, nan=float(np.nanmin(view.voxels)))
    mask = np.zeros(levels.shape, np.bool_)
    values = levels[wanted & (levels > levels.min())]
    if values.size:
        found, counts = np.unique(values, return_counts=True)
        alike = np.abs(levels - found[counts.argmax()]) < ALIKE * (levels.max() - levels.min())
        regions = cc3d.connected_components(alike, connectivity=26)
        chosen = np.setdiff1d(regions[wanted], [0])
        chosen = np.setdiff1d(chosen, np.setdiff1d(regions[refused], regions[wanted]))
        mask = np.isin(regions, chosen)
    return ViewAnswer(np.where(mask, np.float32(LOGIT), np.float32(-LOGIT)), 1.0)


def _hinted(view: View) -> tuple[BoolArray, BoolArray]:
    """Voxels that hints call object, and voxels that they call background."""
    wanted = np.zeros(view.voxels.shape, np.bool_)
    refused = np.zeros(view.voxels.shape, np.bool_)
    prompts: ViewPrompts = view.prompts
    for point, positive in zip(np.rint(prompts.points).astype(int), prompts.positive, strict=True):
        if ((point >= 0) & (point < view.voxels.shape)).all():
            (wanted if positive else refused)[tuple(point)] = True
    if prompts.scribble is not None:
        wanted |= prompts.scribble > 0
        refused |= prompts.scribble < 0
    for known in prompts.known:
        np.moveaxis(wanted, known.axis, 0)[known.index] |= known.mask
        np.moveaxis(refused, known.axis, 0)[known.index] |= ~known.mask
    if prompts.box is not None and not wanted.any():
        a0, b0, a1, b1 = (round(v) for v in prompts.box.box)
        middle = ((a0 + a1) // 2, (b0 + b1) // 2)
        np.moveaxis(wanted, prompts.box.axis, 0)[(prompts.box.index, *middle)] = True
    if view.previous is not None and not wanted.any():
        wanted |= view.previous > 0.5
    return wanted, refused
