"""The self-check: each fault, planted in files that the test wrote, is found under its code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from promptseg.check import Severity
from promptseg.errors import ReadError, SeriesChoiceError
from promptseg.io import read_volume, write_labelmap, write_volume
from promptseg.io.selfcheck import SelfCheck, check_against, check_path
from promptseg.volume import Geometry, Labelmap, Volume

Series = Callable[..., list[Path]]
SHAPE = (4, 5, 7)
FLAT = Geometry(SHAPE, (0.5, 0.6, 5.0), (3.0, -4.0, 20.0))


def _codes(report: SelfCheck) -> list[str]:
    return [finding.code for part in report.parts for finding in part.findings]


def test_a_good_series(write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
    report = check_path(write_series(lettered, oblique)[0].parent)
    assert _codes(report) == []
    assert report.worst is Severity.INFO
    assert json.loads(json.dumps(report.to_dict()))["images"][0]["findings"] == []


TILT = ["1", "0", "0", "0", f"{np.cos(0.3):.9f}", f"{-np.sin(0.3):.9f}"]
Each = Callable[[int], dict[str, Any]]


@pytest.mark.parametrize(
    ("code", "tags", "each"),
    [
        ("gantry-tilt", {"ImageOrientationPatient": TILT}, None),
        ("uneven-gaps", {}, lambda z: {"ImagePositionPatient": [0, 0, (0, 4, 8, 9.1)[z]]}),
        ("missing-slices", {}, lambda z: {"ImagePositionPatient": [0, 0, (0, 4, 8, 16)[z]]}),
        ("duplicate-slices", {}, lambda z: {"ImagePositionPatient": [0, 0, (0, 4, 8, 8)[z]]}),
        ("pixel-spacing-differs", {}, lambda z: {"PixelSpacing": ["1", "1.3"] if z else ["1", "1"]}),
        ("mixed-orientations", {}, lambda z: {"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]} if z > 1 else {}),
        ("modality-conflict", {"Modality": "MR"}, None),
        ("modality-missing", {"Modality": ""}, None),
        ("absurd-spacing", {"PixelSpacing": ["0.0005", "0.0006"]}, None),
        ("burned-in-text", {"BurnedInAnnotation": "YES"}, None),
        ("gaps-between-slices", {"SliceThickness": "1"}, None),
        ("not-hounsfield", {"RescaleIntercept": "1000", "RescaleSlope": "1"}, None),
        ("several-frames", {}, lambda z: {"ImagePositionPatient": [0, 0, z // 2], "EchoTime": str(10 + z % 2)}),
    ],
)
def test_each_fault_is_found(
    write_series: Series, lettered: NDArray[np.int16], code: str, tags: dict[str, Any], each: Each | None
) -> None:
    files = write_series(lettered, FLAT, tags=tags, each=each)
    report = check_path(files[0].parent)
    assert code in _codes(report)
    refused = report.worst is Severity.ERROR
    try:
        findings = read_volume(files[0].parent).findings
    except ReadError:
        assert refused  # what the check calls an error is refused on opening, and nothing else is
    else:
        assert not refused
        assert code in [finding.code for finding in findings]  # the same on every open


def test_missing_positions_and_spacing(write_series: Series, lettered: NDArray[np.int16]) -> None:
    files = write_series(lettered, FLAT, drop=("ImagePositionPatient",))
    assert _codes(check_path(files[0].parent)) == ["no-position"]
    files = write_series(lettered, FLAT, drop=("PixelSpacing",), folder="b")
    assert _codes(check_path(files[0].parent)) == ["assumed-pixel-spacing"]


def test_all_series_of_a_folder(write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
    write_series(lettered, oblique, uid="1.2.3.1", folder="all/a")
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    write_series(lettered[:1], oblique, uid="1.2.3.2", tags=scout, folder="all/b")
    screen = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}
    files = write_series(lettered[:1], oblique, uid="1.2.3.3", tags=screen, folder="all/c")
    folder = files[0].parent.parent
    (folder / "report").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    report = check_path(folder)
    assert [part.name.split("]")[0] for part in report.parts] == ["all", "[1", "[2", "[3"]
    assert _codes(report) == [
        "non-images-left-out", "set-aside", "assumed-thickness", "set-aside", "assumed-thickness", "burned-in-text",
    ]  # fmt: skip
    assert len(check_path(folder, series="1.2.3.1").parts) == 2
    with pytest.raises(SeriesChoiceError, match="no series"):
        check_path(folder, series="9")


def test_damaged_pixels_are_found(write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
    files = write_series(lettered, oblique)
    files[0].write_bytes(files[0].read_bytes()[:-40])
    report = check_path(files[0].parent)
    assert _codes(report) == ["unreadable"]
    assert report.worst is Severity.ERROR


def test_nifti(tmp_path: Path, lettered: NDArray[np.int16]) -> None:
    import nibabel

    def write(qform: NDArray[Any] | None, sform: NDArray[Any] | None) -> SelfCheck:
        image = nibabel.Nifti1Image(lettered.transpose(2, 1, 0), None)
        image.header["pixdim"][1:4] = (2, 3, 4)
        image.set_qform(qform, code=0 if qform is None else 1)
        image.set_sform(sform, code=0 if sform is None else 1)
        nibabel.save(image, tmp_path / "image.nii")
        return check_path(tmp_path / "image.nii")

    plain, moved, sheared = np.diag([2.0, 3, 4, 1]), np.diag([2.0, 3, 4, 1]), np.diag([2.0, 3, 4, 1])
    moved[:3, 3], sheared[0, 1] = 50, 1.5
    assert _codes(write(plain, plain)) == []
    assert _codes(write(plain, moved)) == ["qform-sform-conflict"]
    assert "sheared-form" in _codes(write(plain, sheared))
    assert _codes(write(None, sheared)) == ["sheared-grid"]
    assert _codes(write(None, None)) == ["no-orientation"]
    assert _codes(write(plain * [0.001, 0.001, 0.001, 1], plain * [0.001, 0.001, 0.001, 1])) == ["absurd-spacing"]


def test_pictures_and_other_files(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.arange(20, dtype=np.uint8).reshape(4, 5)).save(tmp_path / "a.png")
    assert _codes(check_path(tmp_path / "a.png")) == ["no-geometry"]
    (tmp_path / "notes.txt").write_text("nothing")
    assert _codes(check_path(tmp_path / "notes.txt")) == ["unreadable"]
    with pytest.raises(ReadError, match="there is no such file"):
        check_path(tmp_path / "none")


class TestAgainst:
    def _mask(self, folder: Path, geometry: Geometry) -> Path:
        mask = np.zeros(geometry.shape, np.uint8)
        mask[0, 0, 0] = 1
        return write_labelmap(Labelmap(mask, geometry), folder / "mask.nii.gz")[0]

    def test_flips_between_files(self, tmp_path: Path, lettered: NDArray[np.int16], oblique: Geometry) -> None:
        image = write_volume(Volume.from_array(lettered, oblique), tmp_path / "image.nrrd")[0]
        ras = np.array([-1.0, -1.0, 1.0])
        flipped = Geometry(
            oblique.shape, oblique.spacing, tuple(ras * oblique.origin),
            tuple((ras[:, None] * np.reshape(oblique.direction, (3, 3))).ravel()),
        )  # fmt: skip
        half = Geometry(
            oblique.shape, oblique.spacing, tuple(oblique.voxel_to_world((0.5, 0.5, 0.5))), oblique.direction
        )
        for geometry, code in ((oblique, "same-grid"), (flipped, "lps-ras-flip"), (half, "half-voxel")):
            assert _codes(check_against(image, self._mask(tmp_path, geometry))) == [code]

    def test_dicom_and_a_mask_in_another_axis_order(self, shared_data: Path) -> None:
        case = shared_data / "ct_ts_dicom_j2k"
        mask = next(path for path in case.rglob("*.nii.gz"))
        report = check_against(case / "dicom", mask)
        assert _codes(report) == ["axis-order"]
        assert report.worst is Severity.WARNING
