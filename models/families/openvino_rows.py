"""Products of matrices in blocks of rows, for OpenVINO on a CPU.

What treats every row alone (the two linear layers of an MLP with all between them) runs through for some rows before it
begins with the next ones. What lies between then stays in the processor's cache: over the whole grid of ViT-B it is
50 MB that go to memory and come back. See docs/adr/0014.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["in_row_blocks"]

BLOCK_ROWS = 512  # of 3072 numbers: 6 MiB, in the last-level cache of any processor that runs this in seconds
BY_NUMBER = {"Add": "add", "Multiply": "multiply", "Divide": "divide", "Erf": "erf"}  # GELU's parts, and a bias
LARGEST = float(np.finfo(np.float32).max)


def in_row_blocks(network: Any) -> None:
    """Rewrite an ``openvino.Model`` in place; it computes the same. What has free sizes is left alone."""
    nodes = network.get_ordered_ops()
    done: set[str] = set()
    for first in nodes:
        if _name(first) in done or not _is_product(first):
            continue
        region = _region(first, nodes)
        done |= set(region)
        exits = [node for node in region.values() if any(_name(reader) not in region for reader in _readers(node))]
        shape = first.input_value(0).get_partial_shape()
        rows = shape[1].get_length() if shape.is_static and len(shape) == 3 else 0
        if len(exits) == 1 and rows > BLOCK_ROWS and rows % BLOCK_ROWS == 0:
            _split(list(region.values()), exits[0], rows // BLOCK_ROWS)


def _name(node: Any) -> str:
    return str(node.get_friendly_name())


def _is_constant(value: Any) -> bool:
    return bool(value.get_node().get_type_name() == "Constant")


def _is_product(node: Any) -> bool:
    return node.get_type_name() == "MatMul" and _is_constant(node.input_value(1))


def _readers(node: Any) -> list[Any]:
    return [reader.get_node() for output in node.outputs() for reader in output.get_target_inputs()]


def _region(first: Any, nodes: list[Any]) -> dict[str, Any]:
    """A product and all that follows from it alone, row by row; in order, by name."""
    region = {_name(first): first}
    for node in nodes:
        known = _is_product(node) or node.get_type_name() in BY_NUMBER
        sources = [value.get_node() for value in node.input_values() if not _is_constant(value)]
        if known and sources and all(_name(source) in region for source in sources):
            region[_name(node)] = node
    return region


def _split(region: list[Any], last: Any, parts: int) -> None:
    from openvino import opset13 as ops

    readers = last.output(0).get_target_inputs()
    made = []
    for part in ops.split(region[0].input_value(0), ops.constant(np.int64(1)), parts).outputs():
        again = {_name(region[0].input_value(0).get_node()): part}
        for node in region:
            inputs = [again.get(_name(value.get_node()), value) for value in node.input_values()]
            if _is_product(node):
                turned = node.get_attributes()
                copy = ops.matmul(*inputs, turned["transpose_a"], turned["transpose_b"])
            else:
                copy = getattr(ops, BY_NUMBER[node.get_type_name()])(*inputs)
            again[_name(node)] = copy.output(0)
        # What follows a product decides between kernels: with this after it, OpenVINO takes oneDNN's, the faster one.
        made.append(ops.clamp(again[_name(last)], -LARGEST, LARGEST))
    whole = ops.concat(made, 1).output(0)
    for reader in readers:
        reader.replace_source_output(whole)
