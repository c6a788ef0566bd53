"""Write a checkpoint's averaged weights as one ONNX file that ONNX Runtime runs without torch."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from promptseg.models.builtin.training.network import PromptPair
from promptseg.models.families.builtin.views import CHANNELS

__all__ = ["OPSET", "export", "halve", "load_pair", "read_member", "read_weights"]

log = logging.getLogger(__name__)

OPSET = 17

SMALLEST_HALVED = 4096
"""Weights of at least this many numbers are stored in 16 bits."""


def load_pair(checkpoints: dict[str, Path], shipped: Path) -> PromptPair:
    """Both members, in evaluation mode on the CPU.

    Args:
        checkpoints: of members that were trained anew; their averaged weights are taken.
        shipped: a file written by ``export`` that gives the others.
    """
    pair = PromptPair()
    for name, member in pair.members.items():
        if name in checkpoints:
            state = torch.load(checkpoints[name], map_location="cpu", weights_only=True)["average"]
        else:
            state = read_member(shipped, name)
        member.load_state_dict(state)
    return pair.eval()


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
    """The weights in a file written by ``export``, named as in the network's state."""
    weights = {}
    for weight in onnx.load(str(path)).graph.initializer:
        weights[weight.name.removesuffix(".half")] = torch.from_numpy(numpy_helper.to_array(weight).astype(np.float32))
    return weights


def read_member(path: Path, member: str) -> dict[str, Tensor]:
    """One member's weights in a file written by ``export``, named as in ``PromptNet``'s state."""
    prefix = f"members.{member}."
    return {key.removeprefix(prefix): value for key, value in read_weights(path).items() if key.startswith(prefix)}


def export(checkpoints: dict[str, Path], shipped: Path, out: Path) -> str:
    """Write ``out``; returns its sha256. ``checkpoints`` and ``shipped`` as in ``load_pair``.

    The batch and both edges stay free; edges must be multiples of 32. The legacy exporter is used because the files
    of the newer one run slower in ONNX Runtime on the CPU.
    """
    model = load_pair(checkpoints, shipped)
    example = torch.zeros(2, len(CHANNELS), 128, 128)
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
    halved = halve(onnx.load(str(out)))
    onnx.checker.check_model(halved)
    onnx.save(halved, str(out))
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    log.info("%s: %d bytes, sha256 %s", out, out.stat().st_size, digest)
    return digest
