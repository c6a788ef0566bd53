"""The promptable network: two small U-Nets whose answers are averaged, each with attention at 1/16 resolution."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.models.families.builtin.views import CHANNELS

__all__ = ["MEMBERS", "PromptNet", "PromptPair"]

FACTS = 7
"""Numbers about an answer that its predicted quality rests on, besides features."""


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of one member.

    Attributes:
        widths: feature channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the working size.
        attentions: transformer blocks at 1/16.
        joined: skip connections are concatenated at full width ("wide"), not added ("thin").
    """

    widths: tuple[int, ...]
    attentions: int
    joined: bool


MEMBERS = {
    "wide": NetworkConfig((32, 48, 96, 160, 192), 1, True),
    "thin": NetworkConfig((24, 48, 96, 192, 256), 2, False),
}
"""The two networks whose answers are averaged. The thin one does most of its work at a quarter of the working size and
below, where a CPU's convolutions are quick."""

SHARES = {"wide": 0.6, "thin": 0.4}
"""What each counts in the mean; chosen on the validation images of the model card."""

CHANNEL_COUNT, GROUPS = len(CHANNELS), 8


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with GroupNorm and a residual connection."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.first_norm = nn.GroupNorm(groups, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.GroupNorm(groups, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h, w)."""
        x = functional.relu(self.first_norm(self.first(x)), inplace=True)
        return functional.relu(self.second_norm(self.second(x)) + x, inplace=True)


class Attention(nn.Module):
    """One pre-norm transformer block over all positions; positions are known to the features by convolution."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(n, width, *space) -> the same shape."""
        n, c = x.shape[:2]
        tokens = x.flatten(2).transpose(1, 2)
        qkv = self.qkv(self.norm(tokens)).reshape(n, -1, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(n, -1, c))
        tokens = tokens + self.mlp(self.mlp_norm(tokens))
        return torch.reshape(tokens.transpose(1, 2), x.shape)


class PromptNet(nn.Module):
    """One member: maps and image in, mask logits and a quality logit out; fully convolutional in multiples of 32 px."""

    def __init__(self, member: str = "thin") -> None:
        super().__init__()
        config = MEMBERS[member]
        widths, self.joined = config.widths, config.joined
        pairs = list(itertools.pairwise(widths))
        self.stem = nn.Conv2d(CHANNEL_COUNT, widths[0], 4, stride=2, padding=1)
        if not self.joined:
            self.top = nn.Conv2d(widths[0], widths[0], 3, padding=1, bias=False)
            self.top_norm = nn.GroupNorm(GROUPS, widths[0])
        tops = [(widths[0], widths[0])] if self.joined else []
        self.down = nn.ModuleList([ConvBlock(*pair, GROUPS) for pair in [*tops, *pairs]])
        attentions = [Attention(widths[3]) for _ in range(config.attentions)]
        self.attention = attentions[0] if self.joined else nn.Sequential(*attentions)
        if self.joined:
            self.up = nn.ModuleList([ConvBlock(deep + wide, wide, GROUPS) for wide, deep in reversed(pairs)])
            self.refine = nn.Conv2d(2 * widths[0], widths[0], 3, padding=1)
        else:
            self.lateral = nn.ModuleList([nn.Conv2d(deep, wide, 1) for wide, deep in reversed(pairs)])
            self.up = nn.ModuleList([ConvBlock(wide, wide, GROUPS) for wide, _ in reversed(pairs[1:])])
            self.refine = nn.Conv2d(widths[0], widths[0], 3, padding=1)
            self.finish = nn.Conv2d(widths[0], widths[0], 3, padding=1)
        self.logit = nn.Conv2d(widths[0], 4, 3, padding=1)
        self.quality = nn.Sequential(nn.Linear(widths[0] + widths[-1] + FACTS, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Predict.

        Args:
            x: (n, channels, s, t), s and t multiples of 32.

        Returns:
            mask logits (n, 1, s, t) and quality logits (n,): sigmoid of the latter is the predicted Dice.
        """
        f, deep = self._joined(x) if self.joined else self._added(x)
        logits = functional.pixel_shuffle(self.logit(f), 2)
        return logits, self._score(logits.detach(), f, deep, x)

    def _joined(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features at half size and at the bottom, skips concatenated."""
        stem = f = functional.relu(self.stem(x), inplace=True)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            f = block(functional.max_pool2d(f, 2) if level else f)
            f = self.attention(f) if level == 3 else f
            skips.append(f)
        deep = skips.pop()
        for block in self.up:
            f = block(torch.cat([functional.interpolate(f, scale_factor=2.0, mode="nearest"), skips.pop()], 1))
        return functional.relu(self.refine(torch.cat([f, stem], 1)), inplace=True), deep

    def _added(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features at half size and at the bottom, skips added."""
        f = functional.relu(self.stem(x), inplace=True)
        f = functional.relu(self.top_norm(self.top(f)) + f, inplace=True)
        skips = [f]
        for level, block in enumerate(self.down):
            f = block(functional.max_pool2d(f, 2))
            f = self.attention(f) if level == 2 else f
            skips.append(f)
        deep = skips.pop()
        for level, lateral in enumerate(self.lateral):
            f = functional.interpolate(lateral(f), scale_factor=2.0, mode="nearest") + skips.pop()
            f = self.up[level](f) if level < len(self.up) else f
        f = functional.relu(self.refine(f), inplace=True)
        return functional.relu(self.finish(f) + f, inplace=True), deep

    def _score(self, logits: Tensor, features: Tensor, deep: Tensor, view: Tensor) -> Tensor:
        """Quality from features pooled inside the answer, the deepest features and a few facts about the answer."""
        inside = torch.sigmoid(logits.float())
        small = functional.avg_pool2d(inside, 2)
        share = small.mean((1, 2, 3)) + 1e-4
        pooled = (features.float() * small).mean((2, 3)) / share[:, None]
        positive, negative, previous = (
            view[:, CHANNELS.index(name)].unsqueeze(1).float() for name in ("positive", "negative", "previous")
        )
        facts = [
            ((2 * inside - 1).abs() * inside).mean((1, 2, 3)) / share,
            share.log(),
            inside[:, :, 0].mean((1, 2)) + inside[:, :, -1].mean((1, 2)),
            inside[..., 0].mean((1, 2)) + inside[..., -1].mean((1, 2)),
            _share_of(inside, positive),
            _share_of(inside, negative),
            (inside - previous).abs().mean((1, 2, 3)) / share,
        ]
        quality: Tensor = self.quality(torch.cat([pooled, deep.float().mean((2, 3)), torch.stack(facts, 1)], 1))
        return quality[:, 0]


class PromptPair(nn.Module):
    """What ships: the weighted mean of both members' logits and predicted qualities."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleDict({name: PromptNet(name) for name in MEMBERS})

    def forward(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """(n, channels, s, t) -> mask logits (n, 1, s, t) and scores (n,) in 0..1, the predicted Dice."""
        answers = {name: member(view) for name, member in self.members.items()}
        logits = torch.stack([SHARES[name] * logits for name, (logits, _) in answers.items()]).sum(0)
        scores = torch.stack([SHARES[name] * torch.sigmoid(quality) for name, (_, quality) in answers.items()]).sum(0)
        return logits, scores


def _share_of(inside: Tensor, weight: Tensor) -> Tensor:
    """Mean of ``inside`` under a prompt map, 0 without a prompt; (n, 1, s, t) each -> (n,)."""
    return (inside * weight).sum((1, 2, 3)) / (weight.sum((1, 2, 3)) + 1e-3)
