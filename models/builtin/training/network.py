"""The promptable network: a small U-Net with a strided stem and one attention block at 1/16 resolution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.models.builtin.views import CHANNELS

__all__ = ["NetworkConfig", "PromptNet"]

FACTS = 7
"""Numbers about an answer that its predicted quality rests on, besides features."""


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network.

    Attributes:
        channels: input channels, see ``promptseg.models.builtin.views.CHANNELS``.
        widths: feature channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the working size.
        groups: groups of every GroupNorm.
    """

    channels: int = len(CHANNELS)
    widths: tuple[int, ...] = (32, 48, 96, 160, 192)
    groups: int = 8


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
        """(n, width, h, w) -> the same shape."""
        n, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        qkv = self.qkv(self.norm(tokens)).reshape(n, h * w, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(n, h * w, c))
        tokens = tokens + self.mlp(self.mlp_norm(tokens))
        return torch.reshape(tokens.transpose(1, 2), (n, c, h, w))


class PromptNet(nn.Module):
    """Prompt maps and image in, mask logits and a quality logit out; fully convolutional in multiples of 32 px."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        config = config or NetworkConfig()
        widths, groups = config.widths, config.groups
        self.stem = nn.Conv2d(config.channels, widths[0], 4, stride=2, padding=1)
        down: list[nn.Module] = []
        previous = widths[0]
        for width in widths:
            down.append(ConvBlock(previous, width, groups))
            previous = width
        self.down = nn.ModuleList(down)
        self.attention = Attention(widths[3])
        up: list[nn.Module] = []
        for width in reversed(widths[:-1]):
            up.append(ConvBlock(previous + width, width, groups))
            previous = width
        self.up = nn.ModuleList(up)
        self.refine = nn.Conv2d(2 * widths[0], widths[0], 3, padding=1)
        self.logit = nn.Conv2d(widths[0], 4, 3, padding=1)
        self.quality = nn.Sequential(nn.Linear(widths[0] + widths[-1] + FACTS, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Predict.

        Args:
            x: (n, channels, s, t), s and t multiples of 32.

        Returns:
            mask logits (n, 1, s, t) and quality logits (n,): sigmoid of the latter is the predicted Dice.
        """
        skips: list[Tensor] = []
        stem = f = functional.relu(self.stem(x), inplace=True)
        for level, block in enumerate(self.down):
            if level:
                f = functional.max_pool2d(f, 2)
            f = block(f)
            if level == 3:
                f = self.attention(f)
            skips.append(f)
        deep = f
        for block, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            f = block(torch.cat([functional.interpolate(f, scale_factor=2.0, mode="nearest"), skip], 1))
        f = functional.relu(self.refine(torch.cat([f, stem], 1)), inplace=True)
        logits = functional.pixel_shuffle(self.logit(f), 2)
        return logits, self._score(logits.detach(), f, deep, x)

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


def _share_of(inside: Tensor, weight: Tensor) -> Tensor:
    """Mean of ``inside`` under a prompt map, 0 without a prompt; (n, 1, s, t) each -> (n,)."""
    return (inside * weight).sum((1, 2, 3)) / (weight.sum((1, 2, 3)) + 1e-3)
