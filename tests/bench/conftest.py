"""The small labelled image on disk that the benchmark's tests run on."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))  # importlib mode puts no test folder on the path

from bench_phantom import BALL, CASES, SHAPE, TUBE, labels_array, write


@pytest.fixture
def phantom(tmp_path: Path) -> Path:
    """Folder with ``cases.toml``, an image (object 200 and 120, background 0 to 20) and its labels."""
    labels = labels_array()
    image = np.random.default_rng(0).integers(0, 21, SHAPE).astype(np.int16)
    image[labels == BALL], image[labels == TUBE] = 200, 120
    write(image, tmp_path / "image.nii.gz")
    write(labels, tmp_path / "label.nii.gz")
    (tmp_path / "cases.toml").write_text(CASES, encoding="utf-8")
    return tmp_path
