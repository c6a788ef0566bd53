"""Where a view lies: around the whole object that is meant in it, around a part of it, or as an engine places it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from promptseg.models.builtin.training3d.fields import Chance, bounds_of

__all__ = ["Placing", "middle_slice", "place_views"]

LARGEST_RATIO = 4.0
"""No axis of a view is shorter than this part of the longest."""


@dataclass(frozen=True)
class Placing:
    """How views are placed; shares of all, the rest shows the whole object.

    Attributes:
        cut: views that cut the object, around one of its voxels.
        by_box: views placed as an engine does that knows a box on a middle slice and the range: an object that is wider
            elsewhere is cut.
    """

    cut: float = 0.0
    by_box: float = 0.0


def place_views(chance: Chance, coarse: Tensor, scale: Tensor, placing: Placing) -> tuple[Tensor, Tensor]:
    """Choose a view for each object.

    Args:
        chance: all randomness.
        coarse: bool (n, c, c, c), the objects on a coarse grid over -1..1.
        scale: (n, 3), what 1 of that grid is in the unit of the answer.
        placing: shares.

    Returns:
        centre and half of the edges, (n, 3) each, in the unit of ``scale``.
    """
    low, high = _box(coarse)
    low, high = low * scale, high * scale
    half, centre = ((high - low) / 2).clamp_min(1e-3), (high + low) / 2
    choice = chance.uniform(len(coarse), 1)
    found = [
        _whole(chance, centre, half),
        _part(chance, coarse, scale, half),
        _by_box(chance, coarse, scale, centre, half),
    ]
    is_part = choice < placing.cut
    is_by_box = ~is_part & (choice < placing.cut + placing.by_box)
    chosen = []
    for whole, part, by_box in zip(*found, strict=True):
        chosen.append(torch.where(is_part, part, torch.where(is_by_box, by_box, whole)))
    return chosen[0], chosen[1]


def middle_slice(chance: Chance, target: Tensor, straying: float = 0.3) -> Tensor:
    """Index (n,) of a slice that holds the object (n, d, h, w): the middle one of them, or any for a share."""
    holds = target.flatten(2).any(2)
    count = holds.sum(1)
    share = torch.where(
        chance.under(straying, len(target)),
        chance.uniform(len(target)),
        torch.full_like(count, 0.5, dtype=torch.float32),
    )
    rank = (share * count).long().clamp_max(count - 1) + 1
    return (torch.cumsum(holds, 1) >= rank[:, None]).float().argmax(1)


def _box(coarse: Tensor) -> tuple[Tensor, Tensor]:
    """Bounding box (n, 3) twice in -1..1; inverted where there is nothing."""
    c = coarse.shape[1]
    axes = [coarse.flatten(2).any(2), coarse.any(3).any(1), coarse.any(2).any(1)]
    bounds = [bounds_of(axis) for axis in axes]
    first, last = torch.stack([b[0] for b in bounds], 1), torch.stack([b[1] for b in bounds], 1)
    return first / c * 2 - 1, (last + 1) / c * 2 - 1


def _whole(chance: Chance, centre: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    n = len(half)
    each, common = chance.spread(n, 3, low=1.15, high=2.2), chance.spread(n, 1, low=1.2, high=1.9)
    wanted = half * torch.where(chance.under(0.5, n, 1), each, common)
    wanted = torch.maximum(wanted, wanted.amax(1, keepdim=True) / chance.uniform(n, 1, low=1, high=3))
    return centre + (wanted - half).clamp_min(0) * chance.uniform(n, 3, low=-0.55, high=0.55), wanted


def _part(chance: Chance, coarse: Tensor, scale: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    n, c = len(coarse), coarse.shape[1]
    chosen = chance.pick(coarse.flatten(1))
    index = torch.stack([chosen // (c * c), chosen // c % c, chosen % c], 1)
    wanted = _limited(half * chance.uniform(n, 1, low=0.35, high=0.9))
    return ((index + 0.5) / c * 2 - 1) * scale, wanted


def _by_box(chance: Chance, coarse: Tensor, scale: Tensor, centre: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Box x 1.55 in plane and range x 1.2, somewhat more or less, in half of them grown in plane."""
    n, c = len(coarse), coarse.shape[1]
    plane = coarse[torch.arange(n, device=coarse.device), middle_slice(chance, coarse)]
    bounds = [bounds_of(plane.any(2)), bounds_of(plane.any(1))]
    across = [((first + last + 1) / c - 1) * scale[:, k + 1] for k, (first, last) in enumerate(bounds)]
    edges = [(last + 1 - first) / c * scale[:, k + 1] for k, (first, last) in enumerate(bounds)]
    grown = torch.where(chance.under(0.5, n), chance.spread(n, low=1.0, high=1.8), torch.ones_like(half[:, 0]))
    wanted = [half[:, 0] * chance.uniform(n, low=1.1, high=1.35)]
    wanted += [edge.clamp_min(1e-3) * grown * chance.uniform(n, low=1.4, high=1.75) for edge in edges]
    return torch.stack([centre[:, 0], *across], 1), _limited(torch.stack(wanted, 1))


def _limited(half: Tensor) -> Tensor:
    return torch.maximum(half, half.amax(1, keepdim=True) / LARGEST_RATIO)
