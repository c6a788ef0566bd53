"""What a release needs: one version everywhere, a section of the CHANGELOG, a recipe with the same dependencies."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = ("pyproject.toml", "CITATION.cff", "packaging/conda/recipe.yaml", "CHANGELOG.md")
NAMED_OTHERWISE = {"python-gdcm": "gdcm", "opencv-python-headless": "py-opencv"}  # on conda-forge

spec: Any = importlib.util.spec_from_file_location("release", ROOT / "packaging" / "release.py")
RELEASE: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(RELEASE)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_all_files_state_one_version() -> None:
    assert len(set(RELEASE.versions().values())) == 1


def test_the_text_of_a_release_is_its_section(copy: Path) -> None:
    version = RELEASE.versions()["pyproject.toml"]
    changes = copy / "CHANGELOG.md"
    changes.write_text(f"# Changelog\n\n## Unreleased\n\n## {version} - 2026-01-01\n\n- one\n\n## 0.0.1\n\n- old\n")
    assert RELEASE.notes_of(f"v{version}", copy) == "- one\n"
    changes.write_text("# Changelog\n\n## Unreleased\n\n- one\n")
    with pytest.raises(ValueError, match="rename 'Unreleased'"):
        RELEASE.notes_of(f"v{version}", copy)
    with pytest.raises(ValueError, match=r"pyproject\.toml says"):
        RELEASE.notes_of("v99.0.0", copy)
    with pytest.raises(ValueError, match="like v1"):
        RELEASE.notes_of("latest", copy)


def test_the_recipe_has_the_dependencies_of_the_package() -> None:
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {}
    for line in project["dependencies"]:
        name, bound = re.fullmatch(r"([A-Za-z0-9-]+)(.*)", line).groups()  # type: ignore[union-attr]
        wanted[NAMED_OTHERWISE.get(name, name.lower())] = bound
    told = dict(line.split(" ", 1) for line in recipe["requirements"]["run"])
    assert told.pop("python") == project["requires-python"]
    assert told == wanted
    assert recipe["about"]["license"] == project["license"]
