"""The manifest: whole or not there, every state change kept, finished folders taken over."""

import json
import sqlite3

import pytest

from promptseg.batch.case import Case
from promptseg.batch.manifest import Manifest
from promptseg.errors import ReadError, SettingsError

JOB = {"job": "segment", "options": {}, "formats": ["nii.gz"]}
CASES = [Case(name, f"/images/{name}") for name in ("a", "b", "c")]


@pytest.fixture
def manifest(tmp_path):
    with_cases = Manifest.begin(tmp_path, JOB, CASES)
    yield with_cases
    with_cases.close()


def state(manifest):
    return {record.case.id: (record.state, record.attempts) for record in manifest.records()}


def test_it_appears_whole(tmp_path):
    def cases():
        yield CASES[0]
        raise RuntimeError("killed here")

    with pytest.raises(RuntimeError):
        Manifest.begin(tmp_path, JOB, cases())
    assert list(tmp_path.iterdir()) == []


def test_cases_are_given_in_order_and_a_failed_one_waits_behind_the_others(manifest):
    assert manifest.next_pending().case == CASES[0]
    manifest.started("a")
    manifest.failed("a", "error", "why", {"prepare": 0.5}, final=False)
    assert [record.case.id for record in manifest.records("pending")] == ["b", "c", "a"]
    record = manifest.record("a")
    assert (record.attempts, record.kind, record.reason, record.stages) == (1, "error", "why", {"prepare": 0.5})


def test_what_was_interrupted_waits_again_uncharged_and_what_was_finished_is_taken_over(manifest, tmp_path):
    for name in "ab":
        manifest.started(name)
    place = tmp_path / "cases" / "a"
    place.mkdir(parents=True)
    (place / "case.json").write_text(json.dumps({"stages": {"infer": 2.0}, "peak_mib": 7.0}))
    manifest.failed("c", "error", "why", {}, final=True)
    manifest.close()
    again = Manifest.go_on(tmp_path, JOB)
    assert again.recover(retry_failed=False) == 1
    assert state(again) == {"a": ("done", 1), "b": ("pending", 0), "c": ("failed", 1)}
    again.recover(retry_failed=True)
    assert state(again)["c"] == ("pending", 0)
    assert again.counts() == {"pending": 2, "running": 0, "done": 1, "failed": 0}
    again.close()


def test_adding_keeps_what_is_there(manifest):
    manifest.started("a")
    manifest.done("a", {}, 1.0)
    assert manifest.add([*CASES, Case("d", "/d")]) == 1
    assert state(manifest)["a"] == ("done", 1)
    assert [record.case.id for record in manifest.records()] == ["a", "b", "c", "d"]


def test_another_job_another_version_or_no_database_are_refused(manifest, tmp_path):
    with pytest.raises(SettingsError, match="was begun with job 'segment', not 'wholebody'"):
        Manifest.go_on(tmp_path, {**JOB, "job": "wholebody"})
    with pytest.raises(SettingsError, match="found no manifest"):
        Manifest.go_on(tmp_path / "cases", JOB)
    with sqlite3.connect(tmp_path / "manifest.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ReadError, match="got 99; update promptseg"):
        Manifest.go_on(tmp_path, JOB)
    (tmp_path / "manifest.sqlite").write_bytes(b"no database at all, only text")
    with pytest.raises(ReadError, match="cannot open"):
        Manifest.go_on(tmp_path, JOB)
