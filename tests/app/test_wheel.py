"""A wheel that is built after `make viewer` has everything that the page needs: its app answers without Node."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

from promptseg.app.viewer import STATIC, library_path

ROOT = Path(__file__).resolve().parents[2]
START_S = 240.0


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as an installation lays it down."""
    if not library_path().is_file():
        pytest.skip("the viewer's library is not built (make viewer)")
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("promptseg", "app", "models"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-q", "-w", str(folder)]
    done = subprocess.run(command, cwd=folder / "source", capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = folder.glob("promptseg-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_every_file_of_the_page_is_in_the_wheel(unpacked: Path) -> None:
    installed = unpacked / "promptseg" / "app" / "viewer" / "static"
    wanted = {path.relative_to(STATIC) for path in STATIC.rglob("*") if path.is_file()}
    assert library_path().relative_to(STATIC) in wanted
    assert {path.relative_to(installed) for path in installed.rglob("*") if path.is_file()} == wanted


def test_the_unpacked_app_answers_without_node(unpacked: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "PATH": str(tmp_path)}
    code = "import promptseg; print(promptseg.__file__, flush=True); from promptseg.cli.main import main; exit(main())"
    command = [sys.executable, "-c", code, "app", "--no-browser", "--port", str(port), "--data", str(tmp_path / "data")]
    with (tmp_path / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        page = _answer(f"http://127.0.0.1:{port}/", process, tmp_path)
        assert b"promptseg" in page
        library = _answer(f"http://127.0.0.1:{port}/viewer/vendor/niivue.js", process, tmp_path)
        assert library == library_path().read_bytes()
        assert str(unpacked) in (tmp_path / "log.txt").read_text()
    finally:
        process.kill()
        process.wait()


def _answer(url: str, process: subprocess.Popen[bytes], folder: Path) -> bytes:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return bytes(answer.read())
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail((folder / "log.txt").read_text()[-2000:])
