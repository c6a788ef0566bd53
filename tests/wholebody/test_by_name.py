"""Whole-body labels in a session: clicks correct them, undo takes them back, a replay needs no weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_weights
from wholebody_phantoms import CLASSES, blocks

import promptseg
from promptseg.errors import GeometryMismatchError, PromptError
from promptseg.volume import Geometry, Label, Labelmap
from promptseg.wholebody.by_name import Structures, StructuresByText, land

GEOMETRY = Geometry((14, 40, 44), (3.0, 3.0, 3.0), (12.0, -7.5, 100.0))


@pytest.fixture
def labelmap() -> Labelmap:
    image = blocks(GEOMETRY)
    array = np.rint((image.array + 1000) / tiny_weights.BAND_WIDTH).astype(np.uint8)
    names = {5: "liver", 2: "kidney_right", 3: "kidney_left", 1: "spleen", 52: "aorta", 90: "brain", 51: "heart"}
    labels = {value: Label.default(value, name) for value, name in {**names, 116: "sternum", 7: "pancreas"}.items()}
    return Labelmap(array, GEOMETRY, labels)


def test_organs_become_labels_and_a_click_corrects_one(labelmap: Labelmap) -> None:
    volume = blocks(GEOMETRY)
    session = promptseg.open_session(volume, model="classical")
    values = session.import_labels(labelmap)
    assert len(values) == len(CLASSES)  # the pancreas has no voxel: no label
    assert {label.name for label in session.labels.values()} == {
        labelmap.labels[value].name for value in np.unique(labelmap.array).tolist()
    }
    liver = session.mask("liver")
    np.testing.assert_array_equal(liver, labelmap.mask("liver"))

    session.select("liver")
    others = {name: session.mask(name) for name in ("kidney_left", "spleen")}
    z, y, x = np.argwhere(liver).mean(axis=0).round().astype(int)
    changed = session.add(promptseg.Point(voxel=(z, y, x), positive=False))
    assert changed is not None
    assert not session.mask("liver")[z, y, x]
    assert session.mask("liver").sum() < liver.sum()
    for name, before in others.items():
        np.testing.assert_array_equal(session.mask(name), before)
    session.undo()
    np.testing.assert_array_equal(session.mask("liver"), liver)
    session.undo()  # the import as a whole is one step
    assert not session.labels
    assert not session.labelmap.array.any()
    assert not session.can_undo
    session.redo()
    np.testing.assert_array_equal(session.mask("liver"), liver)
    assert [label.color for label in session.labels.values()] == [
        labelmap.labels[value].color for value in np.unique(labelmap.array).tolist()
    ]


@pytest.mark.parametrize("overlap", ["overwrite", "keep", "allow"])
def test_organs_beside_a_label_that_is_locked(labelmap: Labelmap, overlap: str) -> None:
    options = promptseg.EngineOptions(overlap=overlap)
    session = promptseg.open_session(blocks(GEOMETRY), model="classical", options=options)
    own = np.zeros(GEOMETRY.shape, np.bool_)
    own[3:9, 10:30, 12:20] = True
    session.add(promptseg.MaskPrompt(own))
    session.lock(1)
    session.import_labels(labelmap, only=("liver", "aorta"))
    np.testing.assert_array_equal(session.mask(1), own)
    for name in ("liver", "aorta"):
        np.testing.assert_array_equal(session.mask(name), labelmap.mask(name) & ~own)
    assert session.import_labels(labelmap, only=("pancreas",)) == ()  # it has no voxel: nothing happens
    assert [entry["op"] for entry in session.log] == ["prompt", "lock", "import_labels"]
    with pytest.raises(PromptError, match="exists already"):
        session.import_labels(labelmap, only=("aorta",))


def test_a_session_with_organs_is_resumed_and_its_past_can_change(labelmap: Labelmap, tmp_path: Path) -> None:
    promptseg.write_volume(blocks(GEOMETRY), tmp_path / "scan.nii.gz")
    session = promptseg.open_session(tmp_path / "scan.nii.gz", model="classical", folder=tmp_path / "work")
    session.add(promptseg.Point(voxel=(3, 10, 11)))
    session.import_labels(labelmap)
    assert len((tmp_path / "work" / "session.jsonl").read_text().splitlines()) == 4  # header twice, prompt, all organs
    session.close()
    again = promptseg.resume(tmp_path / "work")
    np.testing.assert_array_equal(again.labelmap.array, session.labelmap.array)
    again.remove_prompt(1)
    np.testing.assert_array_equal(again.mask("heart"), labelmap.mask("heart"))
    assert not again.mask(1).any()


def test_the_log_brings_the_organs_back_without_weights(labelmap: Labelmap, tmp_path: Path) -> None:
    volume = blocks(GEOMETRY)
    session = promptseg.open_session(volume, model="classical")
    session.import_labels(labelmap, only=("liver", "spleen"))
    session.export_prompts(tmp_path / "log.json")
    again = promptseg.replay(volume, tmp_path / "log.json")
    np.testing.assert_array_equal(again.array, session.labelmap.array)
    assert {label.name for label in again.labels.values()} == {"liver", "spleen"}


def test_labels_of_another_grid_are_refused(labelmap: Labelmap) -> None:
    shifted = Geometry(GEOMETRY.shape, GEOMETRY.spacing, (12.0, -7.5, 110.0))
    session = promptseg.open_session(blocks(shifted), model="classical")
    with pytest.raises(GeometryMismatchError, match="same grid"):
        session.import_labels(labelmap)
    assert not session.labels


def test_what_is_labelled_already_stays_and_a_known_name_is_left_out(labelmap: Labelmap) -> None:
    session = promptseg.open_session(blocks(GEOMETRY), model="classical")
    own = np.zeros(GEOMETRY.shape, np.bool_)
    own[3:9, 10:30, 12:20] = True
    session.new_label("aorta")
    session.add(promptseg.MaskPrompt(own))
    values = land(session, labelmap, ("liver", "aorta", "spleen"))
    assert [session.labels[value].name for value in values] == ["spleen", "liver"]
    np.testing.assert_array_equal(session.mask("aorta"), own)
    np.testing.assert_array_equal(session.mask("liver"), labelmap.mask("liver") & ~own)
    assert [entry["op"] for entry in session.log] == ["label", "prompt", "import_labels"]
    with pytest.raises(PromptError, match="has liver already"):
        land(session, labelmap, ("liver",))
    with pytest.raises(PromptError, match="pancreas was not found"):
        land(session, labelmap, ("pancreas",))
    assert land(session, labelmap, ("pancreas",), missing_ok=True) == []


def test_words_take_no_voxel_of_another_label(labelmap: Labelmap) -> None:
    session = promptseg.open_session(blocks(GEOMETRY), model="classical")
    own = np.zeros(GEOMETRY.shape, np.bool_)
    own[3:9, 10:30, 12:20] = True
    session.add(promptseg.MaskPrompt(own))
    session.new_label("liver")
    session.add(promptseg.TextPrompt("liver", labelmap.mask("liver")))
    np.testing.assert_array_equal(session.mask(1), own)
    np.testing.assert_array_equal(session.mask("liver"), labelmap.mask("liver") & ~own)


@pytest.fixture
def bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiny weights of the task total, fast."""
    pytest.importorskip("totalsegmentator", reason="TotalSegmentator is not installed")
    import os

    for name in ("TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH"):
        monkeypatch.delenv(name, raising=False)
    weights = tmp_path / "models" / "totalsegmentator" / "nnunet" / "results"
    tiny_weights.write_task(weights, "total", "bands", fast=True)
    monkeypatch.setenv("PROMPTSEG_MODELS", str(tmp_path / "models"))
    yield
    os.environ.pop("TOTALSEG_HOME_DIR", None)


def test_a_text_adds_a_structure_and_the_second_one_is_there_already(
    bands: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = blocks(GEOMETRY)
    session = promptseg.open_session(volume, model="classical")
    texts = StructuresByText(Structures("cpu"))
    left = texts.add(session, "left kidney")
    assert session.labels[left].name == "kidney_left"
    assert session.selected == left
    assert session.mask("kidney_left").sum() > 100
    shutil.rmtree(tmp_path / "models")  # nothing is loaded or run again
    right = texts.add(session, "右肾")
    assert session.labels[right].name == "kidney_right"
    with pytest.raises(PromptError, match="several structures"):
        texts.add(session, "kidney")
    with pytest.raises(PromptError, match="not found in this image"):
        texts.add(session, "gallbladder")
    with pytest.raises(PromptError, match="has kidney_left already"):
        texts.add(session, "Kidney_L")
    assert len(session.labels) == 2


def test_a_text_prompt_finds_the_installed_engine_and_its_log_needs_none(bands: None, tmp_path: Path) -> None:
    volume = blocks(GEOMETRY)
    session = promptseg.open_session(volume, model="classical")
    told: list[promptseg.Progress] = []
    session.add(promptseg.TextPrompt("left kidney"), on_progress=told.append)
    np.testing.assert_array_equal(session.mask(), StructuresByText(Structures("cpu")).segment(volume, "kidney_left"))
    assert session.mask().any()
    assert told
    session.export_prompts(tmp_path / "log.json")
    shutil.rmtree(tmp_path / "models")
    np.testing.assert_array_equal(promptseg.replay(volume, tmp_path / "log.json").mask(1), session.mask())
