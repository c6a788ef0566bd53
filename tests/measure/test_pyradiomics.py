"""Shape features against pyradiomics 3.0.1 (its numbers lie beside benchmarks/shape_parity.py)."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "shape_parity.py"


@pytest.fixture(scope="module")
def parity() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shape_parity", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shape_parity"] = module
    spec.loader.exec_module(module)
    return module


def test_bodies(parity: ModuleType) -> None:
    kept = json.loads(parity.KEPT.read_text())["cases"]
    found = {name: parity.ours(mask, geometry) for name, mask, geometry in parity.cases(None)}
    assert len(found) == 5
    for name, values in found.items():
        assert values == pytest.approx(kept[name], rel=1e-6), name


def test_real_labels(parity: ModuleType, shared_data: Path) -> None:
    """Rough masks: at voxels that touch by an edge only the two programs' cubes are cut in different ways."""
    kept = json.loads(parity.KEPT.read_text())["cases"]
    found = {name: parity.ours(mask, geometry) for name, mask, geometry in parity.cases(shared_data)}
    assert set(found) == set(kept)
    for name, values in found.items():
        for feature, value in values.items():
            exact = feature in ("VoxelVolume", "Maximum3DDiameter")
            assert value == pytest.approx(kept[name][feature], rel=1e-5 if exact else 6e-3), (name, feature)
