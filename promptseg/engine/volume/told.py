"""What a person has said of an object in the volume, and what of it a view shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.hints import Hint, PlacedPrompt
from promptseg.engine.volume.grid import ViewGrid
from promptseg.models.predictor import SlicePrompts
from promptseg.models.volume_predictor import AxisRange, KnownSlice, SliceBox, ViewPrompts
from promptseg.prompts import Plane

__all__ = ["Click", "PlacedBox", "Told", "TrueSlice", "is_drawn", "on_slice"]

Mask = NDArray[np.bool_]
Voxel = tuple[int, int, int]


@dataclass(frozen=True)
class Click:
    """A click: its voxel (z, y, x), and whether that is the object's."""

    voxel: Voxel
    positive: bool


@dataclass(frozen=True)
class PlacedBox:
    """A box on one slice.

    Attributes:
        plane: of the slice.
        index: the slice.
        box: half-open (a0, b0, a1, b1) along the two other axes in their order, in voxels.
    """

    plane: Plane
    index: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class TrueSlice:
    """A slice that a person has accepted or drawn: it is as it is.

    Attributes:
        plane: its plane.
        index: its index.
        mask: bool (h, w).
        clicks: made on it now, after it was accepted or drawn: it is shown to the network no more, and they change it.
    """

    plane: Plane
    index: int
    mask: Mask
    clicks: tuple[Click, ...] = ()

    def clicked(self, clicks: Sequence[Click]) -> TrueSlice:
        """Return it with those of the clicks that are on it."""
        return replace(self, clicks=tuple(c for c in clicks if c.voxel[self.plane.axis] == self.index))


def is_drawn(hint: Hint) -> bool:
    """Whether a person has drawn the slice's mask: a scribble or a lasso."""
    return hint.prompts.scribble is not None or hint.outline is not None or hint.erased is not None


def on_slice(click: Click, axis: int) -> Click:
    """Return it in the indices of an array of its slice alone, one voxel thick along the axis."""
    z, y, x = (0 if a == axis else v for a, v in enumerate(click.voxel))
    return Click((z, y, x), click.positive)


def _paints_over(hint: Hint, click: Click, axis: int) -> bool:
    """Whether what is drawn on the click's slice says anew what its voxel is; an outline says so of the whole slice."""
    row, column = (v for a, v in enumerate(click.voxel) if a != axis)
    painted = [area for area in (hint.prompts.scribble, hint.erased) if area is not None]
    return hint.outline is not None or any(bool(area[row, column]) for area in painted)


@dataclass(frozen=True)
class Told:
    """All that was said of one label; replaced as a whole, never changed.

    Attributes:
        clicks: oldest first.
        box: the newest.
        span: (axis, first, one past the last slice): where the newest thick box says that the object lies.
    """

    clicks: tuple[Click, ...] = ()
    box: PlacedBox | None = None
    span: tuple[int, int, int] | None = None

    @property
    def plane(self) -> Plane:
        """The plane that the object is looked at in: its box's."""
        return self.box.plane if self.box is not None else Plane.AXIAL

    @property
    def says_where(self) -> bool:
        """Whether the object can be found from this alone."""
        return self.box is not None or any(click.positive for click in self.clicks)

    def clicked(self) -> tuple[PlacedPrompt, ...]:
        """Return the clicks as prompts on axial slices."""
        return tuple(
            PlacedPrompt(
                Plane.AXIAL,
                {
                    click.voxel[0]: Hint(
                        SlicePrompts(np.array([click.voxel[1:]], np.float32), np.array([click.positive]))
                    )
                },
            )
            for click in self.clicks
        )

    def plus(self, prompts: Sequence[PlacedPrompt]) -> Told:
        """Return it with more prompts. A positive click beyond the range widens it."""
        told = self
        for placed in prompts:
            for index, hint in sorted(placed.hints.items()):
                said = hint.prompts
                if said.box is not None and hint.outline is None:
                    limits = None if placed.limits is None else (placed.plane.axis, *placed.limits)
                    told = replace(told, box=PlacedBox(placed.plane, index, said.box), span=limits)
                at = [_voxel(placed.plane, index, point) for point in said.points]
                told = told._clicked([Click(v, bool(p)) for v, p in zip(at, said.positive, strict=True)])
        return told

    def _clicked(self, clicks: Sequence[Click]) -> Told:
        span = self.span
        for click in clicks:
            if span is not None and click.positive:
                axis, first, stop = span
                span = (axis, min(first, click.voxel[axis]), max(stop, click.voxel[axis] + 1))
        return replace(self, clicks=(*self.clicks, *clicks), span=span)

    def drawn_over(self, placed: PlacedPrompt) -> Told:
        """Return it without the clicks whose voxels are painted over."""
        axis = placed.plane.axis
        hints = [placed.hints.get(click.voxel[axis]) for click in self.clicks]
        kept = [
            c for c, hint in zip(self.clicks, hints, strict=True) if hint is None or not _paints_over(hint, c, axis)
        ]
        return replace(self, clicks=tuple(kept))

    def joined(self, other: Told) -> Told:
        """Return what was said of two labels that are one from now on; this one's box counts."""
        return Told((*other.clicks, *self.clicks), self.box, self.span if other.span == self.span else None)

    def on(self, grid: ViewGrid, known: Sequence[TrueSlice]) -> ViewPrompts:
        """Return it in the view's cells; what lies outside the view is left out."""
        points = np.array([grid.to_cells(click.voxel) for click in self.clicks], np.float32).reshape(-1, 3)
        return ViewPrompts(
            points,
            np.array([click.positive for click in self.clicks], np.bool_),
            _box_on(self.box, grid),
            _span_on(self.span, grid),
            tuple(piece for each in known if not each.clicks and (piece := _known_on(each, grid)) is not None),
        )


def _voxel(plane: Plane, index: int, point: NDArray[np.float32]) -> Voxel:
    at = [round(float(v)) for v in point]
    at.insert(plane.axis, index)
    return (at[0], at[1], at[2])


def _cell_of(grid: ViewGrid, axis: int, index: int) -> int:
    at = [0.0, 0.0, 0.0]
    at[axis] = index
    return round(grid.to_cells(at)[axis])


def _box_on(box: PlacedBox | None, grid: ViewGrid) -> SliceBox | None:
    if box is None:
        return None
    axis = box.plane.axis
    index = _cell_of(grid, axis, box.index)
    if not 0 <= index < grid.shape[axis]:
        return None
    a, b = (other for other in range(3) if other != axis)
    a0, b0, a1, b1 = (grid.edge_to_cells(ax, edge) for ax, edge in zip((a, b, a, b), box.box, strict=True))
    return SliceBox(axis, index, (a0, b0, a1, b1))


def _span_on(span: tuple[int, int, int] | None, grid: ViewGrid) -> AxisRange | None:
    if span is None:
        return None
    axis, first, stop = span
    return AxisRange(axis, grid.edge_to_cells(axis, first), grid.edge_to_cells(axis, stop))


def _known_on(known: TrueSlice, grid: ViewGrid) -> KnownSlice | None:
    axis = known.plane.axis
    index = _cell_of(grid, axis, known.index)
    if not 0 <= index < grid.shape[axis]:
        return None
    places = [
        np.floor(grid.low[a] + (np.arange(grid.shape[a]) + 0.5) * grid.step[a]).astype(int)
        for a in range(3)
        if a != axis
    ]
    inside = [(at >= 0) & (at < n) for at, n in zip(places, known.mask.shape, strict=True)]
    rows, columns = (np.clip(at, 0, n - 1) for at, n in zip(places, known.mask.shape, strict=True))
    return KnownSlice(axis, index, known.mask[np.ix_(rows, columns)] & inside[0][:, None] & inside[1][None, :])
