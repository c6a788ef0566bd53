"""Killed at random moments and resumed: no case lost, none done twice, nothing half-written under a final name."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import psutil
import pytest

pytestmark = pytest.mark.slow

CASES = 30
BROKEN = ("unreadable-7", "crashes-11")
PATIENCE_S = 240  # far more than a slow machine needs


@pytest.fixture
def batch(trouble, tmp_path):
    """Start ``promptseg batch --resume`` over a table of cases, always with the same words."""
    names = [f"good-{n}" for n in range(CASES - len(BROKEN))]
    names[5:5], names[15:15] = [BROKEN[0]], [BROKEN[1]]
    table = tmp_path / "cases.csv"
    table.write_text("image,id\n" + "".join(f"doe_jane_{name},{name}\n" for name in names))
    command = [sys.executable, "-m", "promptseg", "batch", table, "-o", tmp_path / "out", "--job", trouble.job]
    command += ["--resume", "--workers", "2", "--device", "cpu", "--json", "--option", "slow=0.05"]
    return lambda: subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )


def hear_ctrl_c():
    """Undo what a shell does to jobs in its background: they, and what they start, are deaf to SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finished_cases(out):
    """Return id to the inode and time of the receipt; checks that every folder under a final name is whole."""
    found = {}
    for folder in out.glob("cases/*"):
        receipt = json.loads((folder / "case.json").read_text())
        assert {path.name for path in folder.iterdir()} == {*receipt["files"], "case.json"}
        assert all(path.stat().st_size for path in folder.iterdir())
        stat = (folder / "case.json").stat()
        found[folder.name] = (stat.st_ino, stat.st_mtime_ns)
    return found


def wait_until(condition, process=None):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_killed_three_times_at_random_moments(batch, tmp_path):
    out, dice = tmp_path / "out", random.Random(int.from_bytes(os.urandom(4)))
    before = {}
    for _ in range(3):
        process = batch()
        workers = psutil.Process(process.pid)
        target = len(before) + dice.randint(0, 7)
        wait_until(lambda target=target: len(list(out.glob("cases/*"))) >= target, process)
        time.sleep(dice.random() * 0.3)
        children = workers.children(recursive=True)
        process.kill()
        process.communicate()
        wait_until(lambda children=children: not any(child.is_running() for child in children))  # none is left alone
        after = finished_cases(out)
        assert before.items() <= after.items()
        before = after
    process = batch()
    told, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 4, errors
    assert before.items() <= finished_cases(out).items()
    assert len(finished_cases(out)) == CASES - len(BROKEN)
    with sqlite3.connect(out / "manifest.sqlite") as db:
        rows = dict(db.execute("SELECT id, state || attempts FROM cases").fetchall())
    db.close()
    assert [rows.pop(name) for name in BROKEN] == ["failed1", "failed2"]  # what cannot be read is tried once
    assert set(rows.values()) == {"done1"}
    assert len(rows) == CASES - len(BROKEN)
    last = json.loads(told.splitlines()[-1])
    assert (last["event"], last["done"], last["failed"], last["pending"]) == ("finished", len(rows), len(BROKEN), 0)
    assert sorted(path.name for path in out.iterdir() if path.name != ".lock") == [
        "cases", "cases.csv", "manifest.sqlite", "measurements.csv", "report.html",
    ]  # fmt: skip


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_person_or_the_system_it_ends_cleanly(batch, tmp_path, sent):
    out, process = tmp_path / "out", batch()
    parent = psutil.Process(process.pid)
    wait_until(lambda: len(list(out.glob("cases/*"))) >= 1, process)
    children = parent.children(recursive=True)
    process.send_signal(sent)
    told, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "Traceback" not in errors
    last = json.loads(told.splitlines()[-1])
    assert last["interrupted"]
    assert last["pending"] > 0
    assert last["done"] == len(finished_cases(out))
    assert not any(child.is_running() for child in children)
    assert not (out / ".work").exists()
    assert "go on with" in (out / "report.html").read_text()
