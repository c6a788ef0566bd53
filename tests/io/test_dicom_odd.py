"""DICOM as archives and exports leave it: copies, gaps in one phase, missing rescale, padding, high bits, palettes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_phantoms import slice_dataset
from numpy.typing import NDArray
from pydicom.fileset import FileSet

from promptseg.errors import PromptError, ReadError
from promptseg.io import list_series, read_volume
from promptseg.measure import measure_intensity
from promptseg.volume import Geometry, Volume

Series = Callable[..., list[Path]]


def codes(volume: Volume) -> list[str]:
    return [finding.code for finding in volume.findings]


def changed(path: Path, **tags: Any) -> Path:
    dataset = pydicom.dcmread(path)
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


class TestRescale:
    @pytest.mark.parametrize("missing", [("RescaleSlope", "RescaleIntercept"), ()])
    def test_slices_without_it(
        self, missing: tuple[str, ...], lettered: NDArray[np.int16], oblique: Geometry, write_series: Series
    ) -> None:
        files = write_series(lettered, oblique, tags={"RescaleSlope": 1, "RescaleIntercept": -1024})
        for path in files[:2] if missing else ():
            changed(path, **dict.fromkeys(missing))
        if missing:
            with pytest.raises(ReadError, match=r"2 of its 4 images lack RescaleSlope .* -1024 in others"):
                read_volume(files[0].parent)
        else:
            np.testing.assert_array_equal(read_volume(files[0].parent).array, lettered - 1024)

    def test_where_the_others_change_nothing(
        self, lettered: NDArray[np.int16], oblique: Geometry, write_series: Series
    ) -> None:
        files = write_series(lettered, oblique, tags={"RescaleSlope": 1, "RescaleIntercept": 0})
        changed(files[1], RescaleSlope=None, RescaleIntercept=None)
        np.testing.assert_array_equal(read_volume(files[0].parent).array, lettered)


class TestPadding:
    @pytest.mark.parametrize("intercept", [0, -1024])
    @pytest.mark.parametrize("limit", [None, -1990])
    def test_it_counts_in_no_measurement(
        self, intercept: int, limit: int | None, lettered: NDArray[np.int16], oblique: Geometry, write_series: Series
    ) -> None:
        padded = lettered.copy()
        padded[:, :2] = -2000
        padded[:, 1, 3] = -1995  # within the limit, where there is one
        tags = {"RescaleSlope": 1, "RescaleIntercept": intercept, "PixelPaddingValue": -2000}
        files = write_series(padded, oblique, tags=tags | ({} if limit is None else {"PixelPaddingRangeLimit": limit}))
        volume = read_volume(files[0].parent)
        np.testing.assert_array_equal(volume.array, padded.astype(int) + intercept)  # voxels stay as they are
        real = padded > -1990 if limit is not None else padded != -2000
        measured = measure_intensity(np.ones(volume.shape, bool), volume)
        assert measured.mean == pytest.approx((padded[real].astype(float) + intercept).mean())
        assert measured.minimum == padded[real].min() + intercept
        assert next(str(f) for f in volume.findings if f.code == "padding").startswith(f"{(~real).sum()} voxels hold")
        with pytest.raises(PromptError, match="nothing but padding"):
            measure_intensity(padded == -2000, volume)

    def test_unsigned_in_a_signed_tag(
        self, lettered: NDArray[np.int16], oblique: Geometry, write_series: Series
    ) -> None:
        padded = (lettered + 300).astype(np.uint16)
        padded[0, 0] = 63_536
        files = write_series(padded, oblique, tags={"PixelPaddingValue": 63_536})
        volume = read_volume(files[0].parent)
        assert volume.padding == (63_536.0, 63_536.0)
        assert measure_intensity(np.ones(volume.shape, bool), volume).maximum == padded[padded < 60_000].max()


class TestHighBit:
    @pytest.mark.parametrize(("stored", "high"), [(12, 15), (12, 13), (10, 15), (8, 15)])
    @pytest.mark.parametrize("signed", [False, True])
    def test_values_that_lie_above_the_lowest_bit(self, stored: int, high: int, signed: bool, tmp_path: Path) -> None:
        low = -(2 ** (stored - 1)) if signed else 0
        values = (np.arange(35).reshape(5, 7) * 31 % 2**stored + low).astype(np.int64)
        shift = high + 1 - stored
        junk = (1 << shift) - 1  # old overlays lie below
        raw = ((values & (2**stored - 1)) << shift | junk).astype(np.uint16)
        dataset = slice_dataset(raw, "1.2.3", "1.2.3.4")
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = stored, high, int(signed)
        dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        np.testing.assert_array_equal(read_volume(tmp_path / "a.dcm").array[0], values)


@pytest.mark.parametrize("scale", [1, 257])
def test_a_palette_of_16_bits_that_holds_bytes(scale: int, tmp_path: Path) -> None:
    indices = (np.arange(35, dtype=np.uint8).reshape(5, 7) * 3) % 64
    dataset = slice_dataset(indices, "1.2.3", "1.2.3.4")
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    tables = np.stack([np.arange(64) * 4, 255 - np.arange(64) * 2, np.arange(64) % 7 * 30]).astype("<u2")
    for name, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [64, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", (table * scale).astype("<u2").tobytes())
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.dcm").array[0], tables.T[indices])


class TestDirectory:
    def test_as_pydicom_writes_it(
        self, lettered: NDArray[np.int16], oblique: Geometry, write_series: Series, tmp_path: Path
    ) -> None:
        named = {"StudyInstanceUID": "1.2.5", "PatientID": "x", "StudyDate": "20200101", "StudyTime": "101112"}
        files = write_series(lettered, oblique, tags=named | {"StudyID": "1", "SeriesNumber": 1})
        medium = FileSet()
        for path in files:
            medium.add(path)
        medium.write(tmp_path / "medium")
        medium._stage["t"].cleanup()  # else it warns of its own temporary folder
        assert "SOPClassUID" not in pydicom.dcmread(tmp_path / "medium" / "DICOMDIR")
        np.testing.assert_array_equal(read_volume(tmp_path / "medium" / "DICOMDIR").array, lettered)
        np.testing.assert_array_equal(read_volume(tmp_path / "medium").array, lettered)  # the folder, index and all

    def test_as_dcmtk_writes_it(
        self, lettered: NDArray[np.int16], oblique: Geometry, write_series: Series, tmp_path: Path
    ) -> None:
        """No preamble's difference: dcmmkdir states the class in the meta header and file names without endings."""
        files = write_series(lettered, oblique, folder="SERIES")
        item = [pydicom.Dataset() for _ in files]
        for record, path in zip(item, files, strict=True):
            record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", [path.parent.name, path.name]
        directory = pydicom.Dataset()
        directory.DirectoryRecordSequence = item
        directory.file_meta = pydicom.dataset.FileMetaDataset()
        directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
        directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3.9"
        directory.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        where = files[0].parent.parent / "DICOMDIR"
        directory.save_as(where, enforce_file_format=True)
        np.testing.assert_array_equal(read_volume(where).array, lettered)


class TestCopies:
    @pytest.mark.parametrize("kind", ["bytes", "other header", "implicit"])
    def test_of_one_instance_are_left_out(
        self, kind: str, lettered: NDArray[np.int16], oblique: Geometry, write_series: Series
    ) -> None:
        files = write_series(lettered, oblique)
        copy = files[0].with_name("again")
        shutil.copy(files[0], copy)
        if kind == "other header":
            changed(copy, PatientName="Other^Name")
        elif kind == "implicit":
            dataset = pydicom.dcmread(copy)
            dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
            dataset.save_as(copy, enforce_file_format=True)
        volume = read_volume(files[0].parent)
        np.testing.assert_array_equal(volume.array, lettered)
        assert "copies-left-out" in codes(volume)
        assert list_series(files[0].parent)[0].images == 4

    def test_with_other_pixels_are_no_copies(
        self, lettered: NDArray[np.int16], oblique: Geometry, write_series: Series
    ) -> None:
        files = write_series(lettered, oblique)
        copy = files[0].with_name("again")
        shutil.copy(files[0], copy)
        changed(copy, PixelData=pydicom.dcmread(copy).PixelData[::-1])
        with pytest.raises(ReadError, match="5 images lie at only 4 positions"):
            read_volume(files[0].parent)


class TestGapInOnePhase:
    @pytest.mark.parametrize("tag", ["AcquisitionNumber", "TemporalPositionIdentifier", "EchoTime"])
    @pytest.mark.parametrize("phase", [0, 1, 2])
    def test_whole_phases_are_read(
        self, phase: int, tag: str, lettered: NDArray[np.int16], oblique: Geometry, write_series: Series
    ) -> None:
        for number in range(3):
            files = write_series(lettered + number, oblique, folder=f"all/{number}", tags={tag: number + 1})
            for path in files:
                changed(path, SOPInstanceUID=f"1.2.3.{number}.{path.name[2:].lstrip('0') or '0'}")
        next(iter(sorted((files[0].parent.parent / str(phase)).iterdir()))).unlink()
        root = files[0].parent.parent
        for number in range(3):
            if number == phase:
                with pytest.raises(ReadError, match=rf"frame {phase} of .* has 3 of 4 slices; whole are the frames"):
                    read_volume(root, frame=number)
            else:
                np.testing.assert_array_equal(read_volume(root, frame=number).array, lettered + number)
        first = read_volume(root)
        np.testing.assert_array_equal(first.array, lettered + (1 if phase == 0 else 0))
        assert "slices-missing-in-frames" in codes(first)


def test_a_part_of_a_mixed_series_by_its_name(
    lettered: NDArray[np.int16], oblique: Geometry, write_series: Series
) -> None:
    """A batch gives each case the files of its part alone, under the name that the whole folder gave it."""
    files = write_series(lettered, oblique, folder="mixed/axial")
    write_series(lettered[:1], Geometry((1, 5, 7), direction=(0, 0, 1, 1, 0, 0, 0, 1, 0)), folder="mixed/other")
    parts = list_series(files[0].parent.parent)
    assert [info.images for info in parts] == [4, 1]
    for info, truth in zip(parts, (lettered, lettered[:1]), strict=True):
        np.testing.assert_array_equal(read_volume(list(info.files), series=info.id).array, truth)
