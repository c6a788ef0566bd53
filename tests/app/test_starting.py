"""``promptseg app`` and ``promptseg serve`` start the server in one way: watched, closed to others, with a log."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from promptseg.app import server
from promptseg.app.live.watchdog import Watchdog
from promptseg.app.settings import ServeSettings
from promptseg.cli.main import app


@pytest.fixture
def own_process() -> Iterator[None]:
    """Give back what a server sets for its whole process."""
    mask, spool = os.umask(0o022), tempfile.tempdir
    os.umask(mask)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    os.umask(mask)
    tempfile.tempdir = spool
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("command", [["app", "--no-browser"], ["serve", "--no-ui"]])
@pytest.mark.usefixtures("own_process")
def test_both_commands_start_the_same_server(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    class Listening:
        def __init__(self, config: Any) -> None:
            seen["protocol"], seen["log"] = config.http, config.log_config

        def run(self) -> None:
            (tmp_path / "data" / "probe").write_text("x")
            seen["mode"] = (tmp_path / "data" / "probe").stat().st_mode & 0o777
            seen["spool"] = tempfile.gettempdir()

    monkeypatch.setattr(server, "_Server", Listening)
    monkeypatch.setattr(Watchdog, "start", lambda self: seen.setdefault("watched", True))
    monkeypatch.setattr("promptseg.app.ui.mount_ui", lambda app: app)
    done = CliRunner().invoke(app, [*command, "--port", "17860", "--data", str(tmp_path / "data")])
    assert done.exit_code == 0, done.output
    assert seen["watched"]
    assert seen["mode"] == 0o600
    assert Path(seen["spool"]).is_relative_to(tmp_path / "data")
    assert seen["protocol"] is server.PatientProtocol
    assert seen["log"] is None


def test_the_browser_app_is_this_machines_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[ServeSettings] = []
    monkeypatch.setattr(server, "run", started.append)
    (tmp_path / "scans").mkdir()
    command = ["app", str(tmp_path / "scans"), "--no-browser", "--data", str(tmp_path / "data")]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert (started[0].host, started[0].ui, started[0].roots) == ("127.0.0.1", True, (tmp_path / "scans",))
