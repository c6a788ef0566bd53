"""Nothing acknowledged is lost: journals, killed processes, torn lines."""

import errno
import json
import os
import signal
import subprocess
import sys
import zlib

import numpy as np
import pytest
from phantoms import X, Y, volume_of

import promptseg
from promptseg.engine.edits import Grow
from promptseg.errors import ReplayError, SettingsError, WriteError
from promptseg.session.journal import Journal, damage_sentence, outcome_of, read_journal

LEFT = (Y - 35) ** 2 + (X - 25) ** 2 < 120
RIGHT = (Y - 35) ** 2 + (X - 60) ** 2 < 120


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "scan.nii.gz"
    promptseg.write_volume(volume_of(LEFT, RIGHT), path)
    return path


def work(session):
    session.new_label("left")
    session.add(promptseg.Box(voxel=((12, 24, 14), (13, 46, 36))))
    session.edit(Grow(1.0))
    session.new_label("right")
    session.add(promptseg.Box(voxel=((12, 24, 49), (13, 46, 71))))


def same(one, other):
    return np.array_equal(one.labelmap.array, other.labelmap.array) and one.labels == other.labels


def test_a_session_comes_back_with_its_undo_and_redo(scan, tmp_path):
    session = promptseg.open_session(scan, "classical", folder=tmp_path / "work")
    work(session)
    session.undo()
    session.undo()
    session.close()
    session.record_to(lambda entry: None)  # it goes on beside the resumed one, which alone writes from here on
    again = promptseg.resume(tmp_path / "work")
    assert same(session, again)
    assert (again.can_undo, again.can_redo) == (True, True)
    for step in ("redo", "redo", "undo", "undo", "undo"):
        getattr(session, step)()
        getattr(again, step)()
        assert same(session, again)
    again.close()
    third = promptseg.resume(tmp_path / "work")  # what was done after resuming is in the same journal
    assert same(session, third)


def test_a_killed_process_loses_nothing_that_was_acknowledged(scan, tmp_path):
    code = f"""
import promptseg, sys, time
session = promptseg.open_session({str(scan)!r}, "classical", folder={str(tmp_path / "work")!r})
session.new_label("left")
session.add(promptseg.Box(voxel=((12, 24, 14), (13, 46, 36))))
print("done", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "done\n"
        process.send_signal(signal.SIGKILL)
    session = promptseg.resume(tmp_path / "work")
    mask = session.mask("left")
    assert 2 * (mask & LEFT).sum() / (mask.sum() + LEFT.sum()) > 0.95


def test_a_torn_last_line_is_cut_off(scan, tmp_path):
    session = promptseg.open_session(scan, "classical", folder=tmp_path / "work")
    work(session)
    session.close()
    path = tmp_path / "work" / "session.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op":"prompt","la')
    again = promptseg.resume(tmp_path / "work")
    assert same(session, again)
    again.new_label("next")
    assert path.read_bytes().startswith(whole)
    assert again.findings == ()
    again.close()
    assert "next" in [label.name for label in promptseg.resume(tmp_path / "work").labels.values()]


def test_every_line_is_json_and_names_no_person(scan, tmp_path):
    session = promptseg.open_session(scan, "classical", folder=tmp_path / "work")
    work(session)
    lines = [json.loads(line) for line in (tmp_path / "work" / "session.jsonl").read_text().splitlines()]
    assert [line.get("op") for line in lines[2:]] == ["label", "prompt", "edit", "label", "prompt"]
    assert set(lines[0]) == {"format", "version", "source", "model", "weights", "image", "window", "engine", "crc"}
    assert lines[1] == lines[0]  # twice: one changed byte must not cost everything
    assert lines[0]["weights"] == ""  # it has none


def test_what_cannot_be_resumed_is_one_sentence(scan, tmp_path):
    with pytest.raises(ReplayError, match="cannot be read"):
        promptseg.resume(tmp_path / "nothing")
    with pytest.raises(SettingsError, match="as a path"):
        promptseg.open_session(volume_of(LEFT), "classical", folder=tmp_path / "work")
    session = promptseg.open_session(scan, "classical", folder=tmp_path / "work")
    session.add(promptseg.Point(voxel=(12, 35, 25)))
    with pytest.raises(WriteError, match="holds a session already"):
        promptseg.open_session(scan, "classical", folder=tmp_path / "work")
    session.close()
    with pytest.raises(WriteError, match="closed"):
        session.new_label()
    promptseg.write_volume(volume_of(RIGHT), scan)
    with pytest.raises(ReplayError, match="has changed"):
        promptseg.resume(tmp_path / "work")
    (tmp_path / "work" / "session.jsonl").write_text("{}\n")
    with pytest.raises(ReplayError, match="promptseg journal"):
        promptseg.resume(tmp_path / "work")


# --- a disk that is full, changes bytes, or has two writers ----------------------------------------------------------

STEPS = [{"op": "label", "value": n, "name": f"label {n}"} for n in range(1, 6)]


def journal_with(folder, steps=STEPS):
    journal = Journal.create(folder, {"image": "abc"})
    for step in steps:
        journal.append(step)
    journal.close()
    return journal


def test_an_append_that_fails_half_way_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
    journal = journal_with(tmp_path)
    before = journal.path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)  # the bytes are written by then
        with pytest.raises(WriteError, match="No space left"):
            journal.append({"op": "undo"})
        assert journal.path.read_bytes() == before
        patched.setattr(os, "ftruncate", full)  # not even that works: the next append sees to it
        with pytest.raises(WriteError):
            journal.append({"op": "undo"})
        assert journal.path.read_bytes() != before
    journal.append({"op": "redo"})
    assert [line["op"] for line in read_journal(tmp_path).lines] == ["label"] * 5 + ["redo"]


def test_a_changed_byte_costs_at_most_what_follows_it(tmp_path):
    """Every byte of the file in turn, three ways of changing it."""
    path = journal_with(tmp_path / "work").path
    whole = path.read_bytes()
    ends = read_journal(tmp_path / "work").ends
    for at in range(len(whole)):
        for flip in (0x01, 0x20, 0xFF):
            changed = bytearray(whole)
            changed[at] ^= flip
            path.write_bytes(changed)
            found = read_journal(tmp_path / "work")
            assert found.header["image"] == "abc", (at, flip)
            untouched = sum(end <= at for end in ends)
            assert list(found.lines[:untouched]) == STEPS[:untouched], (at, flip)
            assert all(line in STEPS for line in found.lines), (at, flip)


def test_what_is_damaged_is_cut_off_kept_and_told(scan, tmp_path):
    session = promptseg.open_session(scan, "classical", folder=tmp_path / "work")
    work(session)
    session.close()
    (tmp_path / "work" / "session.snapshot").unlink()
    path = tmp_path / "work" / "session.jsonl"
    changed = path.read_bytes().replace(b'"name":"right"', b'"name":"rigHt"')
    path.write_bytes(changed)
    again = promptseg.resume(tmp_path / "work")
    assert [label.name for label in again.labels.values()] == ["left"]
    assert again.mask("left").any()
    (told,) = again.findings
    assert "before step 4" in told
    assert "2 line(s)" in told
    assert (tmp_path / "work" / "session.jsonl.damaged-1").read_bytes() == changed
    again.new_label("right again")
    again.close()
    third = promptseg.resume(tmp_path / "work")
    assert [label.name for label in third.labels.values()] == ["left", "right again"]
    assert third.findings == (told,)  # it is told whenever the session is opened


def test_without_room_for_the_damaged_file_nothing_is_cut_off(tmp_path, monkeypatch):
    path = journal_with(tmp_path).path
    changed = path.read_bytes().replace(b"label 4", b"label !")
    path.write_bytes(changed)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("shutil.copyfile", full)
        journal, content = Journal.go_on(tmp_path)
        assert list(content.lines) == STEPS[:3]
        with pytest.raises(WriteError, match="No space left"):
            journal.append({"op": "undo"})
        assert path.read_bytes() == changed
    journal.append({"op": "undo"})
    assert [line["op"] for line in read_journal(tmp_path).lines] == ["label", "label", "label", "damaged", "undo"]


def test_a_journal_of_the_first_version_goes_on(tmp_path):
    lines = [{"format": "promptseg journal", "version": 1, "image": "abc"}, *STEPS[:2]]
    (tmp_path / "session.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    journal, content = Journal.go_on(tmp_path)
    assert list(content.lines) == STEPS[:2]
    journal.append(STEPS[2])
    assert list(read_journal(tmp_path).lines) == STEPS[:3]
    text = (tmp_path / "session.jsonl").read_bytes().splitlines()[-1]
    assert text.endswith(b'"crc":"%08x"}' % zlib.crc32(json.dumps(STEPS[2], separators=(",", ":")).encode()))


def test_a_second_writer_is_told(scan, tmp_path):
    session = promptseg.open_session(scan, "classical", folder=tmp_path / "work")
    session.new_label("left")
    with pytest.raises(WriteError, match="open already"):
        promptseg.resume(tmp_path / "work")
    code = f"import promptseg; promptseg.resume({str(tmp_path / 'work')!r})"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "open already, here or in another process" in other.stderr
    del session  # who drops a session frees its folder
    assert promptseg.resume(tmp_path / "work").labels


def test_what_lines_lead_to():
    undo, redo = {"op": "undo"}, {"op": "redo"}
    assert outcome_of([STEPS[0], STEPS[1], undo]).undone == (STEPS[1],)
    assert outcome_of([STEPS[0], undo, STEPS[1]]).done == (STEPS[1],)
    assert outcome_of([undo, undo, redo], 3, 1).done == (0, 1)
    assert outcome_of([undo, undo, redo], 3, 1).undone == (3, 2)
    assert outcome_of([undo, undo, redo, STEPS[0], undo], 3, 1) == outcome_of([undo, STEPS[0], undo], 3)
    assert outcome_of([STEPS[0], {"op": "select", "label": 4}]).selected == 4
    assert outcome_of([{"op": "select", "label": 4}, STEPS[0]]).selected is None
    assert "2 line(s)" in damage_sentence({"line": 1, "lost": 2, "kept": ""})
