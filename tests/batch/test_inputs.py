"""Cases from files, folders, patterns and DICOM trees; ids that are stable and tell nothing."""

import re

import numpy as np
import pytest
from dicom_phantoms import SECRET, write_dicom

import promptseg
from promptseg.batch.case import Case, Hints
from promptseg.batch.inputs import find_cases
from promptseg.batch.job_segment import read_case
from promptseg.errors import ReadError
from promptseg.volume import Geometry

ARRAY = np.arange(5 * 12 * 17, dtype=np.int16).reshape(5, 12, 17)
GEOMETRY = Geometry(ARRAY.shape, (0.7, 0.9, 3.0), (5.0, -6.0, 7.0))


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    promptseg.write_volume(promptseg.Volume.from_array(ARRAY, GEOMETRY), path)
    return path


def test_a_folder_gives_its_volumes_and_leaves_masks_pictures_and_hidden_files_out(tmp_path):
    for name in ("a/Doe_Jane.nii.gz", "b.mha", "b/c.nrrd", ".hidden/d.nii.gz", "e.seg.nrrd"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    cases, notes = find_cases([tmp_path])
    assert [case.image.rsplit("/", 1)[-1] for case in cases] == ["b.mha", "Doe_Jane.nii.gz", "c.nrrd"]
    assert notes == (f"1 mask file(s) (.seg.nrrd) in {tmp_path} were left out",)


def test_ids_are_stable_different_and_tell_nothing(tmp_path, monkeypatch):
    path = write(tmp_path / "Doe_Jane.nii.gz")
    write(tmp_path / "other.nii.gz")
    first, _ = find_cases([tmp_path])
    monkeypatch.chdir(tmp_path)
    again, _ = find_cases([path.name, "*.nii.gz", tmp_path])  # named three ways: one case each
    assert {case.id for case in first} == {case.id for case in again}
    assert len(again) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", case.id) for case in first)


def test_series_are_found_by_header_whatever_the_files_are_called(tmp_path):
    write_dicom(tmp_path / "x" / "Doe_Jane", ARRAY, GEOMETRY, uid="1.2.3.1")
    write_dicom(tmp_path / "x" / "y", ARRAY + 1, GEOMETRY, uid="1.2.3.2")
    write_dicom(
        tmp_path / "scout", ARRAY, GEOMETRY, uid="1.2.3.3", tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    )
    write(tmp_path / "volume.nii.gz")
    cases, notes = find_cases([tmp_path])
    assert {case.series for case in cases} == {None, "1.2.3.1", "1.2.3.2"}
    assert "1 localizer or secondary capture series" in notes[0]
    one = next(case for case in cases if case.series == "1.2.3.2")
    volume, _ = read_case(one)
    assert np.array_equal(volume.array, ARRAY + 1)
    assert volume.geometry.same_as(GEOMETRY)
    moved = tmp_path / "moved"
    (tmp_path / "x" / "y").rename(moved)
    there, _ = find_cases([moved])
    assert there[0].id == one.id  # a series is known by its UID, wherever it lies
    assert not any(SECRET.split("^")[0] in case.id for case in cases)


def test_prompts_beside_an_image_belong_to_it(tmp_path):
    write(tmp_path / "a.nii.gz")
    beside = tmp_path / "a.prompts.json"
    beside.write_text("[]")
    (case,), _ = find_cases([tmp_path / "a.nii.gz"])
    assert case.hints == Hints(log=str(beside))


def test_a_case_survives_its_json():
    case = Case(
        "id", "/a", "1.2", ("/a/1", "/a/2"), 3, Hints("log", ({"type": "point"},), ((1.0, 2.0, 3.0, 4.0, 5.0),))
    )
    assert Case.from_json("id", case.to_json()) == case


@pytest.mark.parametrize(
    ("given", "sentence"),
    [("no.nii.gz", "there is no"), ("*.nrrd", "no file fits the pattern"), (".", "expected images or DICOM series")],
)
def test_inputs_that_hold_nothing_are_an_error(tmp_path, monkeypatch, given, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReadError, match=re.escape(sentence)):
        find_cases([given])
