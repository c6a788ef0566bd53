"""Write a checkpoint's averaged weights as one ONNX file that ONNX Runtime runs without torch."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from promptseg.models.builtin.training.network import NetworkConfig, PromptNet

__all__ = ["export", "load_network", "read_weights"]

log = logging.getLogger(__name__)

OPSET = 17

SMALLEST_HALVED = 4096
"""Weights of at least this many numbers are stored in 16 bits."""


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


def _halve(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large weights in 16 bits and cast them back on loading: half the file, the same 32-bit arithmetic."""
    graph = model.graph
    casts, kept = [], []
    for weight in graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.dtype != np.float32 or array.size < SMALLEST_HALVED:
            kept.append(weight)
            continue
        stored = f"{weight.name}.half"
        kept.append(numpy_helper.from_array(array.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [weight.name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    return model


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a file written by ``export``, named as in ``PromptNet``'s state."""
    weights = {}
    for weight in onnx.load(str(path)).graph.initializer:
        name = weight.name.removeprefix("network.").removesuffix(".half")
        weights[name] = torch.from_numpy(numpy_helper.to_array(weight).astype(np.float32))
    return weights


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
        do_constant_folding=False,  # keeps the names of all weights; ONNX Runtime folds when it loads
        dynamo=False,
    )
    halved = _halve(onnx.load(str(out)))
    onnx.checker.check_model(halved)
    onnx.save(halved, str(out))
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    log.info("%s: %d bytes, sha256 %s", out, out.stat().st_size, digest)
    return digest
