"""May this tag be released? Prints the release's text, the CHANGELOG's section of that version.

    python packaging/release.py v0.1.0 > notes.md

The exit code is 1, with a sentence, where tag, pyproject.toml, CITATION.cff, the conda recipe and CHANGELOG.md do not
name one version.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

__all__ = ["notes_of", "versions"]

ROOT = Path(__file__).resolve().parent.parent


def versions(root: Path = ROOT) -> dict[str, str]:
    """Return the version that each file states, "" where it states none."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    stated = {"pyproject.toml": str(project)}
    for name, pattern in (
        ("CITATION.cff", r"^version: *\"?([^\s\"]+)"),
        ("packaging/conda/recipe.yaml", r"^  version: *\"?([^\s\"]+)"),
    ):
        found = re.search(pattern, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        stated[name] = found.group(1) if found else ""
    return stated


def notes_of(tag: str, root: Path = ROOT) -> str:
    """Return the CHANGELOG's section of a tag's version.

    Raises:
        ValueError: the tag is no version, the files state another one, or the section is missing or empty.
    """
    version = tag.removeprefix("v")
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        raise ValueError(f"expected a tag like v1.2.3, got {tag}")
    other = {name: stated for name, stated in versions(root).items() if stated != version}
    if other:
        told = ", ".join(f"{name} says {stated or 'nothing'}" for name, stated in other.items())
        raise ValueError(f"expected version {version} everywhere, but {told}")
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(version)}\b[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None or not section.group(1).strip():
        raise ValueError(f"expected a section '## {version}' in CHANGELOG.md; rename 'Unreleased' to it")
    return section.group(1).strip() + "\n"


if __name__ == "__main__":
    try:
        print(notes_of(sys.argv[1]), end="")
    except (ValueError, IndexError) as exc:
        sys.exit(f"not released: {exc}")
