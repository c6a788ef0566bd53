"""An exported encoder in fewer bits than the fp32 that it was written in."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np

__all__ = ["compress", "halve", "quantise"]


def quantise(encoder: Path) -> None:
    """For ONNX Runtime: weights of matrix products to int8 per channel, activations at run time; in place."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises a pre-processing that makes this network twice as slow
    try:
        quantised = encoder.with_name("encoder-int8.onnx")
        quantize_dynamic(
            encoder, quantised, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8
        )
        quantised.replace(encoder)
    finally:
        root.setLevel(level)


def compress(encoder: Path, path: Path) -> None:
    """For OpenVINO, which rounds what they are multiplied with: weights of matrix products to int8 per column."""
    import onnx

    model = onnx.load(str(encoder))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    products = [n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in weights]
    nodes, done = [], set()
    for name in [product.input[1] for product in products]:
        values = onnx.numpy_helper.to_array(weights[name])
        if values.ndim != 2 or name in done:
            continue
        scale = np.maximum(np.abs(values).max(0), 1e-12).astype(np.float32) / 127
        whole = np.rint(values / scale).astype(np.int8)
        weights[name].CopyFrom(onnx.numpy_helper.from_array(whole, name))
        model.graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name} scale"))
        nodes.append(onnx.helper.make_node("DequantizeLinear", [name, f"{name} scale"], [f"{name} wide"], axis=1))
        done.add(name)
    for product in products:
        if product.input[1] in done:
            product.input[1] = f"{product.input[1]} wide"
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    onnx.save(model, str(path))


def halve(encoder: Path) -> None:
    """For a GPU: everything to fp16, inputs and outputs stay fp32; in place."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights too small for fp16 are named one by one
        halved = convert_float_to_float16(str(encoder), keep_io_types=True)  # a path: larger than protobuf's 2 GiB
    onnx.save(halved, str(encoder))
