"""Cases from files, folders, patterns and DICOM trees; ids that are stable and tell nothing."""

import re

import numpy as np
import pytest
from dicom_phantoms import SECRET, write_dicom

import promptseg
from promptseg.batch.case import Case, Hints
from promptseg.batch.inputs import find_cases, named_after_files
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


def test_cases_are_called_as_their_files_and_keep_that_name(tmp_path):
    for name in ("a/scan 1.nii.gz", "b/Scan_1.mha", "c/überlang" + "x" * 80 + ".nrrd"):
        write(tmp_path / name)
    found, _ = find_cases([tmp_path])
    ids = {case.image.rsplit("/", 1)[-1]: case.id for case in named_after_files(found)}
    one, two = ids["scan 1.nii.gz"], ids["Scan_1.mha"]
    assert one == "scan_1"
    assert re.fullmatch(r"Scan_1-[0-9a-f]{6}", two)  # many file systems take the two for one name
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", case_id) for case_id in ids.values())
    known = named_after_files(found)
    write(tmp_path / "0" / "scan 1.nii.gz")  # found first, but the name is another case's
    again, _ = find_cases([tmp_path])
    assert {case.id for case in known} < {case.id for case in named_after_files(again, known)}


def test_ids_that_a_table_gives_are_nobody_elses(tmp_path):
    found, _ = find_cases([write(tmp_path / "g.nii.gz")])
    given = Case("g", "somewhere")
    assert [case.id[:2] for case in named_after_files([*found, given])] == ["g-", "g"]


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
