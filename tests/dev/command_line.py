"""``promptseg`` as a person runs it, in this process: a process of its own takes a second to import what is here."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """What a command left behind, under the names of ``subprocess.CompletedProcess``."""

    returncode: int
    stdout: str
    stderr: str


def promptseg(*arguments: object, cwd: Path | None = None) -> Ended:
    """Run the command line with ``arguments``, from the folder ``cwd``."""
    from promptseg.cli.main import main

    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), contextlib.chdir(cwd or Path.cwd()):
        code = main([str(argument) for argument in arguments])
    return Ended(code, out.getvalue(), error.getvalue())
