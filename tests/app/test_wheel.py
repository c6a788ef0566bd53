"""The wheel, installed into an empty environment: README's first commands run, and its app answers without Node.

``packaging/try_wheel.py`` asks the same with pip bringing every package.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from promptseg.app.viewer import STATIC, library_path

ROOT = Path(__file__).resolve().parents[2]
PACKED = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt")
BUILDER = """
from pathlib import Path
from promptseg.app.viewer import library_path
def build():
    {body}
"""
FETCHES = "library_path().parent.mkdir(); library_path().write_text('fetched')"
FAILS = "raise OSError('no network')"


def loaded(name: str) -> ModuleType:
    """A program of the folder packaging, as a module."""
    spec: Any = importlib.util.spec_from_file_location(name, ROOT / "packaging" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TRY_WHEEL: Any = loaded("try_wheel")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel in it, and beside it the dependencies that are installed here."""
    if not library_path().is_file():
        pytest.skip("the viewer's library is not built (make viewer)")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("promptseg", "app", "models", "packaging"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in PACKED:
        shutil.copy(ROOT / name, source)
    build = "import sys; sys.path.insert(0, 'packaging'); import backend; print(backend.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    shutil.rmtree(source)
    (wheel,) = folder.glob("promptseg-*.whl")
    place = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True, timeout=120)
    install = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install"]
    subprocess.run([*install, "--no-deps", "--no-compile", "-q", str(wheel)], check=True, timeout=300)
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place


def test_every_file_of_the_page_is_in_the_wheel(installed: Path) -> None:
    (static,) = installed.glob("lib/python*/site-packages/promptseg/app/viewer/static")
    wanted = {path.relative_to(STATIC) for path in STATIC.rglob("*") if path.is_file()}
    assert library_path().relative_to(STATIC) in wanted
    assert {path.relative_to(static) for path in static.rglob("*") if path.is_file()} == wanted


def test_every_package_of_the_checkout_is_in_the_wheel(installed: Path) -> None:
    """A new sub-package that pyproject.toml does not name would be missing."""
    (packages,) = installed.glob("lib/python*/site-packages")
    homes = {"promptseg": "promptseg", "app": "promptseg/app", "models": "promptseg/models"}
    for folder, home in homes.items():
        wanted = {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*.py")}
        assert wanted <= {path.relative_to(packages / home) for path in (packages / home).rglob("*.py")}


@pytest.mark.parametrize(("body", "works"), [(FETCHES, True), (FAILS, False)])
def test_a_build_takes_the_library_in_or_fails(tmp_path: Path, body: str, works: bool) -> None:
    for name in ("packaging", "app/viewer"):
        ignored = shutil.ignore_patterns("vendor", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    (tmp_path / "app" / "viewer" / "build.py").write_text(BUILDER.format(body=body))
    take = "import sys; sys.path.insert(0, 'packaging'); import backend; backend.take_library()"
    done = subprocess.run([sys.executable, "-c", take], cwd=tmp_path, capture_output=True, text=True, check=False)
    library = tmp_path / "app" / "viewer" / "static" / "vendor" / "niivue.js"
    if works:
        assert done.returncode == 0, done.stderr
        assert library.read_text() == "fetched"
    else:
        assert done.returncode != 0
        assert "cannot be built without the browser page's library: no network" in done.stderr
        assert not library.exists()


def test_an_image_and_its_mask_with_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    """What the README begins with."""
    for line in (
        "example -o scan.nii.gz",
        "segment scan.nii.gz --box 26,27,25,27,101,114 --label liver --no-propagate -o liver.nii.gz",
    ):
        command = [str(installed / "bin" / "promptseg"), *line.split()]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "liver.nii.gz").is_file()


def test_the_installed_app_answers_without_node(installed: Path, tmp_path: Path) -> None:
    port = TRY_WHEEL.free_port()
    arguments = ["app", "--no-browser", "--port", str(port), "--data", str(tmp_path / "data")]
    command = [str(installed / "bin" / "python"), str(installed / "bin" / "promptseg"), *arguments]
    with (tmp_path / "log.txt").open("wb") as log:
        environment = {**os.environ, "PATH": str(tmp_path)}
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        page = TRY_WHEEL.answer(f"http://127.0.0.1:{port}/", process)
        assert page is not None, (tmp_path / "log.txt").read_text()[-2000:]
        assert b"promptseg" in page
        library = TRY_WHEEL.answer(f"http://127.0.0.1:{port}/viewer/vendor/niivue.js", process)
        assert library == library_path().read_bytes()
    finally:
        process.kill()
        process.wait()


def test_the_app_without_its_page_says_so_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from promptseg.cli.main import main

    monkeypatch.setattr("promptseg.app.ui.library_path", lambda: tmp_path / "missing.js")
    assert main(["app", "--no-browser", "--data", str(tmp_path)]) == 1
    assert "python -m promptseg.app.viewer.build" in capsys.readouterr().err
