"""What belongs together: DICOMDIR's list, screen shots aside, volumes of a 4D series by their tags."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from promptseg.errors import ReadError, SeriesChoiceError
from promptseg.io import list_series, read_volume
from promptseg.volume import Geometry

Series = Callable[..., list[Path]]


def _directory(folder: Path, names: list[Any], new_slice: Callable[..., Any]) -> Path:
    """Write a DICOMDIR that lists these files (PS3.3 F.3: ReferencedFileID holds the components of the path)."""
    from pydicom.dataset import Dataset

    index = new_slice(np.zeros((2, 2), np.int16), "1.2", "1.2.1")
    index.SOPClassUID = index.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    del index.PixelData
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that the standard forbids are what some tests are about
        records = []
        for name in names:
            record = Dataset()
            record.DirectoryRecordType, record.PatientName = "IMAGE", "Doe^Jane"
            record.ReferencedFileID = name
            records.append(record)
        index.DirectoryRecordSequence = records
        index.save_as(folder / "DICOMDIR", enforce_file_format=True)
    return folder / "DICOMDIR"


class TestDicomdir:
    def test_its_own_list_is_read(
        self, write_series: Series, new_slice: Callable[..., Any], lettered: NDArray[np.int16], oblique: Geometry
    ) -> None:
        files = write_series(lettered, oblique, folder="disc/DATA")
        write_series(lettered + 1, oblique, folder="disc/OTHER", uid="1.2.3.9")  # not listed: not read
        disc = files[0].parent.parent
        path = _directory(disc, [["data", file.name.lower()] for file in files], new_slice)  # as on a disc in capitals
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.array, lettered)
        assert volume.findings == ()

    def test_missing_files_are_told(
        self, write_series: Series, new_slice: Callable[..., Any], lettered: NDArray[np.int16], oblique: Geometry
    ) -> None:
        files = write_series(lettered, oblique, folder="disc")
        path = _directory(files[0].parent, [file.name for file in files] + ["GONE"], new_slice)
        volume = read_volume(path)
        assert [finding.code for finding in volume.findings] == ["listed-files-missing"]
        assert "1 of the 5 files" in volume.findings[0]

    @pytest.mark.parametrize("name", [["..", "secret"], ["/etc", "passwd"], ["a/../../secret"]])
    def test_names_that_lead_out_are_passed_over(
        self, tmp_path: Path, new_slice: Callable[..., Any], name: list[str]
    ) -> None:
        (tmp_path / "disc").mkdir()
        new_slice(np.zeros((2, 2), np.int16), "1.2", "1.2.1").save_as(tmp_path / "secret", enforce_file_format=True)
        with pytest.raises(ReadError, match="DICOMDIR, an index of other files, and none of the 1 files"):
            read_volume(_directory(tmp_path / "disc", [name], new_slice))


class TestSetAside:
    @pytest.mark.parametrize(
        "tags",
        [
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"},
            {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
        ],
    )
    def test_screen_shots(
        self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry, tags: dict[str, Any]
    ) -> None:
        write_series(lettered[:2, :3], oblique, uid="1.2.3.1", tags=tags, folder="all/shots")
        files = write_series(lettered, oblique, uid="1.2.3.2", folder="all/axial")
        volume = read_volume(files[0].parent.parent)
        np.testing.assert_array_equal(volume.array, lettered)
        assert volume.findings == ("2 secondary capture(s) (screen shots and the like) were left out",)

    def test_a_screen_shot_inside_the_series(
        self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry
    ) -> None:
        shot = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}
        files = write_series(lettered, oblique) + write_series(lettered[:1], oblique, tags=shot, folder="shot")
        volume = read_volume(files)
        np.testing.assert_array_equal(volume.array, lettered)
        assert [finding.code for finding in volume.findings] == ["secondary-captures-left-out"]

    def test_two_image_series_are_still_for_a_person_to_choose(
        self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry
    ) -> None:
        shot = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}
        write_series(lettered[:1], oblique, uid="1.2.3.1", tags=shot, folder="all/a")
        write_series(lettered, oblique, uid="1.2.3.2", folder="all/b")
        files = write_series(lettered, oblique, uid="1.2.3.3", folder="all/c")
        with pytest.raises(SeriesChoiceError, match=r"\[1\] secondary capture, CT"):
            read_volume(files[0].parent.parent)


class TestFourDimensions:
    def test_b_values_of_every_vendor(
        self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry
    ) -> None:
        import pydicom

        vendors: list[tuple[tuple[int, int], str, str, Callable[[int], Any]]] = [
            ((0x0019, 0x100C), "SIEMENS MR HEADER", "IS", str),
            ((0x2001, 0x1003), "Philips Imaging DD 001", "FL", float),
            ((0x0043, 0x1039), "GEMS_PARM_01", "IS", lambda b: [str(1_000_000_000 + b), "8", "0", "0"]),
        ]
        for number, (tag, creator, kind, value) in enumerate(vendors):
            files = []
            for b in (1000, 0):
                part = write_series(lettered + b, oblique, uid=f"1.2.3.{number}", folder=f"v{number}/b{b}")
                for file in part:
                    dataset = pydicom.dcmread(file)
                    block = dataset.private_block(tag[0], creator, create=True)
                    block.add_new(tag[1] & 0xFF, kind, value(b))
                    dataset.save_as(file)
                files += part
            (info,) = list_series(files[0].parent.parent)
            assert info.volumes == ("DiffusionBValue 0", "DiffusionBValue 1000")
            assert "in 2 frames (DiffusionBValue 0, DiffusionBValue 1000)" in str(info)
            np.testing.assert_array_equal(read_volume(files, frame=1).array, lettered + 1000)

    def test_cardiac_phases(self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
        files = []
        for phase in (40, 0, 80):
            tags = {"NominalPercentageOfCardiacPhase": float(phase)}
            files += write_series(lettered + phase, oblique, tags=tags, folder=f"all/p{phase}")
        (info,) = list_series(files[0].parent.parent)
        assert info.volumes == tuple(f"NominalPercentageOfCardiacPhase {phase}" for phase in (0, 40, 80))
        np.testing.assert_array_equal(read_volume(files, frame=2).array, lettered + 80)

    def test_times_of_day_are_not_shown(
        self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry
    ) -> None:
        files = write_series(
            lettered, oblique, each=lambda z: {"AcquisitionTime": f"13450{z}.5"}, folder="all/a"
        ) + write_series(lettered + 5, oblique, each=lambda z: {"AcquisitionTime": f"13460{z}.5"}, folder="all/b")
        (info,) = list_series(files[0].parent.parent)
        assert info.volumes == ("AcquisitionTime #0", "AcquisitionTime #1")
        np.testing.assert_array_equal(read_volume(files, frame=1).array, lettered + 5)

    @pytest.mark.parametrize("by_place", [False, True])
    def test_instance_numbers_are_the_last_resort(
        self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry, by_place: bool
    ) -> None:
        first = (lambda z: 2 * z + 1) if by_place else (lambda z: z + 1)
        second = (lambda z: 2 * z + 2) if by_place else (lambda z: z + 5)
        files = write_series(lettered + 9, oblique, each=lambda z: {"InstanceNumber": second(z)}, folder="b")
        files += write_series(lettered, oblique, each=lambda z: {"InstanceNumber": first(z)}, folder="a")
        np.testing.assert_array_equal(read_volume(files).array, lettered)
        np.testing.assert_array_equal(read_volume(files, frame=1).array, lettered + 9)
        assert any("told apart by InstanceNumber" in finding for finding in read_volume(files).findings)

    def test_the_same_numbers_twice_are_refused(
        self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry
    ) -> None:
        files = write_series(lettered, oblique) + write_series(lettered + 1, oblique, folder="again")
        with pytest.raises(ReadError, match="8 images lie at only 4 positions"):
            read_volume(files)

    def test_a_plain_series_has_no_list(
        self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry
    ) -> None:
        (info,) = list_series(write_series(lettered, oblique)[0].parent)
        assert info.volumes == ()
