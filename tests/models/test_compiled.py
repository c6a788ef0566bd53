"""Encoders that torch compiles: really run, and equal to what they are without it."""

import shutil

import numpy as np
import pytest

from promptseg.models.loading import load_predictor
from promptseg.models.predictor import SliceImage

from .families.sam.test_on_onnx import card  # noqa: F401 - a fixture: a tiny SAM in the registry and in the store
from .families.sam2.conftest import tiny  # noqa: F401 - a fixture
from .families.sam2.test_memory import checkpoint, reference  # noqa: F401 - fixtures: a tiny SAM 2 as its project saves it
from .families.sam2.test_on_onnx import tiny2  # noqa: F401 - a fixture: that one in the registry and in the store

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.torch


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++")
# torch's own compiler still uses its older one when it is imported
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is:DeprecationWarning")
@pytest.mark.parametrize(("fixture", "model_id"), [("card", "tiny-sam"), ("tiny2", "tiny-sam2")])
def test_a_compiled_encoder_gives_the_same(fixture, model_id, request, slices, monkeypatch, tmp_path):
    request.getfixturevalue(fixture)
    image = SliceImage(slices[0].astype(np.float32) / 255)
    plain = load_predictor(model_id, "cpu")
    monkeypatch.setenv("PROMPTSEG_COMPILE", "1")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no pool of processes that outlives the test
    compiled = load_predictor(model_id, "cpu")
    assert compiled is not plain
    assert compiled.described.endswith("on cpu, fp32, compiled")
    a, b = plain.embed(image).features["image"], compiled.embed(image).features["image"]
    assert np.abs(a).max() > 0.1
    assert np.abs(a - b).max() <= 1e-3
    assert list((tmp_path / "inductor").rglob("*.so"))  # it was not left out in silence
