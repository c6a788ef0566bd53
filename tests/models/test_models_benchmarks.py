"""The scripts that compare models with their references: they run, and they would say it if something were off."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

import models_parity
import models_references

pytestmark = pytest.mark.torch

SPEED = Path(models_references.__file__).with_name("models_speed.py")


def test_speed_and_batches_of_a_small_sam_2():
    """What a GPU's part does, on the CPU: batches, throughput, operations counted."""
    command = [sys.executable, str(SPEED), "--arch", "hiera_tiny", "--px", "128", "--shape", "60", "80"]
    command += ["--rounds", "1", "--repeats", "1", "--variants", "reference", "torch-fp32", "--batches", "1", "8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert rows["variant"][-4:] == ["max", "abs", "largest", "IoU"]
    difference, largest, overlap = map(float, rows["torch-fp32"][-3:])
    assert difference <= 1e-3  # from the reference's logits
    assert largest > 0.1
    assert overlap >= 0.999
    found = re.search(r"images/s: ([\d.]+) at a batch of 1, ([\d.]+) at a batch of 8, (\d+) GFLOP", done.stdout)
    assert found, done.stdout
    assert all(float(number) > 0 for number in found.groups())


def test_a_gpu_that_is_not_there_is_said_to_be_missing():
    command = [sys.executable, str(SPEED), "--device", "cuda:99"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    assert re.fullmatch(r"skipped: cuda:99 was asked for and torch sees \d+ GPU\(s\)\n", done.stdout)


@pytest.fixture
def answers(monkeypatch):
    """Answers per variant, instead of those of children."""
    good = [np.linspace(-5, 5, 2000, dtype=np.float32).reshape(40, 50)]
    found = dict.fromkeys(("reference", *models_parity.FP32), good)
    monkeypatch.setattr(models_parity, "prepare", lambda *_: None)
    monkeypatch.setattr(
        models_parity,
        "run",
        lambda _name, variant, _slices, _folder: {"encoder_s": 1.0, "peak_mb": 1.0, "logits": found[variant]},
    )
    return found


def test_parity_is_judged_by_logits_and_masks(answers, tmp_path, capsys):
    def judged():
        return models_parity.compare("sam", list(models_parity.FP32), 1, tmp_path)

    assert judged() == []
    assert "| sam | onnx-fp32 | 0 | 0 | 5 | 1.0000 |" in capsys.readouterr().out
    answers["onnx-fp32"] = [answers["reference"][0] + 0.002]  # too far from both, masks the same
    assert [said.split(":")[0] for said in judged()] == ["sam onnx-fp32"]
    answers["onnx-fp32"] = answers["reference"]
    clear = answers["reference"][0]
    answers["reference"] = [np.where(np.abs(clear) > 4, clear, 4e-4).astype(np.float32)]
    for variant in models_parity.FP32:  # logits within the bound, masks not
        answers[variant] = [np.where(np.abs(clear) > 4, clear, -4e-4).astype(np.float32)]
    assert len(judged()) == 3


def test_a_reference_that_says_nothing_proves_nothing(answers, tmp_path):
    answers["reference"] = [np.full((40, 50), 3, np.float32)]
    with pytest.raises(SystemExit, match="says nothing"):
        models_parity.compare("sam", ["torch-fp32"], 1, tmp_path)
