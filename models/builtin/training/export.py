"""Write a checkpoint's averaged weights as one ONNX file that ONNX Runtime runs without torch."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from promptseg.models.builtin.training.network import NetworkConfig, PromptNet

__all__ = ["export", "load_network"]

log = logging.getLogger(__name__)

OPSET = 17


class _Answer(nn.Module):
    """The network as shipped: probabilities of quality instead of their logits."""

    def __init__(self, network: PromptNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """(n, channels, s, t) -> mask logits (n, 1, s, t) and scores (n,) in 0..1."""
        logits, quality = self.network(view)
        return logits, torch.sigmoid(quality)


def load_network(checkpoint: Path) -> PromptNet:
    """The network with a checkpoint's averaged weights, in evaluation mode on the CPU."""
    network = PromptNet(NetworkConfig())
    network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["average"])
    return network.eval()


def export(checkpoint: Path, out: Path) -> str:
    """Write ``out``; returns its sha256.

    The batch and both edges stay free; edges must be multiples of 32. The legacy exporter is used because the files
    of the newer one run slower in ONNX Runtime on the CPU.
    """
    model = _Answer(load_network(checkpoint)).eval()
    example = torch.zeros(2, NetworkConfig().channels, 128, 128)
    free = {0: "n", 2: "height", 3: "width"}
    torch.onnx.export(
        model,
        (example,),
        str(out),
        input_names=["view"],
        output_names=["logits", "score"],
        dynamic_axes={"view": free, "logits": free, "score": {0: "n"}},
        opset_version=OPSET,
        dynamo=False,
    )
    onnx.checker.check_model(str(out))
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    log.info("%s: %d bytes, sha256 %s", out, out.stat().st_size, digest)
    return digest
