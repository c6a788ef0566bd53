"""A bundle for a machine without a network: what goes in comes out there; pip itself is played."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from promptseg.bundle import BundleRequest, bring, bundle
from promptseg.errors import ModelError, ReadError, WriteError
from promptseg.models.weights import registry
from promptseg.models.weights.registry import ModelCard, WeightFile

CONTENT = b"weights" * 100
HASH = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
TOY = ModelCard(
    "toy", "sam", "a toy", 2, ("point",), "Apache-2.0", True, "-", files=(WeightFile("t.pth", hashes=(HASH,)),)
)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stands for pip: notes its arguments, and the pins it was given."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        pins = Path(command[command.index("--constraint") + 1]).read_text()
        asked.append([*command, pins])
        Path(command[command.index("--wheel-dir") + 1]).mkdir()
        failed = any("nothing-like-it" in word for word in command)
        return subprocess.CompletedProcess(command, int(failed), "", "ERROR: no such extra\n" if failed else "")

    monkeypatch.setattr("promptseg.bundle.subprocess.run", run)
    return asked


def test_packages_and_weights_go_in_and_come_out(
    pip: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_package_cards", lambda: {"toy": TOY})
    monkeypatch.setenv("PROMPTSEG_MODELS", str(tmp_path / "here"))
    (tmp_path / "here" / "toy").mkdir(parents=True)
    (tmp_path / "here" / "toy" / "t.pth").write_bytes(CONTENT)
    made = bundle(tmp_path / "stick", BundleRequest(("app",), ("toy",)))
    assert [path.name for path in made] == ["INSTALL.txt", "weights.tar", "wheels"]
    ((*command, pins),) = pip
    assert command[:4] == [sys.executable, "-m", "pip", "wheel"]
    assert command[-1].endswith("[app]")
    import numpy

    assert f"numpy=={numpy.__version__}" in pins.splitlines()
    assert 'install --no-index --find-links wheels "promptseg[app]"' in (tmp_path / "stick" / "INSTALL.txt").read_text()
    monkeypatch.setenv("PROMPTSEG_MODELS", str(tmp_path / "there"))
    assert bring(tmp_path / "stick") == ["toy/t.pth"]
    assert (tmp_path / "there" / "toy" / "t.pth").read_bytes() == CONTENT


def test_what_is_missing_is_said_before_anything_is_made(pip: list[list[str]], tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        bundle(tmp_path / "stick", BundleRequest(models=("no-such-model",)))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(WriteError, match="new or empty folder"):
        bundle(tmp_path / "full", BundleRequest())
    with pytest.raises(WriteError, match="no such extra"):
        bundle(tmp_path / "other", BundleRequest(("nothing-like-it",)))
    with pytest.raises(ReadError, match=r"INSTALL\.txt"):
        bring(tmp_path / "full")
