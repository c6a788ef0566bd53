"""Train the built-in 3D network by a recipe: painting, people and network all on one device, in one process.

On a CPU the same recipe gives the same bits, also after interruptions; on a GPU the same samples and prompts as long as
the answers agree, whose last bits depend on the order in which the card adds.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from promptseg.errors import SettingsError
from promptseg.models.builtin import BUILTIN_3D_ONNX
from promptseg.models.builtin.training.recipe import rate_at, stage_at
from promptseg.models.builtin.training.resumable import ResumableTraining
from promptseg.models.builtin.training3d.anatomy import LabelMaps
from promptseg.models.builtin.training3d.appearance import rephotograph
from promptseg.models.builtin.training3d.export import read_network
from promptseg.models.builtin.training3d.fields import Chance
from promptseg.models.builtin.training3d.network import VolumeNet
from promptseg.models.builtin.training3d.people import Interaction
from promptseg.models.builtin.training3d.recipe import Recipe, Stage
from promptseg.models.builtin.training3d.scenes import Scenes, gather_scenes
from promptseg.models.families.builtin.volume_views import CHANNELS

__all__ = ["Trainer", "mask_loss", "train"]

log = logging.getLogger(__name__)

WARM_UP = 200
"""Steps over which the learning rate rises from nothing."""

EDGE_WEIGHT, CLICK_WEIGHT = 3.0, 4.0
"""What voxels count more at the object's border, and at a click."""

SCORE_SHARE = 0.2
"""Of the loss: the predicted quality's."""

SMOOTH = 10.0
"""Voxels added to both sides of the soft Dice."""

SIDE = 64
"""Edge of the views that a recipe's group counts."""


class _Table(NamedTuple):
    """Scenes at hand, how often they will be used again, and the people at them."""

    scenes: Scenes
    uses_left: int
    people: Interaction


def mask_loss(logits: Tensor, target: Tensor, clicked: Tensor) -> Tensor:
    """Soft Dice and weighted cross-entropy, averaged over samples; (n, 1, s, s, s) each.

    Args:
        logits: the answers'.
        target: 0 or 1.
        clicked: the larger of both click maps, 0..1.
    """
    probability, truth = logits.sigmoid().flatten(1), target.flatten(1)
    overlap = (probability * truth).sum(1)
    dice = 1 - (2 * overlap + SMOOTH) / (probability.sum(1) + truth.sum(1) + SMOOTH)
    edge = (functional.avg_pool3d(target, 3, 1, 1) - target).abs()
    weight = (1 + EDGE_WEIGHT * edge + CLICK_WEIGHT * clicked**2).flatten(1)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1)
    return dice.mean() + ((entropy * weight).sum(1) / weight.sum(1)).mean()


def dice_of(logits: Tensor, target: Tensor) -> Tensor:
    """Dice (n,) of the thresholded answers."""
    answer, truth = (logits > 0).float().flatten(1), target.flatten(1)
    return (2 * (answer * truth).sum(1) + 1) / (answer.sum(1) + truth.sum(1) + 1)


class Trainer(ResumableTraining):
    """One run: the network, its optimiser, its scenes and people."""

    def __init__(self, recipe: Recipe, out: Path, device: str = "cpu", label_maps: LabelMaps | None = None) -> None:
        self.recipe, self.device, self.label_maps = recipe, device, label_maps
        torch.manual_seed(recipe.seed)
        network = _first_network(recipe).to(device)
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # missing in torch's stubs
        optimiser = torch.optim.AdamW(network.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=0.03)
        super().__init__(network, optimiser, out, device)

    def run(self) -> None:
        """Train to the recipe's end, block by block; everything random begins anew in each, so a run can resume."""
        while self.step < self.recipe.steps:
            began = time.monotonic()
            stage, _ = stage_at(self.recipe.stages, self.step)
            reached = self._block(stage)
            self.spent_s += time.monotonic() - began
            done = f"{self.step} of {self.recipe.steps} ({stage.name}), {self.samples} samples"
            log.info("%.1f min, step %s, Dice %.3f", self.spent_s / 60, done, reached)
            self.save()

    def update(self, views: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """One optimiser step; returns probabilities (n, 1, s, s, s) and the Dice (n,) that they reach."""
        views = views.to(memory_format=torch.channels_last_3d)
        on_gpu = self.device != "cpu"  # a CPU convolves faster in fp32 than through the reference code for bf16
        with torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16, enabled=on_gpu):
            logits, quality = self.network(views)
        reached = dice_of(logits.detach(), targets)
        clicked = torch.maximum(*(views[:, CHANNELS.index(name)] for name in ("positive", "negative")))[:, None]
        score_loss = functional.binary_cross_entropy_with_logits(quality.float(), reached)
        loss = mask_loss(logits, targets, clicked) + SCORE_SHARE * score_loss
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.recipe.stages, self.step, WARM_UP)
        self.optimiser.step()
        self.take_into_average(self.recipe.decay)
        self.step, self.samples = self.step + 1, self.samples + len(views)
        return torch.sigmoid(logits.detach()), reached

    def _block(self, stage: Stage) -> float:
        """The steps up to the next checkpoint; returns their mean Dice."""
        chance = Chance((self.recipe.seed, self.step), self.device)
        sides, shares = list(stage.sides), list(stage.sides.values())
        tables = {side: [self._sit_down(chance, stage, side) for _ in range(self.recipe.groups)] for side in sides}
        reached: list[Tensor] = []
        for _ in range(self.recipe.block):
            side = sides[int(chance.rng.choice(len(sides), p=[share / sum(shares) for share in shares]))]
            at_side = tables[side]
            chosen = chance.rng.permutation(len(at_side))[: self.recipe.per_step].tolist()
            people = [at_side[k].people for k in chosen]
            views = torch.cat([one.views() for one in people])
            targets = torch.cat([one.scenes.targets for one in people])
            probability, dice = self.update(views, targets)
            reached.append(dice.mean())
            for k, part in zip(chosen, torch.split(probability, [len(p.scenes.targets) for p in people]), strict=True):
                at_side[k].people.answer(part)
                if at_side[k].people.left == 0:
                    at_side[k] = self._sit_down(chance, stage, side, at_side[k])
        return float(torch.stack(reached).mean())

    def _sit_down(self, chance: Chance, stage: Stage, side: int, before: _Table | None = None) -> _Table:
        """People at new scenes, or at the ones before once more."""
        if before is not None and before.uses_left > 0:
            scenes, left = turned(chance, before.scenes), before.uses_left - 1
        else:
            count = max(1, round(self.recipe.group * (SIDE / side) ** 3)) if side > SIDE else self.recipe.group
            scenes = gather_scenes(chance, count, side, stage.painting, self.label_maps)
            left = self.recipe.uses - 1
        return _Table(scenes, left, Interaction(scenes, chance, stage.people))


def turned(chance: Chance, scenes: Scenes) -> Scenes:
    """The same scenes with their axes exchanged, perhaps mirrored, and in other greys."""
    order = [0, 1, *(2 + chance.rng.permutation(3)).tolist()]
    image, target = (array.permute(order) for array in (scenes.images, scenes.targets))
    if chance.toss(0.5):
        image, target = image.flip(2), target.flip(2)
    return Scenes(rephotograph(chance, image.contiguous()), target.contiguous())


def _first_network(recipe: Recipe) -> VolumeNet:
    if recipe.start == "shipped":
        return read_network(BUILTIN_3D_ONNX)
    if recipe.start != "nothing":
        raise SettingsError(f"expected a recipe's start to be nothing or shipped, got {recipe.start!r}")
    return VolumeNet(tuple(recipe.widths))


def train(recipe: Recipe, out: Path, device: str = "cpu", label_maps: LabelMaps | None = None) -> Path:
    """Run a recipe to its end, or on from the checkpoint that lies in ``out``; returns the checkpoint's path."""
    out.mkdir(parents=True, exist_ok=True)
    if device != "cpu":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = True  # of convolutions; products stay in fp32, distances need it
    trainer = Trainer(recipe, out, device, label_maps)
    trainer.run()
    return trainer.checkpoint
