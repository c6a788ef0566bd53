"""The promptable 3D network: a small U-Net that halves its view first, with attention at an eighth of it."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.models.builtin.training.network import Attention
from promptseg.models.families.builtin.volume_views import CHANNELS

__all__ = ["FULL_WIDTHS", "GROUPS", "ConvBlock3d", "VolumeNet", "depth_to_space"]

FULL_WIDTHS = (40, 88, 160, 208)
"""Feature channels at 1/2, 1/4, 1/8 and 1/16 of the view: 5.9 M weights, 19 GFLOP for a view of 64 voxels."""

GROUPS = 8
"""Of every GroupNorm."""

FINE = 8
"""Features of the view itself that bypass the U, and logits of one voxel at half size (2 x 2 x 2)."""

ATTENTION_LEVEL, ATTENTIONS = 2, 2
"""Transformer blocks, and the level that they work on."""


class ConvBlock3d(nn.Module):
    """Two 3x3x3 convolutions with GroupNorm; the second one is residual."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)
        self.first_norm = nn.GroupNorm(GROUPS, outputs)
        self.second = nn.Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.GroupNorm(GROUPS, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, d, h, w) -> (n, outputs, d, h, w)."""
        x = functional.relu(self.first_norm(self.first(x)), inplace=True)
        return functional.relu(self.second_norm(self.second(x)) + x, inplace=True)


class VolumeNet(nn.Module):
    """Maps and image in, mask logits and a quality logit out; fully convolutional in multiples of 16 voxels."""

    def __init__(self, widths: tuple[int, ...] = FULL_WIDTHS) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.stem = nn.Conv3d(len(CHANNELS), widths[0], 4, stride=2, padding=1)
        self.fine = nn.Conv3d(len(CHANNELS), FINE, 4, stride=2, padding=1)
        self.down = nn.ModuleList([ConvBlock3d(*pair) for pair in [(widths[0], widths[0]), *pairs]])
        self.attention = nn.Sequential(*[Attention(widths[ATTENTION_LEVEL]) for _ in range(ATTENTIONS)])
        self.lateral = nn.ModuleList([nn.Conv3d(deep, wide, 1) for wide, deep in reversed(pairs)])
        self.up = nn.ModuleList([ConvBlock3d(wide, wide) for wide, _ in reversed(pairs)])
        self.logit = nn.Conv3d(widths[0] + FINE, FINE, 3, padding=1)
        self.quality = nn.Sequential(nn.Linear(widths[0] + widths[-1], 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Predict.

        Args:
            view: (n, channels, d, h, w), edges multiples of 16.

        Returns:
            mask logits (n, 1, d, h, w) and quality logits (n,): sigmoid of the latter is the predicted Dice.
        """
        f = functional.relu(self.stem(view))
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            f = block(functional.max_pool3d(f, 2) if level else f)
            f = self.attention(f) if level == ATTENTION_LEVEL else f
            skips.append(f)
        deep = skips.pop()
        for lateral, block in zip(self.lateral, self.up, strict=True):
            f = block(skips.pop() + functional.interpolate(lateral(f), scale_factor=2.0, mode="nearest"))
        coarse = self.logit(torch.cat([f, functional.relu(self.fine(view))], 1)).float()
        inside = torch.sigmoid(coarse).mean(1, keepdim=True).to(f.dtype)
        pooled = (f * inside).sum((2, 3, 4)) / (inside.sum((2, 3, 4)) + 1e-3)
        quality: Tensor = self.quality(torch.cat([pooled, deep.mean((2, 3, 4))], 1))
        return depth_to_space(coarse), quality[:, 0]


def depth_to_space(coarse: Tensor) -> Tensor:
    """(n, 8, d, h, w) -> (n, 1, 2d, 2h, 2w): the eight values of every voxel become its octants."""
    n, _, d, h, w = coarse.shape
    return coarse.view(n, 2, 2, 2, d, h, w).permute(0, 4, 1, 5, 2, 6, 3).reshape(n, 1, 2 * d, 2 * h, 2 * w)
