"""De-identified copies: nothing planted is left in any byte, and the image is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_phantoms import slice_dataset, write_dicom
from pydicom.dataset import Dataset

from promptseg.errors import MissingExtraError, ReadError, WriteError
from promptseg.export.deidentify import deidentify
from promptseg.io import read_volume
from promptseg.volume import Geometry

pytest.importorskip("dicomanonymizer", reason="the extra 'privacy' is not installed")
ARRAY = (np.arange(4 * 12 * 10, dtype=np.int16) - 200).reshape(4, 12, 10)
GEOMETRY = Geometry((4, 12, 10), (0.5, 0.6, 5.0), (3.0, -4.0, 20.0))
PLANTED = ("Zebedeus", "Quarrington", "PLANT-4711", "19370213", "ACC-998877", "Mossgrove", "Featherby")
UID = "1.2.826.0.1.3680043.10.77"


def _item(**tags: Any) -> Dataset:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return item


def _tags() -> dict[str, Any]:
    return {
        "PatientName": "Quarrington^Zebedeus",
        "PatientID": "PLANT-4711",
        "PatientBirthDate": "19370213",
        "AccessionNumber": "ACC-998877",
        "InstitutionName": "Mossgrove Infirmary",
        "ReferringPhysicianName": "Featherby^Ann",
        "StudyInstanceUID": f"{UID}.1",
        "FrameOfReferenceUID": f"{UID}.2",
        "ImageComments": "seen by Featherby",
        "ContrastBolusAgent": "ordered for Zebedeus",  # an attribute that the profile's table does list
        "ConvolutionKernel": "B30 quarrington",  # and one that it does not: the second look must find it
        "RequestAttributesSequence": [_item(RequestedProcedureDescription="CT of Zebedeus")],
        "ReferencedImageSequence": [_item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2",
                                          ReferencedSOPInstanceUID=f"{UID}.9", ImageComments="PLANT-4711")],
    }  # fmt: skip


def _write(folder: Path, **options: Any) -> list[Path]:
    return write_dicom(folder, ARRAY, GEOMETRY, uid=UID, tags={**_tags(), **options.pop("tags", {})}, **options)


def _private(path: Path) -> None:
    """Plant identifiers where no table looks: private tags, the preamble, the meta header."""
    dataset = pydicom.dcmread(path)
    block = dataset.private_block(0x0029, "Mossgrove HEADER", create=True)
    block.add_new(0x10, "LO", "Zebedeus")
    inner = dataset.ReferencedImageSequence[0].private_block(0x0029, "Mossgrove INNER", create=True)
    inner.add_new(0x10, "OB", b"Quarrington ")
    dataset.preamble = b"Zebedeus Quarrington".ljust(128, b"\0")
    dataset.file_meta.SourceApplicationEntityTitle = "Mossgrove"
    dataset.save_as(path, enforce_file_format=True)


def test_nothing_planted_is_left(tmp_path: Path) -> None:
    files = _write(tmp_path / "Quarrington Zebedeus")
    for file in files:
        _private(file)
    done = deidentify(tmp_path / "Quarrington Zebedeus", tmp_path / "out")
    assert len(done.files) == 4
    assert done.findings == ()
    for file in done.files:
        assert file.relative_to(tmp_path / "out").as_posix().startswith("series_01/image_000")
        content = file.read_bytes().lower()
        for word in (*PLANTED, UID):
            assert word.lower().encode() not in content, word


def test_the_image_is_the_same(tmp_path: Path) -> None:
    _write(tmp_path / "in", syntax="1.2.840.10008.1.2")
    deidentify(tmp_path / "in", tmp_path / "out")
    before, after = read_volume(tmp_path / "in"), read_volume(tmp_path / "out")
    np.testing.assert_array_equal(after.array, before.array)
    assert after.geometry == before.geometry
    assert (after.modality, after.window) == (before.modality, before.window)


def test_what_the_profile_asks_for_is_stated(tmp_path: Path) -> None:
    _write(tmp_path / "in")
    done = deidentify(tmp_path / "in", tmp_path / "out")
    sets = [pydicom.dcmread(file) for file in done.files]
    for dataset in sets:
        assert dataset.PatientIdentityRemoved == "YES"
        code = dataset.DeidentificationMethodCodeSequence[0]
        assert (code.CodeValue, code.CodingSchemeDesignator) == ("113100", "DCM")  # PS3.16 CID 7050
        assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
    assert len({dataset.SeriesInstanceUID for dataset in sets}) == 1  # one series stays one
    assert len({dataset.StudyInstanceUID for dataset in sets}) == 1
    assert len({dataset.SOPInstanceUID for dataset in sets}) == 4
    again = deidentify(tmp_path / "in", tmp_path / "again")
    assert pydicom.dcmread(again.files[0]).SeriesInstanceUID != sets[0].SeriesInstanceUID  # calls are not linked


def test_patients_stay_apart_under_new_names(tmp_path: Path) -> None:
    _write(tmp_path / "in" / "a")
    write_dicom(tmp_path / "in" / "b", ARRAY, GEOMETRY, uid=f"{UID}5", tags={"PatientID": "OTHER", "PatientName": "B"})
    done = deidentify(tmp_path / "in", tmp_path / "out")
    assert {file.parent.name for file in done.files} == {"series_01", "series_02"}
    assert {str(pydicom.dcmread(file).PatientID) for file in done.files} == {"anonymous-01", "anonymous-02"}


def test_objects_without_pixels_and_damaged_files_are_left_out(tmp_path: Path) -> None:
    files = _write(tmp_path / "in")
    report = slice_dataset(ARRAY[0], "1.2.3", "1.2.3.4")
    del report.PixelData
    report.save_as(tmp_path / "in" / "report", enforce_file_format=True)
    files[0].write_bytes(files[0].read_bytes()[:300])
    done = deidentify(tmp_path / "in", tmp_path / "out")
    assert len(done.files) == 3
    assert "left out" in " ".join(done.findings)


def test_burned_in_text_is_warned_about(tmp_path: Path) -> None:
    _write(tmp_path / "in", tags={"BurnedInAnnotation": "YES"})
    done = deidentify(tmp_path / "in", tmp_path / "out")
    (finding,) = done.findings
    assert finding.code == "burned-in-text"
    assert "4 image(s) may show text" in finding


def test_refusals_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReadError, match="expected DICOM images, found none"):
        deidentify(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(ReadError, match="no such file"):
        deidentify(tmp_path / "none", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(WriteError, match="expected a new or empty folder"):
        deidentify(tmp_path / "empty", tmp_path / "full")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full"]


def test_the_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "dicomanonymizer", None)
    with pytest.raises(MissingExtraError, match=r'pip install "promptseg\[privacy\]"'):
        deidentify(tmp_path, tmp_path / "out")
