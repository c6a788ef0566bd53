"""What a person sees: bars with time left and a line per worker on a terminal, quiet plain lines elsewhere."""

import os
import pty
import subprocess
import sys
import time

from promptseg.batch.events import BatchProgress, CaseEnded, Finished, Note, Started
from promptseg.batch.progress import plain_lines, sentence

LINES = {0: {"abcdef0123456789": ("infer", 12.4), "b": ("waits to infer", 3.0)}, 1: {}}


def test_plain_lines_tell_ends_and_now_and_then_how_far_it_is():
    said, now = [], [0.0]
    listen = plain_lines(said.append, clock=lambda: now[0])
    listen(Started(10, 2, 1, 2))
    for second in range(100):
        now[0] = float(second)
        listen(BatchProgress(10, 3, 1, 3700.0, LINES))
    listen(CaseEnded("x", "done", 1, 2.5, 800.2))
    listen(CaseEnded("y", "again", 1, 2.5, 800.2, "timeout", "too slow"))
    listen(CaseEnded("z", "done", 1, 2.5, 800.2, None, None, ("looks like an MR", "a gap")))
    assert said == [
        "10 cases, 2 done and 1 failed before; 2 worker(s)",
        *["4 of 10, about 1 h 01 min left, 1 failed"] * 3,
        "x done, 2.5 s, 800 MiB",
        "y will try again: too slow",
        "z done, 2.5 s, 800 MiB; warning: looks like an MR (and 1 more)",
    ]


def test_the_summary_says_what_to_do():
    assert sentence(Finished(10, 7, 1, 2, 75.0, True, "/out/report.html")) == (
        "interrupted: 7 of 10 done, 1 failed, 2 not done (go on with --resume), in 1 min 15 s; report: /out/report.html"
    )
    assert "7 of 10 done (3 with warnings), 1 failed" in sentence(Finished(10, 7, 1, 2, 75.0, False, None, 3))


def test_bars_on_a_terminal():
    code = (
        "import time; from promptseg.batch.progress import shown; from promptseg.batch.events import *\n"
        f"lines = {LINES!r}\n"
        "with shown(as_json=False, write=print) as tell:\n"
        "    tell(Started(10, 0, 0, 2)); tell(BatchProgress(10, 3, 1, 65.0, lines)); time.sleep(0.5)\n"
        "    tell(CaseEnded('bad[1]', 'failed', 1, 1.0, 1.0, 'error', 'broken')); tell(Note('a [note]'))\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(timeout=60) == 0, shown
    text = shown.decode()
    for part in ("4/10", "1 min 05 s left", "1 failed", "worker 1", "infer abcdef01 12 s", "worker 2", "idle",
                 "bad[1] FAILED: broken", "note: a [note]"):  # fmt: skip
        assert part in text


def test_every_event_has_words():
    for event in (Started(1, 0, 0, 1), Note("n"), CaseEnded("a", "done", 1, 1, 1), BatchProgress(1, 0, 0, None, {})):
        assert sentence(event)
