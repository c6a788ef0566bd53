"""Write averaged weights as one ONNX file that ONNX Runtime runs without torch, and read them back."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

__all__ = ["read_weights", "write_network"]

log = logging.getLogger(__name__)

OPSET = 17

SMALLEST_HALVED = 4096
"""Weights of at least this many numbers are stored in 16 bits."""


def write_network(network: nn.Module, shape: tuple[int, ...], edges: tuple[str, ...], out: Path) -> str:
    """Write a network that maps a view to mask logits and scores (n,); return the file's sha256.

    The legacy exporter is used because the files of the newer one run slower in ONNX Runtime on the CPU.

    Args:
        network: in evaluation mode on the CPU.
        shape: (n, channels, edges ...) that it is traced with.
        edges: names of the edges; these and the batch stay free.
        out: the file.
    """
    free = {0: "n", **dict(enumerate(edges, 2))}
    torch.onnx.export(
        network,
        (torch.zeros(shape),),
        str(out),
        input_names=["view"],
        output_names=["logits", "score"],
        dynamic_axes={"view": free, "logits": free, "score": {0: "n"}},
        opset_version=OPSET,
        do_constant_folding=False,  # keeps the names of all weights; ONNX Runtime folds when it loads
        dynamo=False,
    )
    halved = halve(onnx.load(str(out)))
    onnx.checker.check_model(halved)
    onnx.save(halved, str(out))
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    log.info("%s: %d bytes, sha256 %s", out, out.stat().st_size, digest)
    return digest


def halve(model: onnx.ModelProto) -> onnx.ModelProto:
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
    """The weights in a file written by ``write_network``, named as in the network's state."""
    weights = {}
    for weight in onnx.load(str(path)).graph.initializer:
        weights[weight.name.removesuffix(".half")] = torch.from_numpy(numpy_helper.to_array(weight).astype(np.float32))
    return weights
