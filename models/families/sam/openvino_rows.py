"""What treats every token alone, in blocks of tokens, for OpenVINO on a CPU.

Between two attentions lie only products with weights, sums, normalisations and an MLP: each row of numbers goes its own
way. So some rows go all that way before the next ones begin, and what lies between stays in the processor's cache: over
the whole grid of ViT-B it is 100 MB a block that go to memory and come back. See docs/adr/0014.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["in_row_blocks"]

BLOCK_ROWS = (1024, 512)  # the first that divides the rows; 1024 of an MLP's 3072 numbers are 12 MiB
BY_NUMBER = ("Add", "Subtract", "Multiply", "Divide", "Erf")  # a bias, a sum, GELU's parts
LARGEST = float(np.finfo(np.float32).max)
Region = dict[str, Any]
"""Nodes by name, in the order of the network."""


def in_row_blocks(network: Any) -> None:
    """Rewrite an ``openvino.Model`` in place; it computes the same. What has free sizes is left alone."""
    from openvino.passes import ConstantFolding, Manager

    folding = Manager()
    folding.register_pass(ConstantFolding())  # else the axes of a normalisation are not known yet
    folding.run_passes(network)
    nodes = network.get_ordered_ops()
    done: set[str] = set()
    for first in nodes:
        if _name(first) in done or not _is_product(first):
            continue
        rows = _rows(first.output(0))
        block = next((size for size in BLOCK_ROWS if rows > size and rows % size == 0), 0)
        if block:
            region = _region(first, nodes, done)
            done |= region.keys()
            _split(region, rows // block)


def _name(node: Any) -> str:
    return str(node.get_friendly_name())


def _source(value: Any) -> str:
    return _name(value.get_node())


def _value(value: Any) -> tuple[str, int]:
    return _source(value), int(value.get_index())


def _rows(value: Any) -> int:
    """The r of (1, r, c); 0 for all else."""
    shape = value.get_partial_shape()
    return int(shape[1].get_length()) if shape.is_static and len(shape) == 3 and shape[0].get_length() == 1 else 0


def _is_constant(value: Any) -> bool:
    return bool(value.get_node().get_type_name() == "Constant")


def _is_product(node: Any) -> bool:
    """Rows of numbers with weights, turned or not; no more than that."""
    if node.get_type_name() != "MatMul" or not _rows(node.output(0)) or node.get_attributes()["transpose_a"]:
        return False
    weights = node.input_value(1)
    return _is_constant(weights) and len(weights.get_shape()) == 2


def _is_alike(value: Any, rows: int) -> bool:
    """Whether it has a part for every row, or is a constant that is the same for all of them."""
    shape = list(value.get_shape()) if _is_constant(value) else []
    return _rows(value) == rows or (_is_constant(value) and shape[-2:-1] in ([], [1]) and len(shape) <= 3)


def _readers(node: Any) -> list[Any]:
    return [reader for output in node.outputs() for reader in output.get_target_inputs()]


def _goes_by_row(node: Any, rows: int) -> bool:
    """Whether a row of the answer needs that row alone of whatever has rows."""
    if node.get_output_size() != 1 or _rows(node.output(0)) != rows:
        return False
    if node.get_type_name() == "MVN":  # a normalisation, over the numbers of a row
        axes = node.input_value(1)
        return _is_constant(axes) and axes.get_node().get_data().tolist() in ([-1], [2])
    if _is_product(node):
        return True
    return node.get_type_name() in BY_NUMBER and all(_is_alike(value, rows) for value in node.input_values())


def _region(first: Any, nodes: list[Any], done: set[str]) -> Region:
    """A product and all that can follow it row by row, without what waits for something outside that needs it whole."""
    rows, region = _rows(first.output(0)), {_name(first): first}
    waiting: set[str] = set()
    for node in nodes:
        sources = {_source(value) for value in node.input_values()}
        if _name(node) in region or not sources & (region.keys() | waiting):
            continue
        if _goes_by_row(node, rows) and not sources & waiting and _name(node) not in done:
            region[_name(node)] = node
        else:
            waiting.add(_name(node))
    return region


def _split(region: Region, parts: int) -> None:
    from openvino import opset13 as ops

    rows = _rows(next(iter(region.values())).output(0))
    exits = {
        name: [reader for reader in _readers(node) if _name(reader.get_node()) not in region]
        for name, node in region.items()
    }
    entries = {
        _value(value): ops.split(value, ops.constant(np.int64(1)), parts).outputs()
        for node in region.values()
        for value in node.input_values()
        if _rows(value) == rows and _source(value) not in region
    }
    made: dict[str, list[Any]] = {name: [] for name, readers in exits.items() if readers}
    for part in range(parts):
        again = {value: pieces[part] for value, pieces in entries.items()}
        for name, node in region.items():
            again[name, 0] = _again(node, [again.get(_value(value), value) for value in node.input_values()])
            if name in made:
                made[name].append(again[name, 0])
    for name, pieces in made.items():
        whole = ops.concat(pieces, 1).output(0)
        for reader in exits[name]:
            reader.replace_source_output(whole)


def _again(node: Any, inputs: list[Any]) -> Any:
    from openvino import opset13 as ops

    kind, settings = node.get_type_name(), node.get_attributes()
    if kind == "MatMul":
        copy = ops.matmul(*inputs, settings["transpose_a"], settings["transpose_b"])
    elif kind == "MVN":
        copy = ops.mvn(*inputs, settings["normalize_variance"], settings["eps"], settings["eps_mode"])
    else:
        copy = getattr(ops, kind.lower())(*inputs)
    # What follows a product decides between kernels: with this after it, OpenVINO takes oneDNN's, the faster one.
    return (ops.clamp(copy, -LARGEST, LARGEST) if _ends_product(node) else copy).output(0)


def _ends_product(node: Any) -> bool:
    """A product with its bias, where nothing follows that OpenVINO computes together with it."""
    readers = [reader.get_node() for reader in _readers(node)]
    if len(readers) != 1:
        return False
    if _is_product(node):
        return not _is_bias(readers[0])
    return _is_bias(node) and any(_is_product(value.get_node()) for value in node.input_values())


def _is_bias(node: Any) -> bool:
    return node.get_type_name() == "Add" and any(_is_constant(v) and not _rows(v) > 1 for v in node.input_values())
