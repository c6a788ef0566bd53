"""SAM's image encoder: a ViT with windows, decomposed relative positions and a convolutional neck.

After segment-anything (Kirillov et al. 2023, modeling/image_encoder.py, Apache-2.0); parameters have its names. What
differs: the padding of windows is not multiplied through the qkv projection (it would only give its bias), the input
may be any rectangle of whole patches inside the square that the weights were made for, attention runs through torch's
fused kernels without a matrix of scores, and SAM-Med2D's adapters (Cheng et al. 2023) can be switched on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ImageEncoder", "LayerNorm2d", "VitShape"]

PATCH_PX = 16
WINDOW = 14  # patches
CHANNELS = 8  # the fused kernels take multiples of it
WHOLE_TOKENS = 1024  # from here on an exported file attends head by head, to hold the scores of one head only


@dataclass(frozen=True)
class VitShape:
    """The numbers that make an encoder.

    Attributes:
        width: channels of a token.
        depth: blocks.
        heads: attention heads.
        global_blocks: the blocks without windows.
        input_px: edge of the square input.
        adapter: SAM-Med2D's adapter in every block.
        out: channels of the embedding.
    """

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    input_px: int = 1024
    adapter: bool = False
    out: int = 256

    @property
    def edge(self) -> int:
        """Tokens along one side."""
        return self.input_px // PATCH_PX


class LayerNorm2d(nn.Module):
    """Normalises (n, c, h, w) over c."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> same shape."""
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class Mlp(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> same shape."""
        return self.lin2(functional.gelu(self.lin1(x)))


def _relative(table: Tensor, size: int) -> Tensor:
    """(2e - 1, c) offsets -> (size, size, c): entry [i, j] for query i and key j."""
    steps = torch.arange(size, device=table.device)
    return table[steps[:, None] - steps[None, :] + table.shape[0] // 2]


class Attention(nn.Module):
    """Multi-head attention with decomposed relative positions, on the whole grid or in windows."""

    def __init__(self, width: int, heads: int, edge: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.by_head = not window and edge**2 > WHOLE_TOKENS
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * edge - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * edge - 1, width // heads))

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """(n, h w, c) -> same shape; ``grid`` is (h, w)."""
        n, _, c = x.shape
        rows, columns = h, w = grid
        if self.window:
            # The padding is zero before the projection, so after it it is the bias, as everywhere.
            qkv = functional.linear(x, self.qkv.weight).view(n, h, w, 3 * c)
            qkv = functional.pad(qkv, (0, 0, 0, -w % self.window, 0, -h % self.window)) + self.qkv.bias
            rows = columns = self.window
        else:
            qkv = self.qkv(x).view(n, h, w, 3 * c)
        down, across = qkv.shape[1] // rows, qkv.shape[2] // columns
        qkv = qkv.view(n, down, rows, across, columns, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(
            3, n * down * across, self.heads, rows, columns, c // self.heads
        )
        out = self._attend(q, k, v)
        out = out.view(n, down, across, self.heads, rows, columns, -1).permute(0, 1, 4, 2, 5, 3, 6)
        out = out.reshape(n, down * rows, across * columns, c)[:, :h, :w]
        return self.proj(out.reshape(n, -1, c))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(b, heads, rows, columns, c) each -> the same shape."""
        rows, columns = q.shape[2:4]
        by_row = q @ _relative(self.rel_pos_h, rows).transpose(1, 2)
        by_column = (q.transpose(2, 3) @ _relative(self.rel_pos_w, columns).transpose(1, 2)).transpose(2, 3)
        if torch.onnx.is_in_onnx_export():
            return _attend_written_out(q, k, v, by_row, by_column, self.by_head)
        return _attend_fused(q, k, v, by_row, by_column)


def _attend_fused(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """The positions' part of a score as more channels of query and key, so that no score is ever written down.

    A query carries what each row and each column adds to its scores, a key which row and column it is in: their product
    is the whole score, to the bit of a sum. A matrix of positions would take heads * tokens**2 numbers a slice.
    """
    b, heads, rows, columns, c = q.shape
    row, column = (torch.eye(n, dtype=k.dtype, device=k.device) for n in (rows, columns))
    place = torch.cat([row[:, None].expand(-1, columns, -1), column.expand(rows, -1, -1)], -1)
    spare = -(c + rows + columns) % CHANNELS
    queries = torch.cat([q * (1 / c**0.5), by_row, by_column, q.new_zeros(*q.shape[:-1], spare)], -1)
    keys = torch.cat([k, functional.pad(place, (0, spare)).expand(b, heads, -1, -1, -1)], -1)
    values = functional.pad(v, (0, keys.shape[-1] - c))  # the fused kernels take one width
    flat = (b, heads, rows * columns, keys.shape[-1])
    attended = functional.scaled_dot_product_attention(
        queries.reshape(flat), keys.reshape(flat), values.reshape(flat), scale=1.0
    )
    return attended[..., :c].reshape(q.shape)


def _attend_written_out(q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor, by_head: bool) -> Tensor:
    """The same attention in plain products for export; all sizes may be traced ones, so the file takes any grid."""
    b, heads, rows, columns, c = q.shape
    flat = (b, heads, rows * columns, c)
    queries, keys, values = (q * (1 / c**0.5)).reshape(flat), k.reshape(flat).transpose(2, 3), v.reshape(flat)
    made = []
    for which in [slice(head, head + 1) for head in range(int(heads))] if by_head else [slice(None)]:
        scores = (queries[:, which] @ keys[:, which]).view(b, -1, rows, columns, rows, columns)
        scores = scores + by_row[:, which, ..., None] + by_column[:, which, :, :, None, :]
        made.append(scores.view(b, -1, rows * columns, rows * columns).softmax(-1) @ values[:, which])
    return (torch.cat(made, 1) if by_head else made[0]).view(q.shape)


class Adapter(nn.Module):
    """SAM-Med2D's Adapter_Layer: channel gate and a spatial bottleneck, beside the MLP."""

    def __init__(self, width: int, ratio: float = 0.25) -> None:
        super().__init__()
        hidden = int(width * ratio)
        self.norm = nn.LayerNorm(width)
        self.channel = nn.Sequential(
            nn.Linear(width, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, width, bias=False), nn.Sigmoid()
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(width, width, 3, 2, 1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, 2, 1, bias=False),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> same shape; h and w even."""
        x = x.permute(0, 3, 1, 2)
        gate = self.channel(x.mean((2, 3)))[:, :, None, None]
        x = x + self.spatial(gate * x)
        return self.norm(x.permute(0, 2, 3, 1))


class Block(nn.Module):
    """One transformer block."""

    def __init__(self, shape: VitShape, index: int) -> None:
        super().__init__()
        window = 0 if index in shape.global_blocks else WINDOW
        self.norm1 = nn.LayerNorm(shape.width, eps=1e-6)
        self.attn = Attention(shape.width, shape.heads, window or shape.edge, window)
        self.norm2 = nn.LayerNorm(shape.width, eps=1e-6)
        self.mlp = Mlp(shape.width, 4 * shape.width)
        if shape.adapter:
            self.Adapter = Adapter(shape.width)
        self.has_adapter = shape.adapter

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """(n, h w, c) -> same shape; ``grid`` is (h, w)."""
        x = x + self.attn(self.norm1(x), grid)
        normed = self.norm2(x)
        x = x + self.mlp(normed)
        return x + self.Adapter(normed.unflatten(1, grid)).flatten(1, 2) if self.has_adapter else x


class PatchEmbed(nn.Module):
    """Patches to tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH_PX, PATCH_PX)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 16 h, 16 w) -> (n, h, w, c)."""
        return self.proj(x).permute(0, 2, 3, 1)


class ImageEncoder(nn.Module):
    """Image to embedding, stride 16."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(shape.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, shape.edge, shape.edge, shape.width))
        self.blocks = nn.ModuleList(Block(shape, index) for index in range(shape.depth))
        self.neck = nn.Sequential(
            nn.Conv2d(shape.width, shape.out, 1, bias=False),
            LayerNorm2d(shape.out),
            nn.Conv2d(shape.out, shape.out, 3, padding=1, bias=False),
            LayerNorm2d(shape.out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 16 h, 16 w) -> (n, out, h, w); h and w at most the edge that the weights were made for."""
        x = self.patch_embed(x)
        n, h, w, c = x.shape
        # From here on the tokens are one axis: runtimes take four for a picture, and turn it around.
        x = x.reshape(n, h * w, c) + self.pos_embed[:, :h, :w].reshape(1, h * w, c)
        for block in self.blocks:
            x = block(x, (h, w))
        return self.neck(x.view(n, h, w, c).permute(0, 3, 1, 2))
