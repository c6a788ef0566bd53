"""Change the code, one small place at a time, and see whether a test notices: ``make mutate``.

    python tests/dev/mutate.py volume session --sample 60 --minutes 20

Cosmic Ray makes the changes, in a copy of the package under build/mutate; the tests of a room are asked about its code.
Printed are the changes that no test noticed, and the share that was noticed. Left out is what no test could notice:
annotations and names for type checkers.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import WorkItem, WorkResult

ROOT = Path(__file__).resolve().parents[2]
COPY = ROOT / "build" / "mutate"
ROOMS = {"volume": ["tests/volume"], "session": ["tests/session"], "engine": ["tests/engine"]}
TIMEOUT_S = 300.0
SEED = 1

Span = tuple[int, int]


def main() -> int:
    """Return 0 where at least ``--bar`` percent were noticed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rooms", nargs="*", default=list(ROOMS), help=f"of promptseg: {', '.join(ROOMS)}")
    parser.add_argument("--sample", type=int, default=0, help="changes per room, drawn at random (default: all)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="per room; what was done by then counts")
    parser.add_argument("--bar", type=float, default=85.0, help="percent to be noticed")
    asked = parser.parse_args()
    copy_package()
    scores = []
    for room in asked.rooms:
        noticed = total = 0
        for result in run(room, asked.sample, time.monotonic() + 60 * asked.minutes):
            total, noticed = total + 1, noticed + result.is_killed
            if not result.is_killed:
                print(result.diff, flush=True)  # noqa: T201  # what a person runs this for
        score = 100 * noticed / max(1, total)
        print(f"{room}: {noticed} of {total} noticed, {score:.0f} %", flush=True)  # noqa: T201
        scores.append(score)
    return 0 if min(scores) >= asked.bar else 1


def copy_package() -> None:
    """Lay the three folders down as one package, which the tests then import instead of the checkout."""
    shutil.rmtree(COPY, ignore_errors=True)
    skipped = shutil.ignore_patterns("__pycache__", "vendor")
    shutil.copytree(ROOT / "promptseg", COPY / "promptseg", ignore=skipped)
    for inner in ("app", "models"):
        shutil.copytree(ROOT / inner, COPY / "promptseg" / inner, ignore=skipped)
    os.environ["PYTHONPATH"] = str(COPY)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # a change within the same second must be seen
    taken = [sys.executable, "-P", "-c", "import promptseg; print(promptseg.__file__)"]  # -P: not from this folder
    if not subprocess.run(taken, capture_output=True, text=True, check=True, cwd=ROOT).stdout.startswith(str(COPY)):
        sys.exit("the tests would import another copy of the package than the one that is changed")


def run(room: str, sample: int, deadline: float) -> Iterator[WorkResult]:
    """Make a room's changes, or a sample of them, until the deadline; yield what the tests said."""
    command = f"{sys.executable} -P -m pytest -x -q -p no:cacheprovider {' '.join(ROOMS[room])}"
    if subprocess.run(command.split(), cwd=ROOT, check=False).returncode:
        sys.exit(f"the tests of {room} fail before anything was changed")
    items = changes(COPY / "promptseg" / room)
    random.Random(SEED).shuffle(items)
    for item in items[: sample or None]:
        if time.monotonic() > deadline:
            return
        yield mutate_and_test(item.mutations, command, TIMEOUT_S)


def changes(folder: Path) -> list[WorkItem]:
    """Return every change that a test could notice."""
    with use_db(str(COPY / f"{folder.name}.sqlite"), WorkDB.Mode.create) as database:
        init(sorted(folder.rglob("*.py")), database, {})
        found = list(database.work_items)
    silent = {path: list(annotations(path)) for path in {item.mutations[0].module_path for item in found}}
    return [
        item
        for item in found
        if not any(a <= item.mutations[0].start_pos < b for a, b in silent[item.mutations[0].module_path])
    ]


def annotations(path: Path) -> Iterator[tuple[Span, Span]]:
    """Yield from where to where (line, column) types are written."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        typed: list[ast.expr | None] = []
        if isinstance(node, ast.FunctionDef):
            arguments = [
                *node.args.posonlyargs,
                *node.args.args,
                *node.args.kwonlyargs,
                node.args.vararg,
                node.args.kwarg,
            ]
            typed = [node.returns, *(argument.annotation for argument in arguments if argument is not None)]
        elif isinstance(node, ast.AnnAssign):
            typed = [node.annotation]
        for one in typed:
            if one is not None:
                yield (one.lineno, one.col_offset), (one.end_lineno or 0, one.end_col_offset or 0)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)


if __name__ == "__main__":
    sys.exit(main())
