"""One case's trouble stays its own: hanging, crashing, hungry and broken cases beside good ones."""

import json
import sqlite3
import time
from collections import Counter

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from filelock import FileLock

from promptseg.batch.events import BatchProgress, CaseEnded, Finished, Started
from promptseg.batch.job import JobSpec
from promptseg.batch.run import BatchOptions, run_batch
from promptseg.errors import SettingsError, StartError

pytestmark = pytest.mark.slow


def receipt(output, case_id):
    return json.loads((output / "cases" / case_id / "case.json").read_text())


def states(output):
    with sqlite3.connect(output / "manifest.sqlite") as db:
        rows = db.execute("SELECT id, state, attempts, kind, reason FROM cases").fetchall()
    db.close()
    return {row[0]: row[1:] for row in rows}


def no_worker_is_left():
    return not [
        p for p in psutil.Process().children(recursive=True) if "promptseg.batch.worker" in " ".join(p.cmdline())
    ]


def test_good_cases_are_done_whatever_the_others_do(trouble, cases, tmp_path):
    wanted = cases("good-1", "hangs-1", "good-2", "crashes-1", "good-3", "bug-1", "unreadable-1", "good-4")
    events = []
    options = BatchOptions(workers=1, retries=0, timeout_s=8.0)
    finished = run_batch(wanted, trouble, tmp_path / "out", options, events.append)
    assert (finished.total, finished.done, finished.failed, finished.pending) == (8, 4, 4, 0)
    found = states(tmp_path / "out")
    assert {case_id: row[2] for case_id, row in found.items() if row[0] == "failed"} == {
        "hangs-1": "timeout",
        "crashes-1": "died",
        "bug-1": "error",
        "unreadable-1": "refused",
    }
    assert "time limit" in found["hangs-1"][3]
    assert "SIGSEGV" in found["crashes-1"][3]
    assert "ZeroDivisionError" in found["bug-1"][3]
    assert "doe_jane" not in found["unreadable-1"][3]
    for number in range(1, 5):
        mask = sitk.ReadImage(str(tmp_path / "out" / "cases" / f"good-{number}" / "mask.nii.gz"))
        from trouble import ORIGIN, SPACING, THRESHOLD, image_of

        assert np.array_equal(sitk.GetArrayFromImage(mask), image_of(f"good-{number}") > THRESHOLD)
        np.testing.assert_allclose(mask.GetSpacing(), SPACING, rtol=1e-6)
        np.testing.assert_allclose(mask.GetOrigin(), ORIGIN, atol=1e-5)
    assert {path.name for path in (tmp_path / "out" / "cases").iterdir()} == {f"good-{n}" for n in range(1, 5)}
    assert not (tmp_path / "out" / ".work").exists()
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    assert Counter(e.state for e in events if isinstance(e, CaseEnded)) == {"done": 4, "failed": 4}
    assert any(isinstance(e, BatchProgress) and e.lines for e in events)
    assert no_worker_is_left()


def test_a_hungry_case_is_ended_at_its_memory_limit(trouble, cases, tmp_path):
    events = []
    options = BatchOptions(retries=0, memory_mib=500)
    run_batch(cases("hungry-1", "good-1"), trouble, tmp_path / "out", options, events.append)
    found = states(tmp_path / "out")
    assert found["hungry-1"][::2] == ("failed", "memory")
    assert "the limit is 500 MiB" in found["hungry-1"][3]
    assert found["good-1"][0] == "done"
    peaks = {e.id: e.peak_mib for e in events if isinstance(e, CaseEnded)}
    assert 500 < peaks["hungry-1"] < 4000
    assert 20 < peaks["good-1"] < 500


def test_the_network_is_loaded_once_and_again_only_after_a_death(trouble, cases, tmp_path):
    names = [*"abcd", "crashes-1", *"efgh"]  # the fifth begins when one of the first four has ended
    run_batch(cases(*names), trouble, tmp_path / "out", BatchOptions(retries=0))
    told = {case_id: receipt(tmp_path / "out", case_id)["findings"] for case_id in "abcdefgh"}
    assert {findings[1] for findings in told.values()} == {"loads 1"}
    assert len({findings[0] for findings in told.values()}) == 2  # one process before the death, one after


def test_retries_come_after_the_others_and_can_succeed(trouble, cases, tmp_path):
    events = []
    run_batch(
        cases("flaky-1", "bug-1", "unreadable-1", "a"),
        trouble,
        tmp_path / "out",
        BatchOptions(retries=2),
        events.append,
    )
    ended = [(e.id, e.state, e.attempt) for e in events if isinstance(e, CaseEnded)]
    assert ("flaky-1", "again", 1) in ended
    assert ("flaky-1", "done", 2) in ended
    assert ended.index(("a", "done", 1)) < ended.index(("flaky-1", "done", 2))
    assert [attempt for case_id, _, attempt in ended if case_id == "bug-1"] == [1, 2, 3]
    assert [attempt for case_id, _, attempt in ended if case_id == "unreadable-1"] == [1]  # it would end alike
    assert states(tmp_path / "out")["bug-1"][:2] == ("failed", 3)


def test_steps_of_different_cases_overlap(trouble, cases, tmp_path):
    """While one case is in the network, another is being read or written: seen in what the lines tell."""
    events = []
    slow = JobSpec(trouble.job, {"slow": "1.5"}, device="cpu")
    run_batch(cases(*"abcd"), slow, tmp_path / "out", BatchOptions(), events.append)
    seen = [set(dict(steps.values())) for e in events if isinstance(e, BatchProgress) for steps in e.lines.values()]
    assert {"infer", "waits to infer"} in seen  # the next one is ready when the device becomes free


def test_two_lines_share_the_cases_and_idle_ones_take_over(trouble, cases, tmp_path):
    slow = JobSpec(trouble.job, {"slow": "0.4"}, device="cpu")
    finished = run_batch(cases(*(f"c{n}" for n in range(10))), slow, tmp_path / "out", BatchOptions(workers=2))
    assert finished.done == 10
    pids = Counter(receipt(tmp_path / "out", f"c{n}")["findings"][0] for n in range(10))
    assert len(pids) == 2
    assert min(pids.values()) >= 2


def test_a_waiting_case_moves_from_a_stuck_line_to_an_idle_one(trouble, cases, tmp_path):
    """One line hangs on a case until its time limit; what waits behind it must not wait so long."""
    ended = {}

    def note(event):
        if isinstance(event, CaseEnded):
            ended[event.id] = time.monotonic()

    options = BatchOptions(workers=2, retries=0, timeout_s=12.0)
    run_batch(cases("hangs-1", "a", "b", "c", "d", "e", "f"), trouble, tmp_path / "out", options, note)
    assert len(ended) == 7
    assert max(time for case_id, time in ended.items() if case_id != "hangs-1") < ended["hangs-1"]


def test_a_job_that_cannot_load_ends_the_batch_with_its_sentence(cases, tmp_path):
    with pytest.raises(StartError, match="did you mean 'builtin'"):
        run_batch(cases("a"), JobSpec("segment", {"model": "bultin"}), tmp_path / "out")
    assert states(tmp_path / "out")["a"][:2] == ("pending", 0)
    assert no_worker_is_left()


def test_resume_needs_the_same_job_and_no_second_batch(trouble, cases, tmp_path):
    out = tmp_path / "out"
    run_batch(cases("a", "bug-1"), trouble, out, BatchOptions(retries=0))
    with pytest.raises(SettingsError, match="add --resume"):
        run_batch(cases("a"), trouble, out)
    with pytest.raises(SettingsError, match="was begun with formats"):
        run_batch([], JobSpec(trouble.job, formats=("mha",)), out, BatchOptions(resume=True))
    with FileLock(out / ".lock"), pytest.raises(SettingsError, match="another batch is running"):
        run_batch([], trouble, out, BatchOptions(resume=True))
    before = (out / "cases" / "a" / "case.json").stat()
    again = run_batch(cases("a", "b"), trouble, out, BatchOptions(resume=True))
    assert (again.done, again.failed) == (2, 1)
    assert (out / "cases" / "a" / "case.json").stat() == before
    third = run_batch([], trouble, out, BatchOptions(resume=True, retry_failed=True, retries=0))
    assert (third.done, third.failed) == (2, 1)
    assert states(out)["bug-1"][1] == 1  # counted anew


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        ("segmnt", "did you mean 'segment'"),
        ("trouble:Nothing", "cannot be loaded"),
        ("no_such:Job", "cannot be loaded"),
    ],
)
def test_unknown_jobs_are_refused_before_anything_is_written(trouble, tmp_path, job, sentence):
    with pytest.raises(SettingsError, match=sentence):
        run_batch([], JobSpec(job), tmp_path / "out")
    assert not (tmp_path / "out").exists()
