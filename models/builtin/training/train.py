"""Train the built-in network on painted scenes and real images; a recipe gives the same weights on one machine."""

from __future__ import annotations

import json
import logging
import multiprocessing as mp
import time
from collections import deque
from multiprocessing.synchronize import Barrier
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from promptseg.models.builtin import BUILTIN_ONNX
from promptseg.models.builtin.training.export import read_member
from promptseg.models.builtin.training.network import PromptNet
from promptseg.models.builtin.training.real import RealImages
from promptseg.models.builtin.training.recipe import Recipe, Stage, rate_at
from promptseg.models.builtin.training.resumable import ResumableTraining
from promptseg.models.builtin.training.rounds import Interaction
from promptseg.models.builtin.training.samples import Sample, make_samples
from promptseg.models.families.builtin.views import CHANNELS

__all__ = ["train"]

log = logging.getLogger(__name__)

ROUNDS, ROUND_SHARES = (1, 2, 3, 4, 6, 8), (0.25, 0.2, 0.2, 0.17, 0.12, 0.06)
"""Rounds of interaction with one sample."""

OPEN_INTERACTIONS = 96
"""Interactions going on at a time. A step draws its batch from them at random, so that it mixes rounds and scenes:
batches that keep their samples from round to round make every few steps pull in one direction."""

WARM_UP_SHARE = 1 / 15
"""Share of a run's steps over which the learning rate rises from nothing."""

EMPTY_WEIGHT = 10.0
"""Loss of an answer that fills the view where there is nothing to find."""

EDGE_WEIGHT, BOX_WEIGHT, CHANGE_WEIGHT = 1.5, 1.0, 1.5
"""What pixels count more at the target's border, inside a box, and where a carried mask is wrong."""


PATIENCE_S = 900.0
"""How long one process waits for the others before it gives up."""


class SampleStream:
    """Samples painted on demand and mixed, so that a scene's targets seldom meet in one batch, beside real ones."""

    def __init__(self, seed: tuple[int, ...], stage: Stage, images: RealImages | None) -> None:
        self._seed, self._world, self._number = seed, stage.world, 0
        self._images, self._real = images, stage.real
        self._rng = np.random.default_rng(seed)
        self._pool: list[Sample] = []

    def take(self, count: int) -> list[Sample]:
        """The next ``count`` samples."""
        real = int((self._rng.random(count) < self._real).sum()) if self._images is not None else 0
        drawn = [self._images.sample(self._rng) for _ in range(real)] if self._images is not None else []
        samples = [sample for sample in drawn if sample is not None]
        return samples + self._painted(count - len(samples))

    def _painted(self, count: int) -> list[Sample]:
        while count and len(self._pool) < 24 + count:
            self._pool += make_samples((*self._seed, self._number), world=self._world)
            self._number += 1
        return [self._pool.pop(int(self._rng.integers(len(self._pool)))) for _ in range(count)]


def pixel_weights(views: Tensor, target: Tensor) -> Tensor:
    """What every pixel counts, (n, 1, s, s): borders, boxes and changes since the neighbouring slice count more."""
    box, carried = (views[:, CHANNELS.index(name)].unsqueeze(1) for name in ("box", "carried"))
    edge = (functional.avg_pool2d(target, 5, 1, 2) - target).abs()
    has_prior = (carried.amax((1, 2, 3), keepdim=True) > 0).float()
    weights: Tensor = 1 + 2 * EDGE_WEIGHT * edge + BOX_WEIGHT * box
    return weights + CHANGE_WEIGHT * has_prior * (carried - target).abs()


def mask_loss(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy and soft Dice, per sample then averaged; (n, 1, s, s) each.

    Where there is nothing to find, soft Dice hardly changes until the answer is nearly empty: there the answer's area
    stands in its place.
    """
    probability = logits.sigmoid().flatten(1)
    flat = target.flatten(1)
    overlap = (probability * flat).sum(1)
    dice = 1 - (2 * overlap + 10) / (probability.sum(1) + flat.sum(1) + 10)
    dice = torch.where(flat.sum(1) > 0, dice, EMPTY_WEIGHT * probability.mean(1))
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return dice.mean() + ((entropy * weights).sum((1, 2, 3)) / weights.sum((1, 2, 3))).mean()


def dice_of(logits: Tensor, target: Tensor, area: Tensor) -> Tensor:
    """Dice (n,) of the thresholded answer with the whole object; 1 where both are empty.

    Args:
        logits: (n, 1, s, s).
        target: the same shape, 0..1.
        area: (n,) of the whole object in pixels of the view, what lies outside the view counted: an answer that the
            square cuts is not a good one.
    """
    answer, truth = (logits > 0).float().flatten(1), (target > 0.5).float().flatten(1)
    whole = torch.maximum(area.to(answer), truth.sum(1))
    return (2 * (answer * truth).sum(1) + 1) / (answer.sum(1) + whole + 1)


class Together:
    """Gradients of all processes, summed in shared memory in a fixed order: every process steps alike."""

    def __init__(self, numbers: int, processes: int, barrier: Barrier | None) -> None:
        self.shares = torch.zeros(processes, numbers).share_memory_()  # type: ignore[no-untyped-call]  # torch's stubs
        self.barrier = barrier

    def mean(self, rank: int, gradient: Tensor) -> Tensor:
        """The mean over all processes of a flat gradient; blocks until all have come."""
        if self.barrier is None:
            return gradient
        self.shares[rank].copy_(gradient)
        self.barrier.wait(PATIENCE_S)
        mean: Tensor = self.shares.mean(0).to(gradient.device)
        self.barrier.wait(PATIENCE_S)
        return mean


class Trainer(ResumableTraining):
    """One process of a run: the network, its optimiser and its people."""

    def __init__(self, recipe: Recipe, out: Path, device: str, rank: int, together: Together) -> None:
        self.recipe, self.device, self.rank, self.together = recipe, device, rank, together
        torch.manual_seed(recipe.seed)
        self.images = None if recipe.images is None else RealImages(Path(recipe.images))
        self.halved = device != "cpu" or torch.cpu._is_avx512_bf16_supported()  # emulated it takes 2.7 times as long
        network = PromptNet(recipe.member).to(device)
        if recipe.start is not None:
            start = BUILTIN_ONNX if recipe.start == "shipped" else Path(recipe.start)
            network.load_state_dict(read_member(start, recipe.member))
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        optimiser = torch.optim.AdamW(network.parameters(), lr=1.0, betas=(0.9, 0.99), weight_decay=0.03)
        super().__init__(network, optimiser, out, device)
        self.recent: dict[str, deque[float]] = {}

    def rate(self) -> float:
        """Learning rate now."""
        return rate_at(self.recipe.stages, self.step, max(1, round(WARM_UP_SHARE * self.recipe.steps)))

    def update(self, views: Tensor, targets: Tensor, areas: Tensor) -> Tensor:
        """One optimiser step; returns the probabilities (n, 1, s, s)."""
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.halved):
            logits, quality = self.network(views)
        logits = logits.float()
        reached = dice_of(logits.detach(), targets, areas)
        score_loss = functional.binary_cross_entropy_with_logits(quality.float(), reached)
        loss = mask_loss(logits, targets, pixel_weights(views, targets)) + 0.2 * score_loss
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        mean = self.together.mean(self.rank, torch.cat([g.reshape(-1) for g in gradients]))
        mean *= min(1.0, 1.0 / (float(mean.norm()) + 1e-6))
        for gradient, part in zip(gradients, torch.split(mean, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view(gradient.shape))
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.step()
        self.step += 1
        self.samples += len(views) * self.recipe.processes
        if self.rank == 0:
            self.take_into_average(self.recipe.decay)
        return torch.sigmoid(logits.detach())

    def play(self, batch: list[tuple[Interaction, int]], size: int) -> list[tuple[Interaction, int]]:
        """One step on a batch of interactions and the rounds left in each; returns those that go on."""
        triples = [item.view(size) for item, _ in batch]
        views = torch.from_numpy(np.stack([view for view, _, _ in triples]))
        targets = torch.from_numpy(np.stack([target for _, target, _ in triples])).to(self.device)
        areas = torch.tensor([area for _, _, area in triples], device=self.device)
        views = views.to(self.device, memory_format=torch.channels_last)
        probability = self.update(views, targets, areas).cpu()
        for (item, _), dice in zip(batch, dice_of(probability - 0.5, targets.cpu(), areas.cpu()).tolist(), strict=True):
            self.recent.setdefault(item.kind, deque(maxlen=600)).append(dice)
        answers = probability.numpy()[:, 0]
        return [
            (item, left - 1)
            for (item, left), answer in zip(batch, answers, strict=True)
            if left > 1 and item.answer(answer)
        ]

    def report(self) -> None:
        """Log progress."""
        means = {kind: round(float(np.mean(values)), 3) for kind, values in sorted(self.recent.items())}
        stage, _ = self.recipe.at(self.step)
        line = "%.1f min, step %d of %d (%s), %d samples, rate %.1e, Dice %s"
        log.info(
            line,
            self.spent_s / 60,
            self.step,
            self.recipe.steps,
            stage.name,
            self.samples,
            self.rate(),
            json.dumps(means),
        )

    def run(self) -> None:
        """Train to the recipe's end, block by block; everything random begins anew in each, so a run can resume."""
        began = time.monotonic() - self.spent_s
        while self.step < self.recipe.steps:
            self._block(self.recipe.at(self.step)[0])
            self.spent_s = time.monotonic() - began
            if self.rank == 0:
                self.report()
                self.save()

    def _block(self, stage: Stage) -> None:
        seed = (self.recipe.seed, self.step, self.rank + 1)
        rng, sizes = np.random.default_rng(seed), np.random.default_rng((*seed[:2], 0))
        stream = SampleStream(seed, stage, self.images)
        going: list[tuple[Interaction, int]] = []
        shares = np.array(list(stage.sizes.values()))
        for _ in range(self.recipe.block):
            for sample in stream.take(max(0, OPEN_INTERACTIONS - len(going))):
                rounds = int(rng.choice(ROUNDS, p=ROUND_SHARES))
                going.append((Interaction(sample, np.random.default_rng(int(rng.integers(2**62)))), rounds))
            size = int(sizes.choice(list(stage.sizes), p=shares / shares.sum()))
            count = max(4, round(self.recipe.batch * min(1.6, (128 / size) ** 2)))
            rng.shuffle(going)
            batch, going = going[:count], going[count:]
            going += self.play(batch, size)


def _run_rank(recipe: Recipe, out: Path, device: str, rank: int, together: Together) -> None:
    """One process of a run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    torch.set_num_threads(1 if device == "cpu" else 4)
    cv2.setNumThreads(1)
    Trainer(recipe, out, device, rank, together).run()


def train(recipe: Recipe, out: Path, device: str = "cpu") -> Path:
    """Run a recipe to its end, or on from the checkpoint that lies in ``out``; returns the checkpoint's path."""
    out.mkdir(parents=True, exist_ok=True)
    context = mp.get_context("spawn")
    numbers = sum(p.numel() for p in PromptNet(recipe.member).parameters())
    barrier = context.Barrier(recipe.processes) if recipe.processes > 1 else None
    together = Together(numbers, recipe.processes, barrier)
    others = [
        context.Process(target=_run_rank, args=(recipe, out, device, k, together), daemon=True)
        for k in range(1, recipe.processes)
    ]
    for process in others:
        process.start()
    try:
        _run_rank(recipe, out, device, 0, together)
    finally:
        if barrier is not None:
            barrier.abort()
        for process in others:
            process.join(20)
            process.terminate()
    return out / "last.pt"
