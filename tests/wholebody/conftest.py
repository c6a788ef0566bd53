"""Tiny models in TotalSegmentator's layout, and images cut from a real scan or made with known classes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_weights

from promptseg.wholebody import WholeBody

OWN_VARIABLES = ("TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH", "PROMPTSEG_MODELS", "PROMPTSEG_OFFLINE")


@pytest.fixture(scope="session")
def _tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make the models folder of a kind once."""
    pytest.importorskip("totalsegmentator", reason="TotalSegmentator is not installed")
    made: dict[str, Path] = {}

    def models(kind: str) -> Path:
        if kind not in made:
            folder = tmp_path_factory.mktemp(f"models-{kind}")
            weights = folder / "totalsegmentator" / "nnunet" / "results"
            tiny_weights.write_task(weights, "total", kind, fast=True)
            tiny_weights.write_tiny_weights(weights, 298, kind=kind)
            made[kind] = folder
        return made[kind]

    return models


@pytest.fixture(autouse=True)
def clean_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Neither the machine's own TotalSegmentator nor another test's settings are seen."""
    for name in OWN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PROMPTSEG_MODELS", str(tmp_path / "models"))
    yield
    os.environ.pop("TOTALSEG_HOME_DIR", None)  # set when TotalSegmentator is first called


@pytest.fixture
def use_tiny(_tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Choose a kind of tiny models; returns the models folder."""

    def use(kind: str) -> Path:
        monkeypatch.setenv("PROMPTSEG_MODELS", str(_tiny(kind)))
        return _tiny(kind)

    return use


@pytest.fixture(scope="session")
def _warm() -> dict[str, WholeBody]:
    return {}


@pytest.fixture
def warm(_warm: dict[str, WholeBody], use_tiny: Callable[[str], Path]) -> Callable[[str], WholeBody]:
    """A loaded engine for the task total, fast, with tiny models of a kind; the same one for every test."""

    def engine(kind: str) -> WholeBody:
        use_tiny(kind)
        if kind not in _warm:
            _warm[kind] = WholeBody("total", fast=True, device="cpu")
            _warm[kind].load()
        return _warm[kind]

    return engine


@pytest.fixture
def blocked_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Refuse every connection and name look-up; returns what was tried."""
    tried: list[Any] = []
    connect = socket.socket.connect

    def refuse_connect(self: socket.socket, address: Any) -> None:
        if self.family == socket.AF_UNIX:
            return connect(self, address)
        tried.append(address)
        raise OSError("the network is blocked in this test")

    def refuse_lookup(*arguments: Any, **_: Any) -> Any:
        tried.append(arguments)
        raise OSError("the network is blocked in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse_connect)
    monkeypatch.setattr(socket, "getaddrinfo", refuse_lookup)
    return tried


def run_cli(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run promptseg in this process; return exit code, output and error output."""
    from promptseg.cli.main import main

    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line: ``run("wholebody", ...)``."""
    return lambda *arguments: run_cli([str(argument) for argument in arguments], capsys)
