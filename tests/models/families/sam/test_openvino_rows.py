"""Products in blocks of rows give what whole products give."""

import numpy as np
import pytest

from promptseg.models.families.sam import openvino_rows
from promptseg.models.families.sam.openvino_rows import in_row_blocks

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
    monkeypatch.setattr(openvino_rows, "BLOCK_ROWS", (32, 12))


def test_a_chain_of_products_runs_block_by_block():
    network = mlp()
    in_row_blocks(network)
    assert products(network) == 2 * 3
    theirs, ours = answers(mlp()), answers(network)
    assert np.abs(theirs[0]).max() > 1
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-5)


def test_the_smaller_block_serves_where_the_larger_leaves_a_rest():
    network = mlp(rows=60)
    in_row_blocks(network)
    assert products(network) == 2 * 5
    np.testing.assert_allclose(answers(network, 60)[0], answers(mlp(rows=60), 60)[0], rtol=1e-5, atol=1e-5)


def test_a_middle_that_others_read_is_put_together_again():
    network = mlp(watched=True)
    in_row_blocks(network)
    assert products(network) == 2 * 3
    for ours, theirs in zip(answers(network), answers(mlp(watched=True)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def transformer(axis: int = 2):
    """Two blocks: attention that needs all rows, x + its product, a normalisation over ``axis``, a product, a sum."""
    rng = np.random.default_rng(7)
    x = entry = ops.parameter([1, ROWS, WIDTH], np.float32)
    for _ in range(2):
        seen = ops.matmul(ops.softmax(ops.matmul(x, x, False, True), 2), x, False, False)
        x = ops.add(x, ops.add(ops.matmul(seen, ops.constant(draw(rng, WIDTH, WIDTH)), False, True), draw(rng, WIDTH)))
        even = ops.mvn(x, ops.constant(np.array([axis], np.int64)), True, 1e-6, "INSIDE_SQRT")
        even = ops.add(ops.multiply(even, draw(rng, 1, 1, WIDTH)), ops.constant(draw(rng, 1, ROWS, WIDTH)))
        x = ops.subtract(x, ops.matmul(even, ops.constant(draw(rng, WIDTH, WIDTH)), False, False))
    return ov.Model([x], [entry])


def test_sums_and_normalisations_between_attentions_go_block_by_block():
    network = transformer()
    in_row_blocks(network)
    kinds = [node.get_type_name() for node in network.get_ops()]
    assert kinds.count("MatMul") == 2 * (2 + 2 * 3)  # the attention's own two stay whole
    assert kinds.count("MVN") == kinds.count("Subtract") == 2 * 3
    np.testing.assert_allclose(answers(network)[0], answers(transformer())[0], rtol=1e-4, atol=1e-4)


def test_a_normalisation_over_the_rows_stays_whole():
    network = transformer(axis=1)
    in_row_blocks(network)
    assert [node.get_type_name() for node in network.get_ops()].count("MVN") == 2
    np.testing.assert_allclose(answers(network)[0], answers(transformer(axis=1))[0], rtol=1e-4, atol=1e-4)


def test_two_answers_of_one_node_are_not_mixed_up():
    def network():
        x = ops.parameter([1, ROWS, 2 * WIDTH], np.float32)
        left, right = ops.split(x, ops.constant(np.int64(2)), 2).outputs()
        weights = ops.constant(draw(np.random.default_rng(8), WIDTH, WIDTH))
        return ov.Model([ops.add(ops.multiply(ops.matmul(left, weights, False, False), right), left)], [x])

    x = draw(np.random.default_rng(9), 1, ROWS, 2 * WIDTH)
    left, right = np.split(x, 2, axis=2)
    split = network()
    in_row_blocks(split)
    assert products(split) == 3
    found = ov.Core().compile_model(split, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([x])[0]
    weights = draw(np.random.default_rng(8), WIDTH, WIDTH)
    np.testing.assert_allclose(found, (left @ weights) * right + left, rtol=1e-4, atol=1e-4)


def odd(kind: str):
    """A product and what looks like more of the same, but takes another number in every row or mixes rows."""
    rng = np.random.default_rng(10)
    x = ops.parameter([1, ROWS, WIDTH], np.float32)
    made = ops.matmul(x, ops.constant(draw(rng, WIDTH, ROWS)), False, False)
    if kind == "a table of all rows":
        made = ops.add(made, ops.constant(draw(rng, ROWS, ROWS)))
    elif kind == "turned":
        made = ops.matmul(made, ops.constant(draw(rng, ROWS, WIDTH)), True, False)
    else:  # weights with as many rows as there are tokens
        made = ops.matmul(made, ops.constant(draw(rng, 1, ROWS, WIDTH)), False, False)
    return ov.Model([made], [x])


@pytest.mark.parametrize("kind", ["a table of all rows", "turned", "weights in three axes"])
def test_what_only_looks_like_rows_stays_whole(kind):
    network = odd(kind)
    in_row_blocks(network)
    np.testing.assert_allclose(answers(network)[0], answers(odd(kind))[0], rtol=1e-4, atol=1e-4)


def test_huge_numbers_stay_as_they_are():
    x = ops.parameter([1, ROWS, WIDTH], np.float32)
    network = ov.Model(
        [ops.matmul(x, ops.constant(np.float32(3e37) * np.eye(WIDTH, dtype=np.float32)), False, False)], [x]
    )
    whole = answers(network)
    in_row_blocks(network)
    assert products(network) == 3
    np.testing.assert_array_equal(answers(network)[0], whole[0])


@pytest.mark.parametrize(("network", "rows"), [(mlp(rows=12), 12), (mlp(rows=100), 100)], ids=["one block", "a rest"])
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
