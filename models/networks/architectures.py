"""Names of architectures, and networks of them with a checkpoint's weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from promptseg.errors import ModelError, did_you_mean
from promptseg.models.checkpoints import match_keys, read_state
from promptseg.models.networks.decoder import PromptDecoder
from promptseg.models.networks.tiny_vit import UNUSED_KEYS, TinyViT, TinyVitShape
from promptseg.models.networks.vit import ImageEncoder, VitShape

__all__ = ["ARCHITECTURES", "SamNetwork", "build_network", "load_network"]

ARCHITECTURES: dict[str, VitShape | TinyVitShape] = {
    "vit_b": VitShape(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": VitShape(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": VitShape(1280, 32, 16, (7, 15, 23, 31)),
    "vit_b_adapter": VitShape(768, 12, 12, (2, 5, 8, 11), input_px=256, adapter=True),
    "vit_t": TinyVitShape(),
    "vit_t_256": TinyVitShape(input_px=256, strided_start=False),
}
"""segment_anything/build_sam.py, SAM-Med2D's and MobileSAM's build_sam.py, MedSAM's CVPR24_LiteMedSAM_infer.py."""


@dataclass(eq=False)
class SamNetwork:
    """An encoder and a decoder in evaluation mode.

    Attributes:
        encoder: (n, 3, input_px, input_px) -> (n, 256, edge, edge).
        decoder: see ``PromptDecoder``.
        input_px: edge of the encoder's input.
        edge: edge of the embedding; low-resolution masks are 4 edge.
    """

    encoder: nn.Module
    decoder: PromptDecoder
    input_px: int
    edge: int

    def state(self) -> dict[str, Tensor]:
        """All tensors under the names that checkpoints use."""
        encoder = {f"image_encoder.{k}": v for k, v in self.encoder.state_dict().items()}
        return encoder | dict(self.decoder.state_dict())


def build_network(arch: str) -> SamNetwork:
    """Make a network without weights (they are random).

    Raises:
        ModelError: unknown architecture.
    """
    shape = ARCHITECTURES.get(arch)
    if shape is None:
        raise ModelError(
            f"expected an architecture ({', '.join(ARCHITECTURES)}), got {arch!r}{did_you_mean(arch, ARCHITECTURES)}"
        )
    encoder = ImageEncoder(shape) if isinstance(shape, VitShape) else TinyViT(shape)
    return SamNetwork(encoder.eval(), PromptDecoder(shape.edge, shape.input_px).eval(), shape.input_px, shape.edge)


def load_network(arch: str, checkpoint: Path, expected_bytes: int = 0) -> SamNetwork:
    """Make a network with a checkpoint's weights, on the CPU in fp32.

    Raises:
        ModelError: unknown architecture; or the file is unsafe, damaged, or another architecture's.
    """
    with torch.device("meta"):  # no time and no memory for weights that are replaced at once
        blank = build_network(arch)
    state = match_keys(
        read_state(checkpoint, expected_bytes), blank.state(), f"{arch} in {checkpoint}", ignored=UNUSED_KEYS
    )
    state = {k: v if k.endswith("num_batches_tracked") else v.float() for k, v in state.items()}
    network = _materialised(arch, blank)
    prefix = "image_encoder."
    network.encoder.load_state_dict(
        {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}, assign=True
    )
    network.decoder.load_state_dict({k: v for k, v in state.items() if not k.startswith(prefix)}, assign=True)
    for module in (network.encoder, network.decoder):
        module.requires_grad_(False)
    return network


def _materialised(arch: str, blank: SamNetwork) -> SamNetwork:
    """Buffers that no checkpoint holds (index tables) must exist; those networks are small enough to build twice."""
    shape = ARCHITECTURES[arch]
    return build_network(arch) if isinstance(shape, TinyVitShape) else blank
