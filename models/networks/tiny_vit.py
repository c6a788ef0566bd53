"""TinyViT as MobileSAM and LiteMedSAM use it: a convolutional stage, three windowed stages, SAM's neck.

After MobileSAM (mobile_sam/modeling/tiny_vit_sam.py @2f77a48, Apache-2.0; Wu et al., ECCV 2022) and MedSAM
(distillation/tiny_vit_sam.py @89a664c, Apache-2.0); parameters have their names. MobileSAM starts with two strided
3x3 convolutions on 1024 px; LiteMedSAM with two 1x1 convolutions on 256 px, so that both end at 64 x 64 tokens.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.models.networks.vit import LayerNorm2d

__all__ = ["TinyViT", "TinyVitShape"]

UNUSED_KEYS = ("image_encoder.norm_head.", "image_encoder.head.")
"""The classifier that the checkpoints still hold."""


@dataclass(frozen=True)
class TinyVitShape:
    """The numbers that make an encoder.

    Attributes:
        input_px: edge of the square input.
        strided_start: True where the first two convolutions halve the edge (MobileSAM).
        widths, depths, heads, windows: per stage; the first stage has no attention.
    """

    input_px: int = 1024
    strided_start: bool = True
    widths: tuple[int, int, int, int] = (64, 128, 160, 320)
    depths: tuple[int, int, int, int] = (2, 2, 6, 2)
    heads: tuple[int, int, int, int] = (2, 4, 5, 10)
    windows: tuple[int, int, int, int] = (7, 7, 14, 7)
    out: int = 256

    @property
    def edge(self) -> int:
        """Tokens along one side of the embedding."""
        return self.input_px // (16 if self.strided_start else 4)


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch normalisation; named c and bn."""

    def __init__(self, a: int, b: int, kernel: int = 1, stride: int = 1, *, pad: int = 0, groups: int = 1) -> None:
        super().__init__()
        self.add_module("c", nn.Conv2d(a, b, kernel, stride, pad, groups=groups, bias=False))
        self.add_module("bn", nn.BatchNorm2d(b))


class PatchEmbed(nn.Module):
    """The first two convolutions."""

    def __init__(self, width: int, strided: bool) -> None:
        super().__init__()
        kernel, stride, pad = (3, 2, 1) if strided else (1, 1, 0)
        self.seq = nn.Sequential(
            ConvNorm(3, width // 2, kernel, stride, pad=pad),
            nn.GELU(),
            ConvNorm(width // 2, width, kernel, stride, pad=pad),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, c, h/4, w/4), or the same size where nothing is strided."""
        return self.seq(x)


class MBConv(nn.Module):
    """Inverted bottleneck."""

    def __init__(self, width: int, expand: int = 4) -> None:
        super().__init__()
        hidden = width * expand
        self.conv1 = ConvNorm(width, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, 1, pad=1, groups=hidden)
        self.conv3 = ConvNorm(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> same shape."""
        return functional.gelu(x + self.conv3(functional.gelu(self.conv2(functional.gelu(self.conv1(x))))))


class PatchMerging(nn.Module):
    """To the next stage's width; halves the edge except before the last stage."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, out)
        self.conv2 = ConvNorm(out, out, 3, stride, pad=1, groups=out)
        self.conv3 = ConvNorm(out, out)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, out, h/stride, w/stride)."""
        return self.conv3(functional.gelu(self.conv2(functional.gelu(self.conv1(x)))))


class Mlp(nn.Module):
    """Norm, two linear layers with GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> same shape."""
        return self.fc2(functional.gelu(self.fc1(self.norm(x))))


class Attention(nn.Module):
    """Attention inside one window, with a learnt bias per absolute offset."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        places = list(itertools.product(range(window), repeat=2))
        offsets: dict[tuple[int, int], int] = {}
        index = [offsets.setdefault((abs(a - c), abs(b - d)), len(offsets)) for a, b in places for c, d in places]
        self.attention_biases = nn.Parameter(torch.zeros(heads, len(offsets)))
        self.index: Tensor
        self.register_buffer("index", torch.tensor(index).view(len(places), len(places)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, c) -> same shape."""
        qkv = self.qkv(self.norm(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q, k, v = qkv.chunk(3, -1)
        bias = self.attention_biases[:, self.index]
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias[None].to(q.dtype))
        return self.proj(out.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Windowed attention, a local convolution, an MLP."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = Attention(width, heads, window)
        self.mlp = Mlp(width)
        self.local_conv = ConvNorm(width, width, 3, 1, pad=1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> same shape."""
        n, c, h, w = x.shape
        size = self.window
        padded = functional.pad(x, (0, -w % size, 0, -h % size))
        down, across = padded.shape[2] // size, padded.shape[3] // size
        windows = padded.view(n, c, down, size, across, size).permute(0, 2, 4, 3, 5, 1)
        windows = self.attn(windows.reshape(n * down * across, size * size, c))
        windows = windows.view(n, down, across, size, size, c).permute(0, 5, 1, 3, 2, 4)
        x = x + windows.reshape(n, c, down * size, across * size)[:, :, :h, :w]
        x = self.local_conv(x)
        return x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Blocks, then the way to the next stage."""

    def __init__(self, shape: TinyVitShape, index: int) -> None:
        super().__init__()
        width = shape.widths[index]
        self.blocks = nn.ModuleList(
            MBConv(width) if index == 0 else Block(width, shape.heads[index], shape.windows[index])
            for _ in range(shape.depths[index])
        )
        last = len(shape.widths) - 1
        if index < last:
            self.downsample = PatchMerging(width, shape.widths[index + 1], 1 if index + 1 == last else 2)
        self.is_last = index == last

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, next c, smaller h, smaller w)."""
        for block in self.blocks:
            x = block(x)
        return x if self.is_last else self.downsample(x)


class TinyViT(nn.Module):
    """Image to embedding of edge/16 (MobileSAM) or edge/4 (LiteMedSAM)."""

    def __init__(self, shape: TinyVitShape) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(shape.widths[0], shape.strided_start)
        self.layers = nn.ModuleList(Stage(shape, index) for index in range(len(shape.widths)))
        self.neck = nn.Sequential(
            nn.Conv2d(shape.widths[-1], shape.out, 1, bias=False),
            LayerNorm2d(shape.out),
            nn.Conv2d(shape.out, shape.out, 3, padding=1, bias=False),
            LayerNorm2d(shape.out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, out, h', w')."""
        x = self.patch_embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.neck(x)
