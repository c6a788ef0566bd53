"""The one way back: every face that does a log again compares image, weights and voxels."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from phantoms import X, Y, Z, volume_of

import promptseg
from promptseg.batch.case import Case, Hints
from promptseg.batch.grand_challenge import ChallengeRequest, run_case
from promptseg.batch.job import JobSpec
from promptseg.batch.job_segment import SegmentJob
from promptseg.cli.main import main
from promptseg.engine.edits import Grow
from promptseg.engine.hints import place
from promptseg.errors import ChangedError, ReplayError
from promptseg.models.families.oracle import OraclePredictor
from promptseg.session.prompt_log import read_log, write_log
from promptseg.session.restoring import restore
from promptseg.session.session import Session

pytestmark = pytest.mark.slow

LEFT = (Y - 35) ** 2 + (X - 25) ** 2 < 120
RIGHT = ((Y - 35) ** 2 + (X - 60) ** 2 < 120) & (Z >= 3) & (Z < 21)
MOVED = (Y - 35) ** 2 + (X - 28) ** 2 < 120
VOLUME = volume_of(LEFT, RIGHT)
BOX = promptseg.Box(voxel=((12, 24, 14), (13, 46, 36)))


def worked():
    session = Session(VOLUME, OraclePredictor())
    session.new_label("left")
    session.add(promptseg.Point(voxel=(12, 35, 25)))
    session.new_label("right")
    session.add(promptseg.Point(voxel=(12, 35, 60)))
    return session


@pytest.fixture
def scan(tmp_path):
    return promptseg.write_volume(VOLUME, tmp_path / "scan.nii.gz")[0]


@pytest.fixture
def log(scan, tmp_path):
    session = promptseg.open_session(scan, "classical")
    session.new_label("left")
    session.add(BOX)
    return session.export_prompts(tmp_path / "prompts.json")


def test_a_session_comes_back_whole_from_its_own_log():
    session = worked()
    again = restore(VOLUME, session.prompt_log(), OraclePredictor())
    assert np.array_equal(again.labelmap.array, session.labelmap.array)
    assert again.prompts == session.prompts
    assert again.review() == session.review()


def test_another_image_is_told_before_any_work():
    log = worked().prompt_log()
    with pytest.raises(ChangedError, match="another image") as caught:
        restore(volume_of(MOVED, RIGHT), log, OraclePredictor(), on_progress=lambda _: pytest.fail("it began"))
    assert caught.value.choices == ("new",)
    assert caught.value.code == "changed"


def test_other_weights_are_told_before_any_work():
    log = replace(worked().prompt_log(), weights="0" * 64)
    with pytest.raises(ChangedError, match="other weights of the model") as caught:
        restore(VOLUME, log, OraclePredictor(), on_progress=lambda _: pytest.fail("it began"))
    assert caught.value.choices == ("again", "new")


@pytest.mark.parametrize("key", ["digest", "changed"])
def test_other_voxels_than_logged_are_told_at_their_entry(key, caplog):
    log = worked().prompt_log()
    wrong = {"digest": "0" * 64, "changed": [[0, 0, 0], [1, 1, 1]]}[key]
    entries = [*log.entries[:3], {**log.entries[3], key: wrong}]
    with pytest.raises(ChangedError, match=r"entry 4 of the log \(prompt\) gives other voxels"):
        restore(VOLUME, replace(log, entries=tuple(entries)), OraclePredictor())
    with caplog.at_level(logging.WARNING):
        again = restore(VOLUME, replace(log, entries=tuple(entries)), OraclePredictor(), strict=False)
    assert "other voxels" in caplog.text
    assert np.array_equal(again.labelmap.array, worked().labelmap.array)


def test_an_entry_that_changed_nothing_then_must_change_nothing_now():
    log = worked().prompt_log()
    quiet = {key: value for key, value in log.entries[1].items() if key not in ("digest", "changed")}
    with pytest.raises(ChangedError, match="entry 2"):
        restore(VOLUME, replace(log, entries=(log.entries[0], quiet)), OraclePredictor())


def test_a_list_written_by_hand_claims_nothing_and_another_model_may_answer_a_log():
    log = worked().prompt_log()
    bare = replace(log, entries=tuple({k: v for k, v in e.items() if k not in ("time", "digest")} for e in log.entries))
    assert restore(VOLUME, bare, OraclePredictor()).labels.keys() == {1, 2}
    other = replace(log, model_id="classical", weights="0" * 64)
    assert restore(VOLUME, other, OraclePredictor()).labels.keys() == {1, 2}
    with pytest.raises(ChangedError, match="another image"):
        restore(volume_of(MOVED), other, OraclePredictor())


# --- a session's folder -------------------------------------------------------------------------------------------


@pytest.fixture
def weights(monkeypatch):
    """Return a function that says which weights every model has from now on."""
    return lambda digest: monkeypatch.setattr("promptseg.models.loading.weights_hash", lambda _: digest)


@pytest.fixture
def kept(scan, tmp_path, weights):
    """A closed session in a folder, made with the weights "old": two labels, one locked, one step undone."""
    weights("old")
    session = promptseg.open_session(scan, "classical", folder=tmp_path / "work")
    session.new_label("left")
    session.add(BOX)
    session.new_label("empty")
    session.lock("left")
    session.select("left")
    session.rename("empty", "nothing")
    session.undo()
    session._autosave.worked(10.0)  # so that a snapshot is taken
    session.close()
    return tmp_path / "work", session


def test_a_folder_of_other_weights_offers_what_can_be_done(kept, weights):
    folder, session = kept
    weights("new")
    with pytest.raises(ChangedError, match="other weights of the model 'classical'; open the labels as they") as caught:
        promptseg.resume(folder)
    assert caught.value.choices == ("stored", "again", "new")
    (folder / "session.snapshot").unlink()
    with pytest.raises(ChangedError, match="take what the prompts give now, or begin anew") as caught:
        promptseg.resume(folder)
    assert caught.value.choices == ("again", "new")
    with pytest.raises(ReplayError, match="no labels are stored"):
        promptseg.resume(folder, changed="stored")
    weights("old")
    assert np.array_equal(promptseg.resume(folder).labelmap.array, session.labelmap.array)


def test_labels_open_as_they_were_stored_without_asking_the_model(kept, weights, monkeypatch):
    folder, session = kept
    weights("new")
    with monkeypatch.context() as patch:
        patch.setattr("promptseg.models.families.classical.ClassicalPredictor.predict", None)
        again = promptseg.resume(folder, changed="stored")
    assert np.array_equal(again.mask("left"), session.mask("left"))
    assert [(label.name, label.color) for label in again.labels.values()] == [
        (label.name, label.color) for label in session.labels.values()
    ]
    assert [again.labels[value].name for value in again.locked] == ["left"]
    assert again.prompts == ()
    again.lock("left", False)
    again.select("left")
    again.add(promptseg.Point(voxel=(12, 35, 25), positive=False))
    again.close()
    third = promptseg.resume(folder)  # its journal is of the present weights
    assert np.array_equal(third.labelmap.array, again.labelmap.array)
    assert list(folder.glob("session.jsonl.before-*"))


def test_steps_behind_the_stored_labels_are_told(kept, weights):
    folder, session = kept
    stored = (folder / "session.snapshot").read_bytes()
    weights("old")
    later = promptseg.resume(folder)
    later.lock("left", False)
    later.select("left")
    later.edit(Grow(2.0))
    later.close()
    (folder / "session.snapshot").write_bytes(stored)  # as after a crash
    weights("new")
    again = promptseg.resume(folder, changed="stored")
    assert np.array_equal(again.mask("left"), session.mask("left"))
    assert len(again.findings) == 1
    assert "the last 2 step(s)" in again.findings[0]


def test_prompts_are_answered_again_where_that_is_wished(kept, weights, caplog):
    folder, session = kept
    weights("new")
    with caplog.at_level(logging.WARNING):
        again = promptseg.resume(folder, changed="again")
    assert "other weights" in caplog.text
    assert np.array_equal(again.labelmap.array, session.labelmap.array)  # the model is the same all the same
    assert again.prompts == session.prompts
    assert (again.can_undo, again.can_redo) == (True, True)
    again.redo()
    assert "nothing" in {label.name for label in again.labels.values()}
    again.close()
    assert promptseg.resume(folder).can_redo is False


def test_a_folder_whose_image_has_changed_can_only_begin_anew(kept, scan):
    folder, _ = kept
    promptseg.write_volume(volume_of(MOVED), scan)
    with pytest.raises(ChangedError, match="image has changed") as caught:
        promptseg.resume(folder)
    assert caught.value.choices == ("new",)


def test_a_folder_whose_prompts_give_other_voxels_now_is_told(kept, monkeypatch):
    folder, _ = kept
    (folder / "session.snapshot").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(
            "promptseg.session.session.place",
            lambda prompt, geometry: place(promptseg.Point(voxel=(9, 35, 60)), geometry),
        )
        with pytest.raises(ChangedError, match=r"entry 2 of the log \(prompt\) gives other voxels") as caught:
            promptseg.resume(folder)
    assert caught.value.choices == ("again", "new")
    assert promptseg.resume(folder).labels


# --- every face -------------------------------------------------------------------------------------------------------


def test_no_face_takes_the_log_of_another_image(log, tmp_path, capsys):
    other = promptseg.write_volume(volume_of(MOVED, RIGHT), tmp_path / "other.nii.gz")[0]
    for face in (promptseg.replay, promptseg.segment):
        with pytest.raises(ChangedError, match="another image"):
            face(other, log)
    assert main(["report", str(other), "--log", str(log), "-o", str(tmp_path / "report")]) == 1
    assert "another image" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()
    mask = tmp_path / "mask.nii.gz"
    assert main(["segment", str(other), "--prompts", str(log), "-o", str(mask)]) == 1
    assert "another image" in capsys.readouterr().err
    assert not mask.exists()
    assert main(["segment", str(other), "--prompts", str(log), "-o", str(mask), "--again"]) == 0
    assert main(["report", str(other), str(mask), "--log", str(log), "-o", str(tmp_path / "report")]) == 1
    assert "another image" in capsys.readouterr().err


def test_the_command_line_does_a_log_again_with_its_own_model(log, scan, tmp_path):
    assert main(["segment", str(scan), "--prompts", str(log), "-o", str(tmp_path / "again")]) == 0
    assert np.array_equal(
        promptseg.read_labelmap(tmp_path / "again" / "mask.nii.gz").array, promptseg.replay(scan, log).array
    )
    made = read_log(tmp_path / "again" / "prompts.json")
    assert (made.model_id, made.weights) == (read_log(log).model_id, read_log(log).weights)


def test_a_list_of_prompts_counts_as_if_each_were_an_option(scan, tmp_path):
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps([{"type": "box", "voxel": [[12, 24, 14], [13, 46, 36]]}]))
    common = ["--model", "classical", "--label", "left", "-o"]
    assert main(["segment", str(scan), "--prompts", str(listed), *common, str(tmp_path / "one.nii.gz")]) == 0
    assert main(["segment", str(scan), "--box", "12,24,14,13,46,36", *common, str(tmp_path / "two.nii.gz")]) == 0
    one, two = (promptseg.read_labelmap(tmp_path / name) for name in ("one.nii.gz", "two.nii.gz"))
    assert np.array_equal(one.array, two.array)
    assert [label.name for label in one.labels.values()] == ["left"]


def test_a_batch_takes_no_log_of_another_image_and_writes_the_weights(log, scan, tmp_path, weights):
    weights("cd" * 32)
    job = SegmentJob(JobSpec("segment", {"model": "classical"}, device="cpu"))
    job.load()
    labelmap, made, _ = job.infer(job.prepare(Case("1", str(scan), hints=Hints(log=str(log)))))
    assert np.array_equal(labelmap.array, promptseg.replay(scan, log).array)
    image = promptseg.read_volume(scan).content_hash
    assert (made.model_id, made.image_sha256, made.weights) == ("classical", image, "cd" * 32)
    other = promptseg.write_volume(volume_of(MOVED, RIGHT), tmp_path / "other.nii.gz")[0]
    with pytest.raises(ChangedError, match="another image"):
        job.infer(job.prepare(Case("2", str(other), hints=Hints(log=str(log)))))


def test_an_algorithm_container_takes_no_log_of_another_image(log, tmp_path):
    folder = tmp_path / "input" / "images" / "ct"
    folder.mkdir(parents=True)
    promptseg.write_volume(volume_of(MOVED, RIGHT), folder / "other.mha")
    (tmp_path / "input" / "prompts.json").write_bytes(log.read_bytes())
    with pytest.raises(ChangedError, match="another image"):
        run_case(ChallengeRequest(tmp_path / "input", tmp_path / "output", model="classical"))


def test_the_log_says_everything_that_makes_the_masks_again(tmp_path, monkeypatch):
    monkeypatch.setattr("promptseg.models.loading.weights_hash", lambda _: "ab" * 32)
    session = worked()
    log = session.prompt_log()
    assert log.weights == "ab" * 32
    assert (log.model_id, log.image_sha256) == (session.model_id, VOLUME.content_hash)
    assert (log.window, log.options, log.entries) == (VOLUME.window, session.options, session.log)
    assert read_log(write_log(log, tmp_path / "log.json")) == log
    assert json.loads((tmp_path / "log.json").read_text())["weights"] == "ab" * 32
