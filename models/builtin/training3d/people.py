"""Simulated people, all on the device: a first prompt, then click after click where the answer is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from promptseg.models.builtin.training3d.fields import (
    Chance,
    blurred,
    bounds_of,
    depth_inside,
    random_field,
    view_grid,
)
from promptseg.models.builtin.training3d.placing import middle_slice
from promptseg.models.builtin.training3d.scenes import Scenes
from promptseg.models.families.builtin.volume_views import CHANNELS, CLICK_REACH

__all__ = ["Interaction", "People", "click_map", "spoilt"]

FEWEST_ROUNDS, MOST_ROUNDS = 2, 7
"""Answers to one first prompt before another scene is prompted."""

WITH_BOX, FROM_KNOWN, WITH_KNOWN, WITH_CLICK = 0.6, 0.42, 0.76, 0.88
"""Bounds of one random number: below the first there is a box, between the next two a known slice, then a click alone;
above the last a wrong earlier mask is to be corrected."""

WITH_RANGE = 0.75
"""Share of those with a box or a known slice that have a range too."""

SLOPPY, SLOPPY_RANGE = 0.07, 0.05
"""Standard deviation of a box's edges, and of a range's ends, in edges and in ranges."""

OFF_CENTRE, CENTRED, OFF = 3.0, 0.8, 0.3
"""A click lies at the deepest voxel plus random depth of up to this: for a share of the clicks, for the others."""

SCATTERED_POWER = 2.0
"""Scattered clicks fall anywhere, in proportion to depth to this power."""

SIZE_POWER = 0.33
"""Of missed and spilled voxels those are clicked whose depth times volume to this power is larger."""

KEPT_INSIDE, CERTAIN = 0.26, 0.8
"""Most of an edge that lies outside what was asked before, on either side; how sure a wrong mask is (2p - 1)."""


@dataclass(frozen=True)
class People:
    """How people prompt; shares.

    Attributes:
        scattered: clicks that fall anywhere in the region, more often where it is deep.
        wrong_known: known slices whose mask is wrong.
        several_known: prompts with a known slice that have further ones.
        grown: answers of which only an inner part is known in the next round, as when a view has grown.
    """

    scattered: float = 0.0
    wrong_known: float = 0.0
    several_known: float = 0.0
    grown: float = 0.0


class Interaction:
    """Scenes that are prompted together, round after round.

    Attributes:
        scenes: what is looked at.
        left: rounds to go.
    """

    def __init__(self, scenes: Scenes, chance: Chance, people: People) -> None:
        self.scenes, self._chance, self._people = scenes, chance, people
        self.left = int(chance.rng.integers(FEWEST_ROUNDS, MOST_ROUNDS + 1))
        empty = torch.zeros_like(scenes.targets)
        self._maps = dict.fromkeys(CHANNELS, empty) | {"image": scenes.images}
        choice = chance.uniform(len(empty))
        self._draw_slices(choice < WITH_BOX, (choice > FROM_KNOWN) & (choice < WITH_KNOWN))
        is_wrong, target = choice > WITH_CLICK, scenes.targets[:, 0] > 0.5
        wrong = spoilt(chance, scenes.targets)
        self._maps["previous"] = torch.where(_each(is_wrong), CERTAIN * (2 * wrong - 1), empty)
        self._click(target, "positive", (choice > WITH_KNOWN) & ~is_wrong)
        self._correct((wrong > 0.5)[:, 0], is_wrong)

    def views(self) -> Tensor:
        """The network's input (n, channels, s, s, s) now."""
        return torch.cat([self._maps[name] for name in CHANNELS], 1)

    def answer(self, probability: Tensor) -> None:
        """Take the network's answer (n, 1, s, s, s) and click where it is wrong."""
        self.left -= 1
        asked = self._asked_before(probability)
        self._maps["previous"] = (2 * probability - 1) * asked
        everyone = torch.ones(len(probability), dtype=torch.bool, device=probability.device)
        self._correct((probability > 0.5)[:, 0], everyone)

    def _draw_slices(self, with_box: Tensor, with_known: Tensor) -> None:
        """Box, range and known slice on the first axis."""
        chance, target = self._chance, self.scenes.targets[:, 0] > 0.5
        n, side = target.shape[:2]
        at = torch.arange(side, device=target.device)[None]
        first, last = bounds_of(target.flatten(2).any(2))
        chosen = middle_slice(chance, target)
        on_slice = at == chosen[:, None]
        plane = target[torch.arange(n, device=target.device), chosen]
        rows, columns = (self._sloppy(at, *bounds_of(plane.any(axis)), SLOPPY) for axis in (2, 1))
        inside = rows[:, :, None] & columns[:, None]
        box = (on_slice & with_box[:, None])[:, :, None, None] & inside[:, None]
        span = torch.where(self._sloppy(at, first, last, SLOPPY_RANGE), 1.0, -1.0)
        with_range = chance.under(WITH_RANGE, n) & (with_box | with_known)
        known = self._known(inside)
        further = chance.under(3.0 / side, n, side) & (at >= first[:, None] - 2) & (at <= last[:, None] + 2)
        shown = on_slice | (further & chance.under(self._people.several_known, n, 1))
        shown = (shown & with_known[:, None])[:, None, :, None, None]
        self._maps["box"] = box[:, None].float()
        self._maps["range"] = (span * with_range[:, None])[:, None, :, None, None].expand_as(self.scenes.targets)
        self._maps["known"] = torch.where(shown, known, torch.zeros_like(known))

    def _sloppy(self, at: Tensor, first: Tensor, last: Tensor, amount: float) -> Tensor:
        """bool (n, side): indices from about ``first`` to about ``last``."""
        length = (last - first) * amount
        first = first + length * self._chance.normal(len(first))
        last = last + length * self._chance.normal(len(last))
        return (at >= first[:, None] - 0.5) & (at <= last[:, None] + 0.5)

    def _known(self, box: Tensor) -> Tensor:
        """The object as -1 and 1, a little smoothed; for a share it is wrong, or the box filled."""
        chance, target = self._chance, self.scenes.targets
        n = len(target)
        wrong = chance.under(self._people.wrong_known, n)
        mask = torch.where(_each(wrong), (spoilt(chance, target) > 0.5).float(), target)
        filled = box[:, None, None].expand_as(mask).float()
        mask = torch.where(_each(wrong & chance.under(0.25, n)), filled, mask)
        smooth = blurred(mask, chance.uniform(n, 1, low=0.1, high=1.4).expand(n, 3))
        return torch.where(smooth > _each(chance.uniform(n, low=0.3, high=0.7)), 1.0, -1.0)

    def _asked_before(self, probability: Tensor) -> Tensor:
        """1 where the answer is carried on, 0 where the view has just grown."""
        n, side = len(probability), probability.shape[-1]
        at = torch.arange(side, device=probability.device)[None]
        kept = torch.ones_like(probability)
        for axis in range(3):
            edges = (KEPT_INSIDE * side * self._chance.uniform(n, 1) for _ in range(2))
            low, high = next(edges), side - next(edges)
            shape = [n, 1, 1, 1, 1]
            shape[2 + axis] = side
            kept = kept * ((at >= low) & (at < high)).view(shape)
        return torch.where(_each(self._chance.under(self._people.grown, n)), kept, torch.ones_like(kept))

    def _correct(self, answer: Tensor, which: Tensor) -> None:
        """Click in the larger of what is missed and what is too much, both bool (n, s, s, s), in those of ``which``."""
        target = self.scenes.targets[:, 0] > 0.5
        missed, spilled = target & ~answer, answer & ~target
        worth = [_worth(region) for region in (missed, spilled)]
        self._click(missed, "positive", which & (worth[0] >= worth[1]))
        self._click(spilled, "negative", which & (worth[0] < worth[1]))

    def _click(self, region: Tensor, channel: str, which: Tensor) -> None:
        """One click in each region (n, s, s, s) of ``which`` that holds anything."""
        which = which & region.flatten(1).any(1)
        drawn = click_map(self._place(region), region.shape[-1])
        self._maps[channel] = torch.where(_each(which), torch.maximum(self._maps[channel], drawn), self._maps[channel])

    def _place(self, region: Tensor) -> Tensor:
        """A voxel (n, 3) of each region; any voxel where it is empty."""
        chance, side = self._chance, region.shape[-1]
        depth = depth_inside(region).flatten(1)
        loose = torch.where(chance.under(OFF, len(depth), 1), OFF_CENTRE, CENTRED)
        deep = ((depth + chance.uniform(*depth.shape) * loose) * (depth > 0)).argmax(1)
        anywhere = chance.pick(depth**SCATTERED_POWER)
        chosen = torch.where(chance.under(self._people.scattered, len(depth)), anywhere, deep)
        return torch.stack([chosen // (side * side), chosen // side % side, chosen % side], 1)


def click_map(voxels: Tensor, side: int) -> Tensor:
    """exp(-distance / reach) of one voxel (n, 3) each: (n, 1, side, side, side)."""
    at = torch.arange(side, device=voxels.device)
    z, y, x = ((at[None] - voxels[:, axis : axis + 1]).square() for axis in range(3))
    squares = z[:, :, None, None] + y[:, None, :, None] + x[:, None, None]
    return torch.exp(squares.float().sqrt() / -CLICK_REACH)[:, None]


def spoilt(chance: Chance, target: Tensor) -> Tensor:
    """A wrong mask (n, 1, s, s, s), 0 or 1: warped, swollen or shrunk, some with a piece missing or too much."""
    n, device = len(target), target.device
    grid = view_grid(target.shape[-1], device)[None].expand(n, -1, -1, -1, -1)
    at = grid + _each(chance.uniform(n, high=0.22)) * random_field(chance, grid, 4, 3).permute(0, 2, 3, 4, 1)
    mask = functional.grid_sample(target, at.flip(-1), align_corners=False)
    mask = blurred(mask, chance.uniform(n, 1, low=0.5, high=2.5).expand(n, 3))
    mask = (mask > _each(chance.uniform(n, low=0.15, high=0.85))).float()
    blob = random_field(chance, grid, 5) > _each(chance.uniform(n, low=0.2, high=1.2))
    near = mask
    for _ in range(4):
        near = functional.max_pool3d(near, 3, 1, 1)
    fault = torch.as_tensor(chance.rng.integers(0, 3, n), device=device)
    mask = torch.where(_each(fault == 0) & blob, torch.zeros_like(mask), mask)
    return torch.where(_each(fault == 1) & blob & (near > 0), torch.ones_like(mask), mask)


def _worth(region: Tensor) -> Tensor:
    """How much a region (n, s, s, s) calls for a click, (n,)."""
    return depth_inside(region).flatten(1).amax(1) * region.flatten(1).sum(1).float() ** SIZE_POWER


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1, 1)
