"""How commands are listed, explained and understood."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer.main

from promptseg.cli.groups import GROUPS
from promptseg.cli.main import app
from promptseg.cli.options import joined
from promptseg.cli.terminal import COMMON, Mode

PROGRAM: Any = typer.main.get_command(app)


def commands(group: Any = PROGRAM, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from commands(found, (*path, name))
        else:
            yield (*path, name), found


ALL = dict(commands())


def test_every_command_stands_in_one_group() -> None:
    listed = [name for names in GROUPS.values() for name in names]
    assert sorted(listed) == sorted(PROGRAM.commands)


def test_help_lists_groups_and_cuts_nothing(program: Callable[..., Any]) -> None:
    done = program("-h")
    assert done.code == 0
    assert [title for title in GROUPS if f"\n{title}:\n" in done.out] == list(GROUPS)
    assert "..." not in done.out.split("Segment:")[1]
    assert program("-V").out == program("--version").out


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_examples_can_be_typed_as_they_stand(path: tuple[str, ...], program: Callable[..., Any]) -> None:
    """Each example is understood by the command that it explains; nothing is run."""
    command = ALL[path]
    assert command.examples
    for line in command.examples:
        _, words = Mode.taken_from(shlex.split(line.partition("|")[2].strip() or line))
        assert words[: 1 + len(path)] == ["promptseg", *path]
        command.make_context(path[-1], words[1 + len(path) :]).close()
    text = program(*path, "-h").out
    assert all(line in text for line in command.examples)
    assert all(option in text for option in COMMON)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--roi-subset liver spleen -o x", "--roi-subset liver --roi-subset spleen -o x"),
        ("--roi-subset liver,spleen scan.nii.gz", "--roi-subset liver,spleen scan.nii.gz"),
        ("--roi-subset liver spleen scan.nii.gz", "--roi-subset liver --roi-subset spleen scan.nii.gz"),
        ("--point 1,2,3 4,5,6 --box 1,2,3,4,5,6 s.nii", "--point 1,2,3 --point 4,5,6 --box 1,2,3,4,5,6 s.nii"),
        ("--point -1,2,3 -4,5,6", "--point -1,2,3 --point -4,5,6"),
        ("--label liver spleen", "--label liver spleen"),
    ],
)
def test_lists_with_spaces(given: str, meant: str) -> None:
    assert joined(given.split(), {"--roi-subset", "--point", "--box"}) == meant.split()


def test_a_folder_that_is_there_is_no_class(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spleen").mkdir()
    assert joined(["--roi-subset", "liver", "spleen"], {"--roi-subset"}) == ["--roi-subset", "liver", "spleen"]
