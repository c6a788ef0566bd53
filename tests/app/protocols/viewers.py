"""What the tests of viewers' protocols share: one phantom, and the published clients out of their wheels."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

CLIENTS = Path(__file__).resolve().parents[3] / "build" / "clients"
SHAPE = (20, 30, 40)  # no two axes alike, so that a swapped one fails


def phantom(dtype: str = "float32") -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A bright ellipsoid off the middle on a darker, faintly noisy ground; and the ellipsoid."""
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    truth = ((z - 8) / 5) ** 2 + ((y - 13) / 7) ** 2 + ((x - 25) / 9) ** 2 <= 1
    noise = np.random.default_rng(3).normal(0, 4, SHAPE)
    return (40 + 120 * truth + noise).astype(dtype), truth


def dice(a: NDArray[Any], b: NDArray[Any]) -> float:
    """2 |A and B| / (|A| + |B|)."""
    a, b = a != 0, b != 0
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def from_wheel(package: str, member: str, name: str) -> ModuleType:
    """Load one module out of a downloaded wheel, without installing what else lies in it."""
    wheels = sorted(CLIENTS.glob(f"{package}-*.whl"))
    if not wheels:
        pytest.skip(f"the published client {package} is not here (make setup downloads it into build/clients)")
    folder = CLIENTS / wheels[-1].stem
    if not (folder / member).exists():
        with zipfile.ZipFile(wheels[-1]) as wheel:
            wheel.extractall(folder, [n for n in wheel.namelist() if n.startswith(member.rsplit("/", 1)[0])])
    spec = importlib.util.spec_from_file_location(name, folder / member)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
