"""The wheel, installed into an empty environment: README's first commands run, and its app answers without Node."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

from promptseg.app.viewer import STATIC, library_path

ROOT = Path(__file__).resolve().parents[2]
START_S = 240.0


PACKED = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt")
BUILDER = """
from pathlib import Path
from promptseg.app.viewer import library_path
def build():
    {body}
"""
FETCHES = "library_path().parent.mkdir(); library_path().write_text('fetched')"
FAILS = "raise OSError('no network')"


def copied(folder: Path, *, library: bool) -> Path:
    """The repository as somebody checks it out, with or without the library that is no part of it."""
    ignored = shutil.ignore_patterns("__pycache__", *(() if library else ("vendor",)))
    for name in ("promptseg", "app", "models", "packaging"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in PACKED:
        shutil.copy(ROOT / name, folder)
    return folder


def built(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-q", "-w", str(target)]
    return subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel in it, and beside it the dependencies that are installed here."""
    if not library_path().is_file():
        pytest.skip("the viewer's library is not built (make viewer)")
    folder = tmp_path_factory.mktemp("wheel")
    done = built(copied(folder / "source", library=True), folder)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = folder.glob("promptseg-*.whl")
    place = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True, timeout=120)
    python = place / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "-q", str(wheel)]
    subprocess.run(install, check=True, timeout=300, capture_output=True)
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place


def test_every_file_of_the_page_is_in_the_wheel(installed: Path) -> None:
    (static,) = installed.glob("lib/python*/site-packages/promptseg/app/viewer/static")
    wanted = {path.relative_to(STATIC) for path in STATIC.rglob("*") if path.is_file()}
    assert library_path().relative_to(STATIC) in wanted
    assert {path.relative_to(static) for path in static.rglob("*") if path.is_file()} == wanted


@pytest.mark.parametrize(("body", "works"), [(FETCHES, True), (FAILS, False)])
def test_a_build_takes_the_library_in_or_fails(tmp_path: Path, body: str, works: bool) -> None:
    source = copied(tmp_path / "source", library=False)
    (source / "app" / "viewer" / "build.py").write_text(BUILDER.format(body=body))
    done = built(source, tmp_path)
    wheels = list(tmp_path.glob("promptseg-*.whl"))
    if not works:
        assert done.returncode != 0
        assert "cannot be built without the browser page's library: no network" in done.stdout + done.stderr
        assert not wheels
        return
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(wheels[0]) as archive:
        assert archive.read("promptseg/app/viewer/static/vendor/niivue.js") == b"fetched"


def test_an_image_and_its_mask_with_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    """What the README begins with."""
    for line in (
        "example -o scan.nii.gz",
        "info scan.nii.gz",
        "segment scan.nii.gz --box 26,27,25,27,101,114 --label liver --no-propagate -o liver.nii.gz",
    ):
        command = [str(installed / "bin" / "promptseg"), *line.split()]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "liver.nii.gz").is_file()


def test_the_installed_app_answers_without_node(installed: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {**os.environ, "PATH": str(tmp_path)}
    arguments = ["app", "--no-browser", "--port", str(port), "--data", str(tmp_path / "data")]
    command = [str(installed / "bin" / "python"), str(installed / "bin" / "promptseg"), *arguments]
    with (tmp_path / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        page = _answer(f"http://127.0.0.1:{port}/", process, tmp_path)
        assert b"promptseg" in page
        library = _answer(f"http://127.0.0.1:{port}/viewer/vendor/niivue.js", process, tmp_path)
        assert library == library_path().read_bytes()
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
