"""SAM's prompt encoder and mask decoder as one module with the arrays that travel on the wire.

After segment-anything (Kirillov et al. 2023, modeling/{prompt_encoder,mask_decoder,transformer}.py, Apache-2.0);
parameters have its names. Points and box corners come in one list, as in its own ONNX export.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from promptseg.models.networks.vit import LayerNorm2d

__all__ = ["MASKS", "MaskDecoder", "PromptDecoder", "PromptEncoder"]

MASKS = 4
"""Answers of one decoding: the single one for clear prompts, then whole, part and sub-part for a lone click."""

LABELS = 4  # background 0, foreground 1, box corners 2 and 3; -1 is padding


class RandomPositions(nn.Module):
    """Random Fourier features of positions in [0, 1]²."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.positional_encoding_gaussian_matrix: Tensor
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, features))

    def forward(self, places: Tensor) -> Tensor:
        """(..., 2) as (x, y) in [0, 1] -> (..., 2 features)."""
        turned = 2 * math.pi * ((2 * places - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([torch.sin(turned), torch.cos(turned)], -1)


class PromptEncoder(nn.Module):
    """Points, corners and a low-resolution mask to embeddings."""

    def __init__(self, width: int, edge: int, input_px: int) -> None:
        super().__init__()
        self.edge, self.input_px = edge, input_px
        self.pe_layer = RandomPositions(width // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(LABELS))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, 2, 2),
            LayerNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 16, 2, 2),
            LayerNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, width, 1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def grid(self, h: int, w: int) -> Tensor:
        """Positions of the first h x w tokens: (1, width, h, w)."""
        steps = torch.arange(self.edge, dtype=torch.float32, device=self.no_mask_embed.weight.device) + 0.5
        y, x = torch.meshgrid(steps / self.edge, steps / self.edge, indexing="ij")
        positions = self.pe_layer(torch.stack([x, y], -1)).permute(2, 0, 1)[None]
        return positions[:, :, :h, :w]

    def sparse(self, coords: Tensor, labels: Tensor) -> Tensor:
        """(1, n, 2) as (x, y) in input pixels, (1, n) labels -> (1, n, width)."""
        kinds = labels[..., None]
        embedded = self.pe_layer((coords + 0.5) / self.input_px)
        embedded = embedded * (kinds != -1).to(embedded.dtype)
        embedded = embedded + self.not_a_point_embed.weight * (kinds == -1).to(embedded.dtype)
        for label, table in enumerate(self.point_embeddings):
            weight: Tensor = table.get_parameter("weight")
            embedded = embedded + weight * (kinds == label).to(embedded.dtype)
        return embedded

    def dense(self, mask: Tensor, has_mask: Tensor) -> Tensor:
        """(1, 1, 4h, 4w) logits and 0 or 1 -> (1, width, h, w)."""
        empty = self.no_mask_embed.weight.reshape(1, -1, 1, 1)
        return has_mask * self.mask_downscaling(mask) + (1 - has_mask) * empty


class Attention(nn.Module):
    """Attention with an inner width that may be smaller.

    Where a few tokens meet the many of an image, the projection of the image's side is multiplied into the tokens'
    side first: the same numbers with less than half the work.
    """

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.scale = (inner // heads) ** -0.5
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def _by_head(self, x: Tensor) -> Tensor:
        """(n, t, inner) -> (n, heads, t, channels of a head)."""
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)

    def _weight(self, weight: Tensor) -> Tensor:
        """(inner, width) -> (heads, channels of a head, width)."""
        return weight.reshape(self.heads, -1, self.width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(n, tokens, width) each -> (n, tokens of q, width)."""
        asked, keys, values = (
            self._by_head(project(x)) for project, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        out = functional.scaled_dot_product_attention(asked, keys, values)
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def few_ask_many(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As ``forward``, for few tokens in q and many in k and v."""
        asked = self._by_head(self.q_proj(q) * self.scale) @ self._weight(self.k_proj.weight)
        weights = (asked.flatten(1, 2) @ k.transpose(1, 2)).softmax(-1)  # the keys' bias is the same for all of them
        seen = (weights @ v).view(asked.shape) @ self._weight(self.v_proj.weight).transpose(1, 2)
        return self.out_proj(seen.transpose(1, 2).flatten(2) + self.v_proj.bias)

    def many_ask_few(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As ``forward``, for many tokens in q and few in k and v."""
        keys = self._by_head(self.k_proj(k) * self.scale)
        offered = (keys @ self._weight(self.q_proj.weight)).flatten(1, 2)
        bias = (keys @ self.q_proj.bias.view(self.heads, -1, 1)).flatten(1)
        scores = q @ offered.transpose(1, 2) + bias[:, None]
        weights = scores.view(*scores.shape[:-1], self.heads, -1).softmax(-1).flatten(2)
        told = self._by_head(self.v_proj(v)) @ self._weight(self.out_proj.weight.transpose(0, 1))
        return weights @ told.flatten(1, 2) + self.out_proj.bias


class ReluMlp(nn.Module):
    """Two linear layers with ReLU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> same shape."""
        return self.lin2(functional.relu(self.lin1(x)))


class TwoWayBlock(nn.Module):
    """Tokens look at themselves and at the image, then the image looks at the tokens."""

    def __init__(self, width: int, heads: int, hidden: int, first: bool) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = ReluMlp(width, hidden)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, width // 2)
        self.first = first

    def forward(self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (n, t, c) and image (n, hw, c), with their positions -> both anew."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + token_pe
            tokens = tokens + self.self_attn(placed, placed, tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm2(
            tokens + self.cross_attn_token_to_image.few_ask_many(tokens + token_pe, image + image_pe, image)
        )
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(
            image + self.cross_attn_image_to_token.many_ask_few(image + image_pe, tokens + token_pe, tokens)
        )
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Two blocks and a last look of the tokens at the image."""

    def __init__(self, width: int, heads: int, hidden: int, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(width, heads, hidden, first=i == 0) for i in range(depth))
        self.final_attn_token_to_image = Attention(width, heads, width // 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, image: Tensor, image_pe: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Image (n, c, h, w), its positions, tokens (n, t, c) -> tokens, image (n, hw, c)."""
        flat, flat_pe = image.flatten(2).transpose(1, 2), image_pe.flatten(2).transpose(1, 2)
        token_pe = tokens
        for layer in self.layers:
            tokens, flat = layer(tokens, flat, token_pe, flat_pe)
        tokens = tokens + self.final_attn_token_to_image.few_ask_many(tokens + token_pe, flat + flat_pe, flat)
        return self.norm_final_attn(tokens), flat


class ReluStack(nn.Module):
    """Linear layers with ReLU between."""

    def __init__(self, width: int, hidden: int, out: int, depth: int = 3) -> None:
        super().__init__()
        sizes = [width] + [hidden] * (depth - 1) + [out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., out)."""
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        return self.layers[-1](x)


class MaskDecoder(nn.Module):
    """Embeddings to four masks and their expected quality."""

    def __init__(self, width: int = 256, heads: int = 8, hidden: int = 2048) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(width, heads, hidden)
        self.fine_width = width // 4
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(MASKS, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, 2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(ReluStack(width, width, width // 8) for _ in range(MASKS))
        self.iou_prediction_head = ReluStack(width, width, MASKS)

    def forward(self, image: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Image (1, c, h, w), prompts (1, t, c) and (1, c, h, w) -> logits (1, 4, 4h, 4w), qualities (1, 4)."""
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])[None]
        tokens = torch.cat([tokens.expand(sparse.shape[0], -1, -1), sparse], 1)
        tokens, flat = self.transformer(image + dense, image_pe, tokens)
        weights = torch.stack([mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], 2)
        fine = self._grown(flat) @ weights[:, None]  # (n, hw, 16, masks): a token's 2 x 2 pixels of 2 x 2 pixels
        n, _, h, w = image.shape
        logits = fine.view(n, h, w, 2, 2, 2, 2, MASKS).permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(n, MASKS, 4 * h, 4 * w)
        return logits, self.iou_prediction_head(tokens[:, 0])

    def _grown(self, flat: Tensor) -> Tensor:
        """``output_upscaling`` of tokens (n, hw, c) -> (n, hw, 16, c / 8).

        Its convolutions do not overlap, so they are products with channels last, where norms are quick as well.
        """
        weight, bias = (self.output_upscaling[1].get_parameter(name) for name in ("weight", "bias"))
        x = _fourfold(flat, self.output_upscaling[0])
        x = functional.gelu(functional.layer_norm(x, (self.fine_width,), weight, bias, 1e-6))
        return functional.gelu(_fourfold(x, self.output_upscaling[3])).flatten(2, 3)


def _fourfold(x: Tensor, convolution: nn.Module) -> Tensor:
    """A transposed 2 x 2 convolution with stride 2 of (..., c) -> (..., 4, out), the 2 x 2 pixels in reading order."""
    weight: Tensor = convolution.get_parameter("weight")
    bias: Tensor = convolution.get_parameter("bias")
    grown = x @ weight.permute(0, 2, 3, 1).flatten(1) + bias.repeat(4)
    return grown.view(*x.shape[:-1], 4, bias.shape[0])


class PromptDecoder(nn.Module):
    """What runs at every click."""

    def __init__(self, edge: int, input_px: int, width: int = 256) -> None:
        super().__init__()
        self.prompt_encoder = PromptEncoder(width, edge, input_px)
        self.mask_decoder = MaskDecoder(width)

    def forward(
        self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor, mask_input: Tensor, has_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Answer prompts.

        Args:
            image_embeddings: (1, c, h, w); h and w at most the edge.
            point_coords: (1, n, 2), (x, y) in pixels of the padded input, centres at integers.
            point_labels: (1, n): 1, 0, box corners 2 and 3, padding -1.
            mask_input: (1, 1, 4h, 4w) logits; any when there is none.
            has_mask: (1,), 0 or 1.

        Returns:
            Logits (1, 4, 4h, 4w) and expected qualities (1, 4).
        """
        h, w = image_embeddings.shape[2:]
        sparse = self.prompt_encoder.sparse(point_coords, point_labels)
        dense = self.prompt_encoder.dense(mask_input, has_mask)
        return self.mask_decoder(image_embeddings, self.prompt_encoder.grid(h, w), sparse, dense)
