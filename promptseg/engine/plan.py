"""Which slices a new anchor may change, and in which order. Pure data: nothing is predicted here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Run", "Step", "plan_runs"]


@dataclass(frozen=True)
class Step:
    """Carry the mask from slice ``source`` to slice ``index``.

    Attributes:
        index: slice to predict.
        source: neighbouring slice that the mask comes from.
        beyond_middle: this slice lies nearer to another anchor: it is taken only where that anchor's own walk has
            left nothing.
    """

    index: int
    source: int
    beyond_middle: bool = False


@dataclass(frozen=True)
class Run:
    """One direction of a walk, away from the anchor. ``end`` says why there are no more steps."""

    steps: tuple[Step, ...]
    end: str


def plan_runs(
    anchor: int, anchors: Iterable[int], slice_count: int, reach: int, limits: tuple[int, int] | None = None
) -> tuple[Run, Run]:
    """Plan the two walks that start at a new or changed anchor.

    Between two anchors each rules up to the middle; the anchors themselves are never changed.

    Args:
        anchor: slice index of the anchor.
        anchors: all anchors of this label in this plane (``anchor`` may be among them).
        slice_count: number of slices in the plane.
        reach: greatest distance from the anchor, in slices.
        limits: half-open range of slice indices that the mask may occupy; None: all. A range that does not hold the
            anchor itself says nothing about it and is ignored.

    Returns:
        The walk to lower indices, then the walk to higher ones.
    """
    low, high = limits if limits is not None and limits[0] <= anchor < limits[1] else (0, slice_count)
    others = set(anchors) - {anchor}
    below = max((a for a in others if a < anchor), default=None)
    above = min((a for a in others if a > anchor), default=None)
    return (
        _run(anchor, -1, below, (low - 1, "volume border" if low == 0 else "range limit"), reach),
        _run(anchor, +1, above, (high, "volume border" if high == slice_count else "range limit"), reach),
    )


def _run(anchor: int, direction: int, other: int | None, limit: tuple[int, str], reach: int) -> Run:
    edge, end = limit  # the first slice that is not walked to, and why
    if abs(edge - anchor) > reach:
        edge, end = anchor + direction * (reach + 1), "range in mm"
    if other is not None and abs(other - anchor) <= abs(edge - anchor):
        edge, end = other, "next anchor"
    middle = abs(edge - anchor) / 2 if end == "next anchor" else float("inf")
    steps = tuple(
        Step(index, index - direction, beyond_middle=abs(index - anchor) > middle)
        for index in range(anchor + direction, edge, direction)
    )
    return Run(steps, end)
