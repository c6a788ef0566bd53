"""Which slices a new anchor may change, and in which order. Pure data: nothing is predicted here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

__all__ = ["Run", "Step", "plan_runs"]


@dataclass(frozen=True)
class Step:
    """Carry the mask from slice ``source`` to slice ``index``.

    Attributes:
        index: slice to predict.
        source: neighbouring slice that the mask comes from.
        beyond_middle: this slice lies nearer to another anchor: it is taken only where that anchor's own walk has
            left nothing.
        taper: 0 ... 1, the radius of an ellipsoid over the object's given range on this slice, relative to its largest;
            1 where no range is given. An end at the volume's border is a cut, not an end.
        source_taper: the same on ``source``.
    """

    index: int
    source: int
    beyond_middle: bool = False
    taper: float = 1.0
    source_taper: float = 1.0


@dataclass(frozen=True)
class Run:
    """One direction of a walk.

    Attributes:
        anchor: the slice that it starts from.
        steps: in order.
        end: why there are no more steps.
        other: the anchor that it walks towards, or None.
        in_range: a person has said that the object reaches over all these slices.
        taper: see ``Step``, on the anchor.
        returning: it starts from a neighbouring anchor, towards the one that has changed.
    """

    anchor: int
    steps: tuple[Step, ...]
    end: str
    other: int | None = None
    in_range: bool = False
    taper: float = 1.0
    returning: bool = False


def plan_runs(
    anchor: int, anchors: Iterable[int], slice_count: int, reach: int, limits: tuple[int, int] | None = None
) -> tuple[Run, ...]:
    """Plan the walks that a new or changed anchor asks for.

    Between two anchors each rules up to the middle; the anchors themselves are never changed.

    Args:
        anchor: slice index of the anchor.
        anchors: all anchors of this label in this plane (``anchor`` may be among them).
        slice_count: number of slices in the plane.
        reach: greatest distance from the anchor, in slices.
        limits: half-open range of slice indices that the mask may occupy; None: all. A range that does not hold the
            anchor itself says nothing about it and is ignored.

    Returns:
        The walk to lower indices, the one to higher ones; then, from neighbouring anchors, those back to the middle.
    """
    limited = limits is not None and limits[0] <= anchor < limits[1]
    low, high = limits if limits is not None and limited else (0, slice_count)
    others = set(anchors) - {anchor}
    below = max((a for a in others if a < anchor), default=None)
    above = min((a for a in others if a > anchor), default=None)
    edges = {-1: (low - 1, "volume border" if low == 0 else "range limit")}
    edges[1] = (high, "volume border" if high == slice_count else "range limit")
    runs = [_run(anchor, way, other, edges[way], reach, limited) for way, other in ((-1, below), (1, above))]
    runs += [_back(run) for run in runs if run.other is not None]
    return tuple(_tapered(run, low, high, slice_count) for run in runs) if limited else tuple(runs)


def taper(index: int, low: int, high: int, slice_count: int) -> float:
    """Return the radius of an ellipsoid over the half-open range on a slice, relative to its largest.

    Over 37 objects of two volumes the median radius follows it from end to end (0.32, 0.57, 0.74, 0.83, 0.90 of the
    largest at 5, 15, 25, 35 and 45 % of the way in; the ellipsoid has 0.31, 0.53, 0.66, 0.76, 0.84).
    """
    half = (high - low) / 2
    inward = min(
        (index + 0.5 - low) / half if low > 0 else 1.0, (high - index - 0.5) / half if high < slice_count else 1.0
    )
    return math.sqrt(max(0.0, 1 - (1 - min(inward, 1.0)) ** 2))


def _tapered(run: Run, low: int, high: int, slice_count: int) -> Run:
    def at(index: int) -> float:
        return taper(index, low, high, slice_count)

    steps = tuple(replace(step, taper=at(step.index), source_taper=at(step.source)) for step in run.steps)
    return replace(run, steps=steps, taper=at(run.anchor))


def _run(anchor: int, direction: int, other: int | None, limit: tuple[int, str], reach: int, limited: bool) -> Run:
    edge, end = limit  # the first slice that is not walked to, and why
    if abs(edge - anchor) > reach:
        edge, end = anchor + direction * (reach + 1), "range in mm"
    if other is not None and abs(other - anchor) <= abs(edge - anchor):
        edge, end = other, "next anchor"
    met = end == "next anchor"
    middle = abs(edge - anchor) / 2 if met else float("inf")
    steps = tuple(
        Step(index, index - direction, beyond_middle=abs(index - anchor) > middle)
        for index in range(anchor + direction, edge, direction)
    )
    return Run(anchor, steps, end, other if met else None, in_range=limited)


def _back(run: Run) -> Run:
    """Return the walk from the other end of a run between two anchors up to its middle."""
    direction = run.steps[0].source - run.steps[0].index if run.steps else 1
    steps = tuple(Step(step.index, step.index + -direction) for step in reversed(run.steps) if step.beyond_middle)
    other = run.anchor if run.other is None else run.other
    return Run(other, steps, "next anchor", run.anchor, run.in_range, returning=True)
