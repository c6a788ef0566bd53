"""Change the code, one small place at a time, and see whether a test notices: ``make mutate``.

    python tests/dev/mutate.py volume session --sample 60 --seed 1 --minutes 20

Cosmic Ray makes the changes, in a copy of the package under build/mutate. The room's tests run once as the code is, to
see which tests reach which line; a change is then shown to those that reach it, the quickest first, each time in a fork
of this process, in which all libraries are imported already. Printed are the changes that no test noticed, and the
share that was noticed. Left out is what no test could notice: annotations and names for type checkers.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import contextlib
import difflib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

import coverage
import pytest
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec

ROOT = Path(__file__).resolve().parents[2]
COPY = ROOT / "build" / "mutate"
ROOMS = {"volume": ["tests/volume"], "session": ["tests/session"], "engine": ["tests/engine"]}
LIBRARIES = ("cv2", "fastapi", "httpx", "hypothesis", "numpy", "onnxruntime", "pydicom", "scipy.ndimage", "SimpleITK")
PYTEST = (
    *("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # of plugins that are imported already
    *("-m", "not (server or browser or torch)", "-k", "not remote"),
)
NOT_RUN = (5, 70)  # pytest's: no test; ours: it raised. (4: a test's file cannot be imported any more.)
SLOWER = 3  # times of what the tests took as the code is, and
PATIENCE_S = 30.0  # this on top: a change that takes longer has been noticed
MEMORY_BYTES = 16 << 30  # of addresses: a change that asks for more has been noticed

Span = tuple[int, int]


def main() -> int:
    """Return 0 where at least ``--bar`` percent were noticed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rooms", nargs="*", default=list(ROOMS), help=f"of promptseg: {', '.join(ROOMS)}")
    parser.add_argument("--sample", type=int, default=0, help="changes per room, drawn at random (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="which ones are drawn")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="per room; what was done by then counts")
    parser.add_argument("--bar", type=float, default=85.0, help="percent to be noticed")
    asked = parser.parse_args()
    copy_package()
    scores = []
    for room in asked.rooms:
        reach = Reach.of(room)
        noticed = total = 0
        deadline = time.monotonic() + 60 * asked.minutes
        for change in drawn(room, asked.sample, asked.seed):
            if time.monotonic() > deadline:
                break
            diff, seen = noticed_by(reach, change)
            total, noticed = total + 1, noticed + seen
            if not seen:
                print(diff, flush=True)  # noqa: T201  # what a person runs this for
        score = 100 * noticed / max(1, total)
        print(f"{room}: {noticed} of {total} noticed, {score:.0f} % (seed {asked.seed})", flush=True)  # noqa: T201
        scores.append(score)
    return 0 if min(scores) >= asked.bar else 1


def copy_package() -> None:
    """Lay the three folders down as one package, which the tests then import instead of the checkout."""
    shutil.rmtree(COPY, ignore_errors=True)
    skipped = shutil.ignore_patterns("__pycache__", "vendor")
    shutil.copytree(ROOT / "promptseg", COPY / "promptseg", ignore=skipped)
    for inner in ("app", "models"):
        shutil.copytree(ROOT / inner, COPY / "promptseg" / inner, ignore=skipped)
    compileall.compile_dir(COPY, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)  # by content, not by time
    sys.dont_write_bytecode = True
    os.chdir(ROOT)
    os.environ["PYTHONPATH"] = str(COPY)  # for processes that tests start
    sys.path.insert(0, str(COPY))
    for name in LIBRARIES:
        importlib.import_module(name)


def require_copy() -> None:
    """Raise where tests would import another package than the one that is changed."""
    import promptseg

    if not str(promptseg.__file__).startswith(str(COPY)):
        raise RuntimeError(f"expected the package in {COPY}, got {promptseg.__file__}")


def in_fork(call: Callable[[], int], seconds: float, output: str | Path = os.devnull) -> int:
    """Return the status of a call in a process of its own, below 0 where it was killed: what takes longer is.

    Raises:
        RuntimeError: pytest did not run any test.
    """
    child = os.fork()
    if child == 0:
        status = NOT_RUN[-1]
        with contextlib.suppress(BaseException):
            os.setpgid(0, 0)
            told = os.open(output, os.O_WRONLY | os.O_CREAT, 0o644)
            os.dup2(told, 1)
            os.dup2(told, 2)
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            signal.alarm(int(20 * seconds))  # a deadlock takes no time of the processor
            status = call()
        os._exit(status)
    _, how = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(how)
    if status in NOT_RUN:
        raise RuntimeError(f"no test was run: status {status}")
    return status


@dataclass(frozen=True)
class Reach:
    """Which tests reach which lines.

    Attributes:
        seconds: what each test took, by its id.
        contexts: ids of tests, files of tests (what their fixtures share) or "" (imports), by file and line.
    """

    seconds: dict[str, float]
    contexts: dict[str, dict[int, list[str]]]

    @classmethod
    def of(cls, room: str) -> Reach:
        """Run a room's tests on the code as it is."""
        told = COPY / f"{room}.json"

        def run() -> int:
            watcher = _Watcher(str(COPY / "promptseg" / room))
            status = int(pytest.main([*PYTEST, *ROOMS[room]], plugins=[watcher]))
            require_copy()
            told.write_text(json.dumps(watcher.told()))
            return status

        output = COPY / f"{room}.txt"
        if in_fork(run, 3600, output):
            sys.exit(f"{output.read_text()}the tests of {room} fail before anything was changed")
        seconds, contexts = json.loads(told.read_text())
        return cls(seconds, {file: {int(n): c for n, c in lines.items()} for file, lines in contexts.items()})

    def tests(self, path: Path, lines: range) -> list[str]:
        """Return the tests that reach a line, the quickest first; those of the whole file for what imports it."""
        known = self.contexts.get(str(path), {})
        found = {context for line in lines for context in known.get(line, [])}
        if not found - {""}:
            found = {context for contexts in known.values() for context in contexts} if found else set()
        reached = (t for t in self.seconds if any(t == c or t.startswith(f"{c}::") for c in found))
        return sorted(reached, key=lambda test: self.seconds[test])


class _Watcher:
    """Notes, while tests run, what each takes and which lines it reaches."""

    def __init__(self, folder: str) -> None:
        self._coverage = coverage.Coverage(data_file=None, source=[folder], config_file=False)
        self._seconds: dict[str, float] = {}
        self._test = ""

    def pytest_sessionstart(self) -> None:
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self._test, began = item.nodeid, time.process_time()
        self._coverage.switch_context(item.nodeid)
        result = yield
        self._seconds[item.nodeid] = time.process_time() - began
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
        self._coverage.switch_context(request.node.nodeid)  # a file's, where its tests share the fixture
        try:
            return (yield)
        finally:
            self._coverage.switch_context(self._test)

    def told(self) -> tuple[dict[str, float], dict[str, dict[int, list[str]]]]:
        self._coverage.stop()
        data = self._coverage.get_data()
        return self._seconds, {file: data.contexts_by_lineno(file) for file in data.measured_files()}


def noticed_by(reach: Reach, change: MutationSpec) -> tuple[str, bool]:
    """Make a change, show it to the tests that reach it and take it back; return it as a diff, and whether one saw."""
    path = Path(change.module_path)
    tests = reach.tests(path, statement(path, change.start_pos[0]))
    operator = get_operator(change.operator_name)(**change.operator_args)
    with use_mutation(path, operator, change.occurrence) as (old, new):
        took = sum(reach.seconds[test] for test in tests)
        seen = bool(tests) and in_fork(lambda: int(pytest.main([*PYTEST, *tests])), SLOWER * took + PATIENCE_S) != 0
    name = str(path.relative_to(COPY))
    return "".join(difflib.unified_diff(old.splitlines(True), (new or "").splitlines(True), name, name, n=1)), seen


def statement(path: Path, line: int) -> range:
    """Return the lines of the statement on a line: of one that holds others, those before the first of them."""
    found = range(line, line + 1)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):  # from the outside in
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case) and hasattr(node, "lineno"):
            body = getattr(node, "body", None)
            end = body[0].lineno if body else (node.end_lineno or node.lineno) + 1
            if node.lineno <= line < max(end, node.lineno + 1):
                found = range(node.lineno, max(end, node.lineno + 1))
    return found


def drawn(room: str, sample: int, seed: int) -> list[MutationSpec]:
    """Return changes of a room drawn at random, all where ``sample`` is 0."""
    items = changes(COPY / "promptseg" / room)
    random.Random(seed).shuffle(items)
    return items[: sample or None]


def changes(folder: Path) -> list[MutationSpec]:
    """Return every change that a test could notice."""
    with use_db(str(COPY / f"{folder.name}.sqlite"), WorkDB.Mode.create) as database:
        init(sorted(folder.rglob("*.py")), database, {})
        found = [item.mutations[0] for item in database.work_items]
    found.sort(key=lambda change: (str(change.module_path), change.operator_name, change.occurrence))
    silent = {path: list(annotations(Path(path))) for path in {str(change.module_path) for change in found}}
    return [
        change for change in found if not any(a <= change.start_pos < b for a, b in silent[str(change.module_path)])
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
