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


def plan_runs(anchor: int, anchors: Iterable[int], limits: tuple[int, int], reach: int) -> tuple[Run, Run]:
    """Plan the two walks that start at a new or changed anchor.

    Between two anchors each rules up to the middle; the anchors themselves are never changed.

    Args:
        anchor: slice index of the anchor.
        anchors: all anchors of this label in this plane (``anchor`` may be among them).
        limits: half-open range of slice indices that the mask may occupy.
        reach: greatest distance from the anchor, in slices.

    Returns:
        The walk to lower indices, then the walk to higher ones.
    """
    others = sorted(set(anchors) - {anchor})
    below = max((a for a in others if a < anchor), default=None)
    above = min((a for a in others if a > anchor), default=None)
    return (_run(anchor, -1, below, limits, reach), _run(anchor, +1, above, limits, reach))


def _run(anchor: int, direction: int, other: int | None, limits: tuple[int, int], reach: int) -> Run:
    low, high = limits
    edge, end = (low - 1, "range limit") if direction < 0 else (high, "range limit")
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
