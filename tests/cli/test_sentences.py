"""Every option and command that a sentence of the program names is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from promptseg.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
# Options of other programs that our sentences name.
OTHERS = {"--no-deps", "--index-url", "--help", "--force-reinstall", "--upgrade"}
EVERYWHERE = {"--json", "--quiet", "--verbose", "--debug"}  # taken off every command line before it is parsed
# Files that are programs of their own, or build the command line of another one (npm, nvidia-smi, pip, ray).
ASIDE = ("models/builtin/training", "app/viewer/build.py", "app/settings.py", "promptseg/batch/cluster.py",
         "promptseg/batch/lines.py", "promptseg/bundle.py", "promptseg/engine/checks.py")  # fmt: skip


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


COMMANDS = dict(_commands(typer.main.get_command(app)))
OPTIONS = {o for command in COMMANDS.values() for p in command.params for o in (*p.opts, *p.secondary_opts)}


def _sentences() -> Iterator[tuple[str, str]]:
    """Yield (file, text) of every string that is raised, found or shown: all but docstrings."""
    files = sorted(file for room in ("promptseg", "app", "models") for file in (ROOT / room).rglob("*.py"))
    for file in (f for f in files if not str(f.relative_to(ROOT)).startswith(ASIDE)):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        documents = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
                yield str(file.relative_to(ROOT)), node.value


def test_options_that_are_named_exist() -> None:
    named = {(file, option) for file, text in _sentences() for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)}
    assert len(named) > 50
    assert sorted((file, option) for file, option in named if option not in OPTIONS | OTHERS | EVERYWHERE) == []


def test_commands_that_are_named_exist() -> None:
    wrong = []
    for file, text in _sentences():
        for words in re.findall(r"promptseg ((?:[a-z][a-z-]+ ?)+)", text if "`promptseg " in text else ""):
            parts = words.split()
            if (parts[0],) not in COMMANDS:
                wrong.append((file, words))
    assert wrong == []


@pytest.mark.parametrize("text", ["check", "import", "convert", "segment", "measure", "export"])
def test_the_commands_of_refusals_are_commands(text: str) -> None:
    assert (text,) in COMMANDS
