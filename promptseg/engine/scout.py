"""What the slice model says beside the 3D network, at a cost that does not grow with the volume: a second opinion."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.hints import Hint, PlacedPrompt, by_plane
from promptseg.engine.options import EngineOptions
from promptseg.engine.propagate import EMPTY_STATE, answer_prompts, carry_pending, plan_pending
from promptseg.engine.slices import LabelCanvas, SliceSource
from promptseg.engine.volume.grid import ViewGrid, moved
from promptseg.engine.volume.told import PlacedBox
from promptseg.engine.volume.view_source import ViewSource
from promptseg.models.predictor import Predictor, SlicePrompts
from promptseg.prompts import Plane
from promptseg.volume import Geometry, Volume, Window
from promptseg.volume.label_voxels import Changed, Layers, union

__all__ = ["Scout", "scouted"]

MOST_SLICES = 24  # that are walked: about a second on two cores
MOST_PIXELS = 128  # a side of a slice

Span = tuple[int, int, int] | None
Mask = NDArray[np.bool_]


class Scout:
    """See ``promptseg.engine.volume.work.SliceOpinion``.

    Args:
        source: the volume's cuts and views.
        predictor: the slice model.
        prompts: what is being answered.
        canvas: gives an empty label's canvas in a plane.
    """

    def __init__(
        self,
        source: SliceSource,
        predictor: Predictor,
        prompts: Sequence[PlacedPrompt],
        canvas: Callable[[Plane], LabelCanvas],
    ) -> None:
        self._source, self._predictor, self._prompts, self._canvas = source, predictor, prompts, canvas

    def walk(self, box: PlacedBox, span: Span, view: ViewGrid) -> Mask:
        """Return the mask (cells of the view) that is walked from a box on a coarse copy of the volume."""
        return scouted(self._source.views, self._predictor, box, span, view)

    def meant(self) -> Changed | None:
        """Return the half-open voxel box of what the prompts alone mean on their slices, or None."""
        boxes = []
        for group in by_plane(self._prompts):
            canvas = self._canvas(group.plane)
            answer_prompts(group, EMPTY_STATE, canvas, self._predictor)
            boxes += [box] if (box := canvas.changed_box()) is not None else []
        return union(boxes) if boxes else None


def scouted(source: ViewSource, predictor: Predictor, box: PlacedBox, span: Span, view: ViewGrid) -> Mask:
    """Return the mask (cells of the view) that the slice engine walks from a box on a coarse copy of the volume.

    Args:
        source: the volume's views.
        predictor: the slice model.
        box: where the walk begins.
        span: (axis, first, one past the last slice) that the object is in, or None.
        view: whose part in the volume is walked.
    """
    plane, axis = box.plane, box.plane.axis
    grid = _coarse(view, box, span, source.volume.shape)
    spacing = [mm * step for mm, step in zip(source.volume.geometry.spacing_zyx, grid.step, strict=True)]
    geometry = Geometry(grid.shape, (spacing[2], spacing[1], spacing[0]))
    coarse = Volume(source.voxels(grid), geometry, Window(0.0, 1.0))
    layers = Layers(coarse.shape, "overwrite")
    canvas = LabelCanvas(SliceSource(coarse, predictor), plane, layers, 1)
    placed = _placed(box, span, grid)
    state = answer_prompts(placed, EMPTY_STATE, canvas, predictor)
    options = EngineOptions()
    plans = plan_pending(state, plane, grid.shape[axis], spacing[axis], options)
    carry_pending(state, plans, canvas, predictor, options, lambda _: None)
    return moved(canvas.whole().astype(np.float32), grid, view) > 0.5


def _coarse(view: ViewGrid, box: PlacedBox, span: Span, shape: tuple[int, int, int]) -> ViewGrid:
    """The part of the view that lies in the volume and in the range, in few slices of few pixels."""
    low = [max(0, round(v)) for v in view.low]
    high = [min(n, round(v)) for v, n in zip(view.high, shape, strict=True)]
    if span is not None and span[0] == box.plane.axis:
        low[span[0]], high[span[0]] = span[1:]
    most = [MOST_SLICES if axis == box.plane.axis else MOST_PIXELS for axis in range(3)]
    z, y, x = (max(1, min(b - a, limit)) for a, b, limit in zip(low, high, most, strict=True))
    return ViewGrid.between(low, high, (z, y, x))


def _placed(box: PlacedBox, span: Span, grid: ViewGrid) -> PlacedPrompt:
    axis = box.plane.axis
    a, b = (other for other in range(3) if other != axis)
    a0, b0, a1, b1 = (grid.edge_to_cells(ax, edge) for ax, edge in zip((a, b, a, b), box.box, strict=True))
    index = min(int((box.index + 0.5 - grid.low[axis]) / grid.step[axis]), grid.shape[axis] - 1)
    limits = (0, grid.shape[axis]) if span is not None else None
    return PlacedPrompt(box.plane, {index: Hint(SlicePrompts(box=(a0, b0, a1, b1)))}, limits)
