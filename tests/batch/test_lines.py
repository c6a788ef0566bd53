"""Which devices lines get, and what their processes see."""

import json
import os

import pytest

from promptseg.batch.case import Case
from promptseg.batch.job import JobSpec
from promptseg.batch.lines import gpu_ids, line_environment
from promptseg.batch.run import BatchOptions, run_batch
from promptseg.errors import SettingsError

pytestmark = pytest.mark.slow


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Pretend that NVIDIA's tool lists three GPUs; nothing here touches one."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 0\necho 1\necho 2\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("device", "wanted"),
    [
        ("cpu", []),
        ("auto", ["0", "1", "2"]),
        ("cuda", ["0", "1", "2"]),
        ("cuda:1", ["1"]),
        ("cuda:2, cuda:0", ["2", "0"]),
    ],
)
def test_gpus_that_a_device_means(machine, device, wanted):
    assert gpu_ids(device) == wanted


def test_only_visible_gpus_count(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,GPU-5c0f")
    assert gpu_ids("auto") == ["1", "GPU-5c0f"]


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:0,cpu", ""])
def test_unknown_devices(device):
    with pytest.raises(SettingsError, match="expected a device auto, cpu, cuda"):
        gpu_ids(device)


def test_lines_share_the_cores_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert line_environment(4, None)["OMP_NUM_THREADS"] == "4"
    assert "CUDA_VISIBLE_DEVICES" not in line_environment(4, None)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert line_environment(4, "2") | {"OMP_NUM_THREADS": "7", "CUDA_VISIBLE_DEVICES": "2"} == line_environment(4, "2")


def test_every_gpu_gets_a_warm_line_of_its_own(machine, trouble, tmp_path):
    spec = JobSpec(trouble.job, {"slow": "0.5"}, device="cuda:2,cuda:0")
    cases = [Case(f"sees-{n}", "x") for n in range(8)]
    run_batch(cases, spec, tmp_path / "out", BatchOptions())
    found = [json.loads(path.read_text())["findings"] for path in tmp_path.glob("out/cases/*/case.json")]
    assert {findings[2] for findings in found} == {"gpu 0", "gpu 2"}
    assert {findings[3] for findings in found} == {"device cuda"}
    assert len({findings[0] for findings in found}) == 2  # two processes, each loaded once
    assert {findings[1] for findings in found} == {"loads 1"}
