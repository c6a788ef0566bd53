"""Nothing acknowledged is lost: journals, killed processes, torn lines."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from phantoms import X, Y, volume_of

import promptseg
from promptseg.engine.edits import Grow
from promptseg.errors import ReplayError, SettingsError, WriteError

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
    again = promptseg.resume(tmp_path / "work")
    assert same(session, again)
    assert (again.can_undo, again.can_redo) == (True, True)
    session.record_to(lambda entry: None)  # from here on only the resumed one writes
    for step in ("redo", "redo", "undo", "undo", "undo"):
        getattr(session, step)()
        getattr(again, step)()
        assert same(session, again)
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
    path = tmp_path / "work" / "session.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op":"prompt","la')
    again = promptseg.resume(tmp_path / "work")
    assert same(session, again)
    assert path.read_bytes() == whole


def test_every_line_is_json_and_names_no_person(scan, tmp_path):
    session = promptseg.open_session(scan, "classical", folder=tmp_path / "work")
    work(session)
    lines = [json.loads(line) for line in (tmp_path / "work" / "session.jsonl").read_text().splitlines()]
    assert [line.get("op") for line in lines[1:]] == ["label", "prompt", "edit", "label", "prompt"]
    assert set(lines[0]) == {"format", "version", "source", "model", "weights", "image", "window", "engine"}
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
    promptseg.write_volume(volume_of(RIGHT), scan)
    with pytest.raises(ReplayError, match="has changed"):
        promptseg.resume(tmp_path / "work")
    (tmp_path / "work" / "session.jsonl").write_text("{}\n")
    with pytest.raises(ReplayError, match="promptseg journal"):
        promptseg.resume(tmp_path / "work")
