"""The page of TotalSegmentator's options against its own parsers and against our command."""

from __future__ import annotations

import ast
import re
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer.main

from promptseg.cli.main import app

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "wholebody-options.md").read_text(encoding="utf-8")
ROWS = [line.split("|")[1:3] for line in PAGE.splitlines() if line.startswith("|") and "---" not in line]
THERE = {name for row in ROWS for name in re.findall(r"`(-{1,2}[\w-]+|[\w-]+)`", row[0])}


def bin_folder() -> Path:
    spec = find_spec("totalsegmentator")
    if spec is None or spec.origin is None:
        pytest.skip("TotalSegmentator is not installed")
    return Path(spec.origin).parent / "bin"


def test_every_option_of_its_command_stands_on_the_page() -> None:
    tree = ast.parse((bin_folder() / "TotalSegmentator.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    added = [node for node in calls if isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument"]
    names = {part.value for node in added for part in node.args if isinstance(part, ast.Constant)}
    assert len(names) > 60
    assert {name for name in names if str(name).startswith("-")} <= THERE


def test_every_program_of_it_stands_on_the_page() -> None:
    bin_folder()
    programs = {entry.name for entry in distribution("TotalSegmentator").entry_points.select(group="console_scripts")}
    assert len(programs) > 10
    assert programs - {"TotalSegmentator"} <= THERE


def test_every_option_of_ours_on_the_page_exists() -> None:
    program: Any = typer.main.get_command(app)
    everywhere = {"--json", "--quiet", "--verbose", "--debug", "--version"}
    ours = {name for option in program.commands["wholebody"].params for name in option.opts} | everywhere
    told = {name for row in ROWS for name in re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", row[1])}
    assert len(told) > 25
    assert told <= ours
    commands = {name for row in ROWS for name in re.findall(r"`promptseg ([a-z]+)", row[1])}
    assert commands <= set(program.commands)
