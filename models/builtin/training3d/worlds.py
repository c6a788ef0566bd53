"""Random 3D worlds of implicit shapes: what they are made of is decided once, then labels can be read off anywhere.

Everything is a batch of ``n`` worlds; coordinates (n, d, h, w, 3) are (z, y, x), -1..1 over the world, and are warped
smoothly before they are asked. Later shapes lie over earlier ones.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from promptseg.models.builtin.training3d.fields import Chance, field_at, rotations

__all__ = ["CORES", "LABELS", "ORGANS", "OUTSIDE", "SHEET", "TREE", "TUBES", "WALLS", "World"]

CELL_COUNT, ORGAN_COUNT, TUBE_COUNT, BRANCH_COUNT = 10, 14, 5, 7

CELLS = 0
"""First label of the cells; so on below."""

OUTSIDE = CELLS + CELL_COUNT
SHEET = OUTSIDE + 1
ORGANS = SHEET + 1
CORES = ORGANS + ORGAN_COUNT
TUBES = CORES + ORGAN_COUNT
WALLS = TUBES + TUBE_COUNT
TREE = WALLS + TUBE_COUNT
LABELS = TREE + 1
"""Number of all labels."""

CURVE_POINTS, BRANCH_POINTS = 28, 20
"""Points of a tube's course, and of a branch's."""

CALM = 0.5
"""Coordinates are scaled by this where a field is asked: it holds fewer bumps across the world than it has knots."""


class World:
    """A batch of worlds."""

    def __init__(self, chance: Chance, count: int, trees: float = 0.0) -> None:
        """Decide on everything.

        Args:
            chance: all randomness.
            count: worlds in the batch.
            trees: share of the worlds with a thin branching tree.
        """
        self.count = count
        self._warps = [(chance.normal(count, 3, k, k, k), _column(chance.uniform(count, high=h))) for k, h in WARPS]
        knots = int(chance.rng.integers(3, 9))
        self._cells = chance.normal(count, CELL_COUNT, knots, knots, knots)
        self._cells += chance.uniform(count, CELL_COUNT, 1, 1, 1, low=-0.6, high=0.6)
        self._has_cells = chance.under(0.45, count)
        self._sheet = chance.normal(count, 1, 6, 6, 6)
        thick = chance.uniform(count, low=0.05, high=0.35)
        self._sheet_half = torch.where(chance.under(0.25, count), thick, torch.zeros_like(thick))
        self._body = chance.uniform(count, 1, 3, low=0.75, high=1.3)
        self._has_body = chance.under(0.6, count)
        self._organs = _Organs(chance, count)
        self._tubes = _Tubes(chance, count)
        self._tree = _Tree(chance, count, trees)

    def labels(self, at: Tensor) -> Tensor:
        """int64 (n, d, h, w) at coordinates (n, d, h, w, 3)."""
        for field, amount in self._warps:
            at = at + (amount[..., None] * field_at(field, at * CALM).permute(0, 2, 3, 4, 1))
        out = field_at(self._cells, at * 0.6).argmax(1) * _column(self._has_cells)
        out = _over(out, field_at(self._sheet, at * 0.6)[:, 0].abs() < _column(self._sheet_half), SHEET)
        out = self._organs.over(out, at)
        out = self._tubes.over(out, at)
        out = self._tree.over(out, at)
        outside = (at / self._body[:, :, None, None]).square().sum(-1) >= 1
        return _over(out, outside & _column(self._has_body), OUTSIDE)


WARPS = ((3, 0.28), (7, 0.10))
"""Knots and largest amount of the two smooth displacements."""


class _Organs:
    """Superquadrics with rough surfaces; some have a core."""

    def __init__(self, chance: Chance, count: int) -> None:
        shape = (count, ORGAN_COUNT)
        self.centre = chance.uniform(*shape, 3, low=-0.85, high=0.85)
        self.radius = chance.spread(*shape, 1, low=0.07, high=0.5) * chance.spread(*shape, 3, low=0.55, high=1.8)
        self.turn = rotations(chance, count * ORGAN_COUNT).view(*shape, 3, 3)
        square = chance.uniform(*shape, low=2.5, high=6)
        self.power = torch.where(chance.under(0.25, *shape), square, torch.full_like(square, 2.0))
        knots = int(chance.rng.integers(5, 13))
        self.bumps = chance.normal(*shape, knots, knots, knots)
        self.roughness = 0.6 * chance.uniform(*shape, 1, 1, 1) ** 1.4
        self.core = chance.uniform(*shape, low=0.25, high=0.75) * chance.under(0.3, *shape)
        self.is_here = chance.under(chance.uniform(count, 1, low=0.35), *shape)

    def over(self, out: Tensor, at: Tensor) -> Tensor:
        rough = self.roughness * field_at(self.bumps, at * CALM)
        flat = at.flatten(1, 3)
        for k in range(ORGAN_COUNT):
            local = (flat - self.centre[:, k, None]) @ self.turn[:, k] / self.radius[:, k, None]
            power = self.power[:, k, None]
            norm = (local.abs().clamp_min(1e-6) ** power[..., None]).sum(-1) ** (1 / power)
            norm = norm.view(out.shape) + rough[:, k]
            here = _column(self.is_here[:, k])
            out = _over(out, (norm < 1) & here, ORGANS + k)
            out = _over(out, (norm < _column(self.core[:, k])) & here, CORES + k)
        return out


class _Tubes:
    """Winding tubes of changing width, some with a wall; the second one branches off the first."""

    def __init__(self, chance: Chance, count: int) -> None:
        shape = (count, TUBE_COUNT)
        start = chance.uniform(*shape, 3, low=-0.8, high=0.8)
        start[:, 1] = start[:, 0]
        wind, step = chance.uniform(*shape, 1, low=0.05, high=0.45), chance.uniform(*shape, 1, low=0.03, high=0.09)
        self.course = _walk(chance, start, chance.normal(*shape, 3), wind * torch.ones_like(step), step, CURVE_POINTS)
        swell = torch.cumsum(0.12 * chance.normal(*shape, CURVE_POINTS), -1)
        self.radius = chance.spread(*shape, 1, low=0.02, high=0.16) * (1 + 0.35 * swell).clamp(0.4, 1.8)
        self.radius[:, 1] = self.radius[:, 0] * chance.uniform(count, 1, low=0.5, high=0.95)
        self.is_here = chance.under(chance.uniform(count, 1, high=0.9), *shape)
        self.has_wall = chance.under(0.25, *shape)

    def over(self, out: Tensor, at: Tensor) -> Tensor:
        for k in range(TUBE_COUNT):
            distance = _radii_away(at, self.course[:, k], self.radius[:, k])
            here = _column(self.is_here[:, k])
            out = _over(out, (distance < 1.25) & here & _column(self.has_wall[:, k]), WALLS + k)
            out = _over(out, (distance < 1) & here, TUBES + k)
        return out


class _Tree:
    """A thin tree: every branch leaves an earlier one and is thinner."""

    def __init__(self, chance: Chance, count: int, share: float) -> None:
        self.is_here = chance.under(share, count)
        position, heading = chance.uniform(count, 3, low=-0.5, high=0.5), chance.normal(count, 3)
        width = chance.spread(count, 1, low=0.015, high=0.06)
        self.branches: list[tuple[Tensor, Tensor]] = []
        for number in range(BRANCH_COUNT if share > 0 else 0):
            step = chance.uniform(count, 1, 1, low=0.04, high=0.08)
            wind = chance.uniform(count, 1, 1, low=0.05, high=0.3)
            course = _walk(chance, position[:, None], heading[:, None], wind, step, BRANCH_POINTS)[:, 0]
            self.branches.append((course, width * torch.linspace(1, 0.75, BRANCH_POINTS, device=width.device)))
            parent, radius = self.branches[int(chance.rng.integers(number + 1))]
            point = int(chance.rng.integers(3, BRANCH_POINTS - 3))
            position, width = (
                parent[:, point],
                radius[:, point : point + 1] * chance.uniform(count, 1, low=0.6, high=0.9),
            )
            along = functional.normalize(parent[:, point + 1] - parent[:, point - 1], dim=-1)
            heading = along + 0.9 * functional.normalize(chance.normal(count, 3), dim=-1)

    def over(self, out: Tensor, at: Tensor) -> Tensor:
        for course, radius in self.branches:
            out = _over(out, (_radii_away(at, course, radius) < 1) & _column(self.is_here), TREE)
        return out


def _walk(chance: Chance, at: Tensor, heading: Tensor, wind: Tensor, step: Tensor, points: int) -> Tensor:
    """Courses (n, k, points, 3) from starts (n, k, 3): every step turns a little."""
    course, heading = [], functional.normalize(heading, dim=-1)
    for _ in range(points):
        course.append(at)
        heading = functional.normalize(heading + wind * chance.normal(*heading.shape), dim=-1)
        at = at + step * heading
    return torch.stack(course, 2)


def _radii_away(at: Tensor, course: Tensor, radius: Tensor) -> Tensor:
    """Distance (n, d, h, w) to the nearest of points (n, p, 3), in the radii (n, p) that they have."""
    flat = at.flatten(1, 3)
    squares = flat.square().sum(-1, keepdim=True) + course.square().sum(-1)[:, None]
    distance = torch.baddbmm(squares, flat, course.transpose(1, 2), alpha=-2)  # in fp32: TF32 is too coarse here
    return (distance.clamp_min(0) / radius.square()[:, None]).amin(-1).sqrt().view(at.shape[:4])


def _column(values: Tensor) -> Tensor:
    """(n,) -> (n, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def _over(labels: Tensor, mask: Tensor, label: int) -> Tensor:
    return torch.where(mask, torch.full_like(labels, label), labels)
