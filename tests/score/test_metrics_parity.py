"""The metrics beside DeepMind's surface-distance and MONAI, through benchmarks/metrics_parity.py."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "metrics_parity.py"


def test_three_programs_agree() -> None:
    """In a process of its own: the references warn when imported, and one needs names put back into NumPy."""
    for package in ("monai", "surface_distance"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=600, check=True)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()[2:]]
    assert len(rows) == 2 * 3
    diagonal = (3.0**2 + 0.7**2 + 1.1**2) ** 0.5  # of a voxel of the script's phantoms, mm
    for ours, deepmind, monai in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        assert [row[1] for row in (ours, deepmind, monai)] == ["promptseg", "surface-distance", "MONAI"]
        assert ours[2] == deepmind[2] == monai[2]  # Dice
        assert ours[3] == monai[3]  # IoU
        assert ours[4:] == [deepmind[4], *deepmind[5:]]  # NSD, HD95, ASSD
        assert float(ours[4]) == pytest.approx(float(monai[4]), abs=2e-5)  # NSD
        for column in (5, 6):  # HD95 and ASSD between the centres of border voxels, there
            assert abs(float(ours[column]) - float(monai[column])) < diagonal
