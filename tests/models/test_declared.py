"""Models that other packages declare, or that somebody hands over as an object."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import promptseg
from promptseg.errors import ModelError, UnknownModelError
from promptseg.models import declared
from promptseg.models.loading import load_predictor
from promptseg.volume import Geometry

SOURCE = """
import numpy as np
from promptseg.models.predictor import Embedding, Prediction

class Bright:
    model_id = "bright"
    def __init__(self, device):
        self.device = device
    def embed(self, image):
        return Embedding("bright", image.shape, image.spacing_mm, {"pixels": image.pixels})
    def predict(self, embedding, prompts, prior=None):
        return Prediction((embedding.features["pixels"] - 0.5).astype(np.float32), 0.5)

def broken(device):
    raise RuntimeError("no licence file")
"""
TABLE = """
[promptseg.models]
bright = a_bright_model:Bright
broken = a_bright_model:broken
builtin = a_bright_model:Bright
"""
GRID = Geometry((3, 20, 17), (0.7, 1.1, 3.0), (4.0, -5.0, 6.0))


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package, as importlib.metadata sees one."""
    information = tmp_path / "a_bright_model-1.0.dist-info"
    information.mkdir()
    (tmp_path / "a_bright_model.py").write_text(SOURCE)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: a-bright-model\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(TABLE)
    monkeypatch.syspath_prepend(tmp_path)
    declared._loaded.cache_clear()
    yield
    declared._loaded.cache_clear()
    sys.modules.pop("a_bright_model", None)


def array() -> np.ndarray:
    found = np.zeros(GRID.shape, np.uint8)
    found[1, 4:12, 3:9] = 255
    return found


def test_a_declared_model_is_named_like_any_other(tmp_path: Path) -> None:
    session = promptseg.open_session((array(), GRID), model="bright", device="cpu")
    session.add(promptseg.Point(voxel=(1, 6, 5)), propagate=False)
    assert np.array_equal(session.mask(1), array() > 0)
    assert load_predictor("bright", "cpu") is load_predictor("bright", "cpu")
    session.export_prompts(tmp_path / "log.json")
    again = promptseg.replay((array(), GRID), tmp_path / "log.json")
    assert np.array_equal(again.array, session.labelmap.array)


def test_a_package_cannot_take_the_place_of_a_model_of_ours() -> None:
    assert type(load_predictor("builtin", "cpu")).__name__ == "BuiltinPredictor"


def test_what_breaks_is_a_sentence() -> None:
    with pytest.raises(ModelError, match="no licence file"):
        load_predictor("broken", "cpu")
    with pytest.raises(UnknownModelError, match="brigt"):
        load_predictor("brigt", "cpu")
    with pytest.raises(ModelError, match="without embed, predict"):
        promptseg.open_session((array(), GRID), model=type("Half", (), {"model_id": "half"})())
    with pytest.raises(ModelError, match="got a PosixPath"):
        promptseg.open_session((array(), GRID), model=Path("model.pth"))  # type: ignore[arg-type]
