"""A session brought back from its snapshot is the one that its journal alone would give, and goes on as that one."""

import shutil
import threading
import time

import numpy as np
import pytest

import promptseg
from promptseg.engine.edits import Grow, Paint
from promptseg.errors import Cancelled
from promptseg.prompts import Lasso, MaskPrompt, Plane, Scribble
from promptseg.session import comparing, frozen, keeping
from promptseg.session.journal import read_journal
from promptseg.session.snapshot import read_snapshot

SHAPE = (7, 26, 34)  # z, y, x
Z, Y, X = np.mgrid[:7, :26, :34]
LEFT, RIGHT = (Y - 13) ** 2 + (X - 8) ** 2 < 25, (Y - 13) ** 2 + (X - 24) ** 2 < 30
GEOMETRY = promptseg.Geometry(
    SHAPE, (0.8, 0.9, 3.0), (-31.0, 17.5, 204.0), (1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
)
VOLUME = promptseg.Volume(
    np.where(LEFT, 200, np.where(RIGHT, 120, 0)).astype(np.int16), GEOMETRY, promptseg.Window(0, 255)
)
BOX = promptseg.Box(voxel=((3, 7, 2), (4, 19, 14)))
OUTLINE = np.array([(8.0, 20.0), (8.0, 28.0), (18.0, 28.0), (18.0, 20.0)])


def every_kind(session):
    """Do one step of every kind of prompt and edit, take some back, and change the past."""
    session.new_label("left")
    session.add(BOX)
    session.add(promptseg.Point(voxel=(3, 13, 11), positive=False), propagate=False)
    session.add(Scribble(np.array([(4, 13, 8), (4, 14, 8)])), propagate=False)
    session.new_label("right")
    session.add(promptseg.Point(voxel=(3, 13, 24)))
    session.lock("left")
    session.select("right")
    session.add(Lasso(Plane.AXIAL, 5, OUTLINE), predict=False)
    session.edit(Grow(1.0))
    session.lock("left", False)
    session.replace_prompt(1, promptseg.Box(voxel=((3, 6, 2), (4, 19, 14))))
    session.remove_prompt(2)
    session.new_label("drawn")
    session.add(MaskPrompt(LEFT & (Y > 13) & (Z > 2)))
    session.edit(Paint(((2, 5, 5), (3, 6, 6)), 2.0))
    session.undo()


def seen(session):
    return (
        session.labelmap.array.tobytes(),
        {value: (label.name, label.color) for value, label in session.labels.items()},
        [(kept.id, kept.label, type(kept.prompt).__name__) for kept in session.prompts],
        (session.selected, session.locked, session.can_undo, session.can_redo),
        [entry.get("digest") for entry in session.log],
        [np.nan_to_num(session.confidence(value), nan=-1).tolist() for value in session.labels],
        [session.is_pending(value) for value in session.labels],
    )


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    promptseg.write_volume(VOLUME, path)
    return path


@pytest.fixture(scope="module")
def closed(scan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("closed") / "work"
    session = promptseg.open_session(scan, "classical", folder=folder)
    every_kind(session)
    session.close()
    return folder, session


@pytest.fixture
def work(closed, tmp_path):
    """Return a folder with a session's journal and a snapshot of it, and what was seen of the closed session."""
    folder, session = closed
    shutil.copytree(folder, tmp_path / "work")
    return tmp_path / "work", session


def without_replay(monkeypatch):
    def fail(*_):
        raise AssertionError("an entry was performed again")

    monkeypatch.setattr(comparing, "perform", fail)


def test_what_is_frozen_comes_back(work, scan):
    _, closed = work
    past = closed.capture()
    session = promptseg.open_session(scan, "classical")
    session.go_on_from(past)
    assert len(past.done) > 10
    again = promptseg.open_session(scan, "classical")
    again.go_on_from(frozen.thaw(*frozen.freeze(past)))
    assert seen(again) == seen(session)
    assert again.capture().done[3].base is again.capture().done[2]  # shared, not copied
    for step in (*["undo"] * 30, *["redo"] * 12):
        assert getattr(session, step)() == getattr(again, step)()
        assert seen(again) == seen(session)
    for each in (session, again):
        each.select("right")
        each.add(promptseg.Point(voxel=(1, 13, 24)))
        each.replace_prompt(1, promptseg.Box(voxel=((2, 7, 2), (3, 19, 14))))
    assert seen(again) == seen(session)


def test_a_session_comes_back_without_doing_anything_again(work, monkeypatch):
    folder, session = work
    without_replay(monkeypatch)
    assert seen(promptseg.resume(folder)) == seen(session)


def test_only_what_came_after_the_snapshot_is_done_again(work):
    folder, _ = work
    kept = (folder / "session.snapshot").read_bytes()
    again = promptseg.resume(folder)
    again.undo()
    again.select("right")
    again.add(promptseg.Point(voxel=(1, 13, 24)))
    again.undo()
    again.undo()
    again.close()
    (folder / "session.snapshot").write_bytes(kept)  # as after a kill
    third = promptseg.resume(folder)
    assert seen(third) == seen(again)
    third.close()
    (folder / "session.snapshot").unlink()
    assert seen(promptseg.resume(folder)) == seen(again)


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "other journal", "other fields"])
def test_a_snapshot_that_does_not_fit_is_passed_over(work, harm, monkeypatch):
    folder, session = work
    path = folder / "session.snapshot"
    raw = path.read_bytes()
    if harm == "flip":
        path.write_bytes(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:])
    elif harm == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "other fields":
        monkeypatch.setattr("promptseg.session.snapshot.SCHEMA", "0" * 16)
    else:
        journal = folder / "session.jsonl"
        journal.write_bytes(journal.read_bytes().replace(b'"name":"drawn"', b'"name":"drowN"'))
    assert read_snapshot(folder, read_journal(folder)) is None
    again = promptseg.resume(folder)
    if harm == "other journal":
        assert [label.name for label in again.labels.values()] == ["left", "right"]
    else:
        assert seen(again) == seen(session)


def test_a_full_disk_costs_no_step(scan, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    session = promptseg.open_session(scan, "classical", folder=tmp_path / "work")
    monkeypatch.setattr(keeping, "write_snapshot", full)
    monkeypatch.setattr(keeping, "WORK_S", 0.0)
    every_kind(session)
    session.close()
    assert seen(promptseg.resume(tmp_path / "work")) == seen(session)


def test_threads_take_turns(scan, tmp_path):
    """Four threads add at once: four prompts with four ids, and a journal that gives the same session."""
    session = promptseg.open_session(scan, "classical", folder=tmp_path / "work")
    session.new_label("left")
    places = [(3, 13, 8), (4, 13, 9), (5, 14, 8), (2, 12, 8)]
    threads = [
        threading.Thread(target=session.add, args=(promptseg.Point(voxel=place),), kwargs={"propagate": False})
        for place in places
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [kept.id for kept in session.prompts] == [1, 2, 3, 4]
    session.close()
    (tmp_path / "work" / "session.snapshot").unlink()
    assert seen(promptseg.resume(tmp_path / "work")) == seen(session)


def test_a_reader_waits_for_the_step_that_runs():
    session = promptseg.open_session(VOLUME, "classical")
    inside, go_on = threading.Event(), threading.Event()

    def pause(_):
        inside.set()
        go_on.wait()
        raise Cancelled("enough")

    def step():
        with pytest.raises(Cancelled):
            session.add(BOX, on_progress=pause)

    worker = threading.Thread(target=step)
    worker.start()
    inside.wait()
    found = []
    reader = threading.Thread(target=lambda: found.append(session.labelmap.array.any()))
    reader.start()
    time.sleep(0)  # let it run: it must wait
    assert not found
    go_on.set()
    worker.join()
    reader.join()
    assert found == [False]
