"""Products in blocks of rows give what whole products give."""

import numpy as np
import pytest

from promptseg.models.families import openvino_rows
from promptseg.models.families.openvino_rows import in_row_blocks

ov = pytest.importorskip("openvino", reason="openvino is not installed")
ops = pytest.importorskip("openvino.opset13")
ROWS, WIDTH = 96, 8


def mlp(rows: int = ROWS, watched: bool = False):
    """x + W2 gelu(W1 x + b1) + b2, GELU in the pieces that an export has; ``watched``: its middle is an answer too."""
    rng = np.random.default_rng(5)
    x = ops.parameter([1, rows, WIDTH], np.float32)
    wide = ops.add(ops.constant(draw(rng, 32)), ops.matmul(x, ops.constant(draw(rng, WIDTH, 32)), False, False))
    bent = ops.add(ops.erf(ops.divide(wide, ops.constant(np.float32(2**0.5)))), ops.constant(np.float32(1)))
    bent = ops.multiply(ops.multiply(wide, bent), ops.constant(np.float32(0.5)))
    narrow = ops.add(ops.matmul(bent, ops.constant(draw(rng, WIDTH, 32)), False, True), ops.constant(draw(rng, WIDTH)))
    return ov.Model([ops.add(x, narrow), *([wide] if watched else [])], [x])


def draw(rng, *shape: int):
    return rng.standard_normal(shape).astype(np.float32)


def answers(network, rows: int = ROWS):
    x = draw(np.random.default_rng(6), 1, rows, WIDTH)
    made = ov.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([x])
    return [made[i] for i in range(len(made))]


def products(network) -> int:
    return sum(node.get_type_name() == "MatMul" for node in network.get_ops())


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(openvino_rows, "BLOCK_ROWS", 32)


def test_a_chain_of_products_runs_block_by_block():
    network = mlp()
    in_row_blocks(network)
    assert products(network) == 2 * 3
    theirs, ours = answers(mlp()), answers(network)
    assert np.abs(theirs[0]).max() > 1
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-5)


def test_huge_numbers_stay_as_they_are():
    x = ops.parameter([1, ROWS, WIDTH], np.float32)
    network = ov.Model(
        [ops.matmul(x, ops.constant(np.float32(3e37) * np.eye(WIDTH, dtype=np.float32)), False, False)], [x]
    )
    whole = answers(network)
    in_row_blocks(network)
    assert products(network) == 3
    np.testing.assert_array_equal(answers(network)[0], whole[0])


@pytest.mark.parametrize(
    ("network", "rows"),
    [(mlp(rows=32), 32), (mlp(rows=100), 100), (mlp(watched=True), ROWS)],
    ids=["one block", "a rest", "two readers"],
)
def test_what_does_not_divide_is_left_alone(network, rows):
    before, whole = products(network), answers(network, rows)
    in_row_blocks(network)
    assert products(network) == before
    for ours, theirs in zip(answers(network, rows), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_free_sizes_are_left_alone():
    network = mlp()
    network.reshape([1, -1, WIDTH])
    in_row_blocks(network)
    assert products(network) == 2
