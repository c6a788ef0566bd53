"""The shipped file is the network of the recipe, small enough, and torch and ONNX Runtime agree on it."""

import hashlib
import warnings

import numpy as np
import pytest

from promptseg.models.builtin import BUILTIN_ONNX, BUILTIN_SHA256
from promptseg.models.builtin.training.samples import make_samples
from promptseg.models.families.builtin.views import Hints, Square, draw_view

pytestmark = pytest.mark.torch

MOST_BYTES, MOST_WEIGHTS = 16 * 2**20, 8_000_000


def test_the_shipped_file_is_the_recorded_one() -> None:
    content = BUILTIN_ONNX.read_bytes()
    assert len(content) <= MOST_BYTES
    assert hashlib.sha256(content).hexdigest() == BUILTIN_SHA256


@pytest.mark.parametrize("size", [96, 160])
def test_torch_and_onnxruntime_agree(size: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is only needed to train (pip install promptseg[train])")
    pytest.importorskip("onnx", reason="onnx is only needed to train (pip install promptseg[train])")
    onnxruntime = pytest.importorskip("onnxruntime")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, on import of its exporter
        from promptseg.models.builtin.training.network import PromptPair
        from promptseg.models.builtin.training.onnx_file import read_weights
    network = PromptPair().eval()
    network.load_state_dict(read_weights(BUILTIN_ONNX))
    assert sum(weight.numel() for weight in network.parameters()) <= MOST_WEIGHTS
    image = make_samples((11,), family="heart")[0].images[0]
    hints = Hints(np.array([[128.0, 120.0]], np.float32), np.array([True]), (60, 60, 190, 180))
    views = np.stack([draw_view(image, hints, Square(128, 120, side), size) for side in (80.0, 256.0)])
    session = onnxruntime.InferenceSession(str(BUILTIN_ONNX), providers=["CPUExecutionProvider"])
    logits, scores = session.run(None, {"view": views})
    with torch.no_grad():
        expected, quality = network(torch.from_numpy(views))
    np.testing.assert_allclose(logits, expected.numpy(), atol=2e-3)
    np.testing.assert_allclose(scores, quality.numpy(), atol=1e-4)
