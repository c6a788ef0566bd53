"""Training samples: views of random worlds and of label maps, each with the one object that is meant in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from promptseg.errors import ModelError
from promptseg.models.builtin.training3d import worlds
from promptseg.models.builtin.training3d.anatomy import LabelMaps
from promptseg.models.builtin.training3d.appearance import photograph
from promptseg.models.builtin.training3d.fields import Chance, connected_to, view_grid
from promptseg.models.builtin.training3d.placing import Placing, place_views

__all__ = ["Painting", "Scenes", "gather_scenes", "paint_scenes", "visible"]

COARSE = 40
"""Edge of the grid on which objects are chosen in a world."""

SMALLEST_CHOSEN, LARGEST_CHOSEN = 3e-4, 0.35
"""Share of a world that a label has which is chosen."""

LIKING = {
    **dict.fromkeys(range(worlds.OUTSIDE), 0.5),
    worlds.OUTSIDE: 0.0,
    worlds.SHEET: 0.3,
    **dict.fromkeys(range(worlds.TUBES, worlds.WALLS), 1.6),
    **dict.fromkeys(range(worlds.WALLS, worlds.TREE), 0.5),
    worlds.TREE: 4.0,
}
"""How much more often than an organ a label is chosen."""

SMALLEST, LARGEST = 1.2e-3, 0.8
"""Share of its view that an object has."""

CONTRAST, STRUCTURE = 0.10, 0.06
"""An object is seen whose mean differs from its surroundings' by so much (of -1..1), or whose surroundings vary by so
much: others nobody could point at."""

SPARE = 0.5
"""So many more are painted than are wanted, for those that come out unseen, empty or too large; always as many, since a
GPU's convolutions are tuned anew for every size of a batch."""

MOST_TRIES = 50
"""Batches that are painted before a recipe counts as one that gives nothing."""


@dataclass(frozen=True)
class Painting:
    """What is painted.

    Attributes:
        anatomy: share of groups that show label maps, where there are any.
        trees: share of random worlds with a thin tree.
        placing: how views are placed.
    """

    anatomy: float = 0.4
    trees: float = 0.0
    placing: Placing = field(default_factory=Placing)


@dataclass(frozen=True, eq=False)
class Scenes:
    """A batch of samples.

    Attributes:
        images: float32 (n, 1, s, s, s), stretched as the network sees them.
        targets: float32 (n, 1, s, s, s), 0 or 1, never empty.
    """

    images: Tensor
    targets: Tensor

    def kept(self, which: Tensor | slice) -> Scenes:
        """Those chosen by a mask (n,) or a slice."""
        return Scenes(self.images[which], self.targets[which])


def gather_scenes(
    chance: Chance, count: int, side: int, painting: Painting, label_maps: LabelMaps | None = None
) -> Scenes:
    """Paint until there are ``count`` good samples of edge ``side``, all of one origin.

    Raises:
        ModelError: painting gives nothing that could be pointed at.
    """
    shows_anatomy = label_maps is not None and chance.toss(painting.anatomy)
    attempted = count + int(SPARE * count)
    parts: list[Scenes] = []
    for _ in range(MOST_TRIES):
        if label_maps is not None and shows_anatomy:
            labels, target = label_maps.look(chance, attempted, side, painting.placing)
            made = Scenes(photograph(chance, labels, label_maps.greys), target[:, None].float())
        else:
            made = paint_scenes(chance, attempted, side, painting)
        parts.append(made.kept(visible(made)))
        if sum(len(part.images) for part in parts) >= count:
            images, targets = (torch.cat([getattr(p, name) for p in parts]) for name in ("images", "targets"))
            return Scenes(images[:count], targets[:count])
    raise ModelError(f"expected samples to learn from, got fewer than {count} in {MOST_TRIES} attempts: see the recipe")


def paint_scenes(chance: Chance, count: int, side: int, painting: Painting) -> Scenes:
    """Paint ``count`` random worlds, choose an object in each and look at it; some may be empty or unseen."""
    world = worlds.World(chance, count, painting.trees)
    grid = view_grid(COARSE, chance.device)[None].expand(count, -1, -1, -1, -1)
    labels = world.labels(grid)
    chosen = _choose(chance, labels)
    coarse = _belongs(labels, chosen)
    one = torch.zeros_like(coarse).flatten(1)
    one.scatter_(1, chance.pick(coarse.flatten(1))[:, None], True)
    all_parts = chance.under(0.1, count).view(-1, 1, 1, 1)
    coarse = torch.where(all_parts, coarse, connected_to(coarse, one.view_as(coarse)))
    centre, half = place_views(chance, coarse, torch.ones(count, 3, device=chance.device), painting.placing)
    at = centre[:, None, None, None] + view_grid(side, chance.device) * half[:, None, None, None]
    fine = world.labels(at)
    near = functional.grid_sample(coarse[:, None].float(), at.flip(-1), mode="nearest", align_corners=False)[:, 0] > 0.5
    target = connected_to(_belongs(fine, chosen), near)
    return Scenes(photograph(chance, fine, worlds.LABELS), target[:, None].float())


def _choose(chance: Chance, labels: Tensor) -> Tensor:
    """Two labels (n, 2) that make up the object of every world: the same twice, or an organ and its core."""
    flat = labels.flatten(1)
    count = torch.zeros(len(flat), worlds.LABELS, device=flat.device)
    count.scatter_add_(1, flat, torch.ones_like(flat, dtype=torch.float32))
    share = count / flat.shape[1]
    liking = torch.tensor([LIKING.get(label, 1.0) for label in range(worlds.LABELS)], device=flat.device)
    chosen = chance.pick(((share > SMALLEST_CHOSEN) & (share < LARGEST_CHOSEN)) * liking)
    is_organ = (chosen >= worlds.ORGANS) & (chosen < worlds.CORES)
    with_core = is_organ & chance.under(0.6, len(flat))
    return torch.stack([chosen, torch.where(with_core, chosen - worlds.ORGANS + worlds.CORES, chosen)], 1)


def _belongs(labels: Tensor, chosen: Tensor) -> Tensor:
    return (labels == chosen[:, 0].view(-1, 1, 1, 1)) | (labels == chosen[:, 1].view(-1, 1, 1, 1))


def visible(scenes: Scenes) -> Tensor:
    """bool (n,): the object is neither tiny nor nearly all of the view, and stands out somewhere."""
    image, target = scenes.images, scenes.targets
    ring = functional.max_pool3d(functional.max_pool3d(target, 3, 1, 1), 3, 1, 1) - target
    inside, outside = _mean(image, target), _mean(image, ring)
    varies = _mean((image - outside.view(-1, 1, 1, 1, 1)) ** 2, ring)
    share = target.flatten(1).mean(1)
    seen = ((inside - outside).abs() > CONTRAST) | (varies > STRUCTURE)
    return seen & (share > SMALLEST) & (share < LARGEST)


def _mean(image: Tensor, weight: Tensor) -> Tensor:
    return (image * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp_min(1)
