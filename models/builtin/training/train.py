"""Train the built-in network on synthetic scenes; seeded, resumable, on a CPU or a CUDA device."""

from __future__ import annotations

import json
import logging
import math
import multiprocessing as mp
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from promptseg.models.builtin.training.network import NetworkConfig, PromptNet
from promptseg.models.builtin.training.rounds import Interaction
from promptseg.models.builtin.training.samples import Sample, make_samples

__all__ = ["TrainConfig", "train"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that shapes one training run.

    Attributes:
        out: folder of checkpoints and logs; a run resumes from what lies there.
        minutes: length of the whole run, resumed parts counted.
        seed: of all randomness (timing decides how many steps fit, so two runs agree step by step only).
        processes: that train on the same weights, each on one core.
        batch: samples of a step at 128 px; larger views take fewer.
        rate: peak learning rate.
        warm_start: a checkpoint whose weights to begin with, or None.
        device: "cpu" or "cuda".
    """

    out: Path
    minutes: float
    seed: int = 0
    processes: int = 2
    batch: int = 14
    rate: float = 1.2e-3
    warm_start: Path | None = None
    device: str = "cpu"


SIZES, SHARES = (96, 128, 160, 192), (0.25, 0.4, 0.2, 0.15)
"""Working sizes in pixels and how often each is trained."""

ROUNDS, ROUND_SHARES = (1, 2, 3, 4, 6, 8), (0.25, 0.2, 0.2, 0.15, 0.12, 0.08)
"""Rounds of interaction with one sample."""

OPEN_INTERACTIONS = 96
"""Interactions going on at a time. A step draws its batch from them at random, so that it mixes rounds and scenes:
batches that keep their samples from round to round make every few steps pull in one direction."""


class SampleStream:
    """Samples painted on demand and mixed, so that a scene's targets seldom meet in one batch."""

    def __init__(self, seed: tuple[int, ...]) -> None:
        self._seed, self._number = seed, 0
        self._rng = np.random.default_rng(seed)
        self._pool: list[Sample] = []

    def take(self, count: int) -> list[Sample]:
        """The next ``count`` samples."""
        while len(self._pool) < 24 + count:
            self._pool += make_samples((*self._seed, self._number))
            self._number += 1
        return [self._pool.pop(int(self._rng.integers(len(self._pool)))) for _ in range(count)]


EMPTY_WEIGHT = 10.0
"""Loss of an answer that fills the view where there is nothing to find."""


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy and soft Dice, per sample then averaged; (n, 1, s, s) each.

    Where there is nothing to find, soft Dice hardly changes until the answer is nearly empty: there the answer's area
    stands in its place.
    """
    probability = logits.sigmoid().flatten(1)
    flat = target.flatten(1)
    overlap = (probability * flat).sum(1)
    dice = 1 - (2 * overlap + 10) / (probability.sum(1) + flat.sum(1) + 10)
    dice = torch.where(flat.sum(1) > 0, dice, EMPTY_WEIGHT * probability.mean(1))
    return dice.mean() + functional.binary_cross_entropy_with_logits(logits, target)


def dice_of(logits: Tensor, target: Tensor, area: Tensor) -> Tensor:
    """Dice (n,) of the thresholded answer with the whole object; 1 where both are empty.

    Args:
        logits: (n, 1, s, s).
        target: the same shape, 0..1.
        area: (n,) of the whole object in pixels of the view, what lies outside the view counted: an answer that the
            window cuts is not a good one.
    """
    answer, truth = (logits > 0).float().flatten(1), (target > 0.5).float().flatten(1)
    whole = torch.maximum(area.to(answer), truth.sum(1))
    return (2 * (answer * truth).sum(1) + 1) / (answer.sum(1) + whole + 1)


class Trainer:
    """One process of a run: its optimiser, its people, and weights that all processes share.

    Two processes of one thread each, writing to the same weights without a lock (Hogwild, Recht et al. 2011), are
    far quicker on two busy cores than one process of two threads, whose threads wait for each other.
    """

    def __init__(self, config: TrainConfig, rank: int, network: PromptNet) -> None:
        self.config, self.rank, self.network = config, rank, network
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=0.02)
        self.average = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.step, self.samples, self.spent_s = 0, 0, 0.0
        self.recent: dict[str, deque[float]] = {}
        self.checkpoint = config.out / f"last{rank or ''}.pt"
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, map_location=config.device, weights_only=True)
            self.optimiser.load_state_dict(state["optimiser"])
            self.average = state["average"]
            self.step, self.samples, self.spent_s = state["step"], state["samples"], state["spent_s"]

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "samples": self.samples,
            "spent_s": self.spent_s,
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint)

    def rate(self) -> float:
        """Learning rate now: warm-up, then a cosine over the run's time to 2 %."""
        done = min(1.0, self.spent_s / (self.config.minutes * 60))
        warm = min(1.0, (self.step + 1) / 40)
        return self.config.rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))

    def update(self, views: Tensor, targets: Tensor, areas: Tensor) -> Tensor:
        """One optimiser step; returns the probabilities (n, 1, s, s)."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        with torch.autocast(self.config.device, dtype=torch.bfloat16):
            logits, quality = self.network(views)
        logits = logits.float()
        score_loss = functional.binary_cross_entropy_with_logits(
            quality.float(), dice_of(logits.detach(), targets, areas)
        )
        loss = mask_loss(logits, targets) + 0.2 * score_loss
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        self.samples += len(views)
        if self.rank == 0:
            keep = min(0.995, self.step / (self.step + 10))
            with torch.no_grad():
                for key, value in self.network.state_dict().items():
                    self.average[key].lerp_(value, 1 - keep)
        return torch.sigmoid(logits.detach())

    def play(self, batch: list[tuple[Interaction, int]], size: int) -> list[tuple[Interaction, int]]:
        """One step on a batch of interactions and the rounds left in each; returns those that go on."""
        pairs = [item.view(size) for item, _ in batch]
        views = torch.from_numpy(np.stack([view for view, _, _ in pairs]))
        targets = torch.from_numpy(np.stack([target for _, target, _ in pairs])).to(self.config.device)
        areas = torch.tensor([area for _, _, area in pairs], device=self.config.device)
        views = views.to(self.config.device, memory_format=torch.channels_last)
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
        log.info(
            "%d: %.1f min, step %d, %d samples, rate %.1e, Dice %s",
            self.rank,
            self.spent_s / 60,
            self.step,
            self.samples,
            self.rate(),
            means,
        )

    def run(self) -> None:
        """Train until the run's minutes are spent."""
        rng = np.random.default_rng((self.config.seed, self.rank, self.step))
        stream = SampleStream((self.config.seed, self.rank, self.step))
        began = time.monotonic() - self.spent_s
        saved = reported = time.monotonic()
        going: list[tuple[Interaction, int]] = []
        while self.spent_s < self.config.minutes * 60:
            for sample in stream.take(max(0, OPEN_INTERACTIONS - len(going))):
                rounds = int(rng.choice(ROUNDS, p=ROUND_SHARES))
                going.append((Interaction(sample, np.random.default_rng(int(rng.integers(2**62)))), rounds))
            size = int(rng.choice(SIZES, p=SHARES))
            count = max(4, round(self.config.batch * min(1.5, (128 / size) ** 2)))
            rng.shuffle(going)
            batch, going = going[:count], going[count:]
            going += self.play(batch, size)
            self.spent_s = time.monotonic() - began
            if time.monotonic() - reported > 30:
                reported = time.monotonic()
                self.report()
            if time.monotonic() - saved > 120:
                saved = time.monotonic()
                self.save()
        self.save()


def _run_rank(config: TrainConfig, rank: int, network: PromptNet) -> None:
    """One process of a run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    torch.set_num_threads(1 if config.device == "cpu" else 4)
    torch.manual_seed(config.seed)
    cv2.setNumThreads(1)
    Trainer(config, rank, network).run()


def train(config: TrainConfig) -> Path:
    """Run until ``config.minutes`` of training are spent; returns the checkpoint's path."""
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "config.json").write_text(json.dumps({k: str(v) for k, v in asdict(config).items()}, indent=1))
    torch.manual_seed(config.seed)
    network = PromptNet(NetworkConfig()).to(config.device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    checkpoint = config.out / "last.pt"
    if checkpoint.exists():
        network.load_state_dict(torch.load(checkpoint, map_location=config.device, weights_only=True)["network"])
    elif config.warm_start is not None:
        weights = torch.load(config.warm_start, map_location=config.device, weights_only=True)["average"]
        own = network.state_dict()
        network.load_state_dict(own | {key: w for key, w in weights.items() if own[key].shape == w.shape})
    network.share_memory()
    context = mp.get_context("spawn")
    others = [context.Process(target=_run_rank, args=(config, k, network)) for k in range(1, config.processes)]
    for process in others:
        process.start()
    try:
        _run_rank(config, 0, network)
    finally:
        for process in others:
            process.join(20)
            process.terminate()
    return checkpoint
