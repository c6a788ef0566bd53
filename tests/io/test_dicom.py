"""DICOM series whose truth is known because the test wrote them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate

from promptseg.errors import ReadError, SeriesChoiceError
from promptseg.io import list_series, read_volume
from promptseg.volume import Geometry, Window

Series = Callable[..., list[Path]]
LETTERED_SHAPE = (4, 5, 7)


def test_oblique_series_in_shuffled_files(write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
    files = write_series(lettered, oblique)
    volume = read_volume(files[0].parent)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, lettered)
    np.testing.assert_allclose(volume.geometry.affine, oblique.affine, atol=2e-5)
    assert volume.modality == "CT"
    assert volume.findings == ()


def test_each_voxel_lies_where_the_standard_puts_it(
    write_series: Series, lettered: NDArray[np.int16], oblique: Geometry
) -> None:
    import pydicom

    files = write_series(lettered, oblique)
    volume = read_volume(files)
    for file in files:  # PS3.3 C.7.6.2.1.1: P = IPP + row cosine * column spacing * j + column cosine * row spacing * i
        dataset = pydicom.dcmread(file)
        cosines = np.asarray(dataset.ImageOrientationPatient, dtype=float)
        row_mm, column_mm = (float(v) for v in dataset.PixelSpacing)
        for i, j in ((0, 0), (4, 0), (0, 6), (4, 6), (2, 3)):
            truth = np.asarray(dataset.ImagePositionPatient, dtype=float)
            truth = truth + cosines[:3] * column_mm * j + cosines[3:] * row_mm * i
            voxel = np.argwhere(volume.array == dataset.pixel_array[i, j])
            np.testing.assert_allclose(volume.geometry.voxel_to_world(voxel[0]), truth, atol=1e-3)


def test_left_handed_stack_is_sorted_along_the_normal(write_series: Series, lettered: NDArray[np.int16]) -> None:
    flipped = Geometry((4, 5, 7), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0), (1, 0, 0, 0, 1, 0, 0, 0, -1))
    volume = read_volume(write_series(lettered, flipped))
    np.testing.assert_array_equal(volume.array, lettered[::-1])
    assert volume.geometry.origin == pytest.approx((5.0, 6.0, 7.0 - 9.0))
    assert np.linalg.det(np.asarray(volume.geometry.direction).reshape(3, 3)) == pytest.approx(1.0)


def test_spacing_comes_from_positions(write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
    files = write_series(lettered, oblique, tags={"SliceThickness": "1.0", "SpacingBetweenSlices": "77"})
    volume = read_volume(files)
    assert volume.geometry.spacing[2] == pytest.approx(2.9, abs=1e-4)
    assert any("gaps between them" in finding for finding in volume.findings)  # 2.9 mm apart, 1 mm thick


def test_other_files_and_folders_are_passed_over(
    write_series: Series, lettered: NDArray[np.int16], oblique: Geometry
) -> None:
    files = write_series(lettered, oblique)
    folder = files[0].parent
    nested = folder / "more" / "deeper"
    nested.mkdir(parents=True)
    files[1].rename(nested / "slice")
    (folder / "notes.txt").write_text("not an image")
    (folder / "empty").touch()
    (folder / "report.pdf").write_bytes(b"%PDF-1.7" + b"\0" * 300)
    np.testing.assert_array_equal(read_volume(folder).array, lettered)


def test_dicomdir_stands_for_its_folder(
    write_series: Series, new_slice: Callable[..., Any], lettered: NDArray[np.int16], oblique: Geometry
) -> None:
    folder = write_series(lettered, oblique)[0].parent
    index = new_slice(lettered[0], "1.2", "1.2.1")
    index.SOPClassUID = index.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    index.save_as(folder / "DICOMDIR", enforce_file_format=True)
    np.testing.assert_array_equal(read_volume(folder / "DICOMDIR").array, lettered)
    np.testing.assert_array_equal(read_volume(folder).array, lettered)


def test_a_name_in_place_of_a_uid_is_not_shown(
    write_series: Series, lettered: NDArray[np.int16], oblique: Geometry
) -> None:
    write_series(lettered, oblique, uid="Doe Jane", folder="both")
    files = write_series(lettered, oblique, uid="1.2.3", folder="both/b", tags={"Modality": "Jane"})
    with pytest.raises(SeriesChoiceError, match="2 image series") as caught:
        read_volume(files[0].parent.parent)
    assert "Jane" not in str(caught.value)


class TestSeriesChoice:
    def test_is_asked_for_and_taken(self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
        write_series(lettered, oblique, uid="1.2.3.4.111", folder="series")
        files = write_series(lettered[:2], oblique, uid="1.2.3.9.222", folder="series/b", tags={"Modality": "MR"})
        folder = files[0].parent.parent
        with pytest.raises(
            SeriesChoiceError, match=r"2 image series.*CT, 7 x 5, 4 images.*MR, 7 x 5, 2 images"
        ) as caught:
            read_volume(folder)
        assert caught.value.choices == ("1.2.3.4.111", "1.2.3.9.222")
        assert [info.images for info in list_series(folder)] == [4, 2]
        for choice in ("2", "1.2.3.9.222", "222", "1.2.3.9"):
            assert read_volume(folder, series=choice).modality == "MR"
        with pytest.raises(SeriesChoiceError, match="fits 2"):
            read_volume(folder, series="1.2.3")
        with pytest.raises(SeriesChoiceError, match="no series '7'"):
            read_volume(folder, series="7")

    def test_localizers_are_left_out(
        self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry
    ) -> None:
        scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
        write_series(lettered[:1], oblique, uid="1.2.3.1", tags=scout, folder="all")
        files = write_series(lettered, oblique, uid="1.2.3.2", folder="all/axial")
        volume = read_volume(files[0].parent.parent)
        np.testing.assert_array_equal(volume.array, lettered)
        assert "1 localizer image(s) were left out" in volume.findings

    def test_mixed_orientations_in_one_series(self, write_series: Series, lettered: NDArray[np.int16]) -> None:
        axial = Geometry((4, 5, 7), (1, 2, 3))
        coronal = Geometry((4, 5, 7), (1, 2, 3), direction=(1, 0, 0, 0, 0, 1, 0, -1, 0))
        files = write_series(lettered, axial, folder="mix")
        files += write_series(lettered, coronal, folder="mix/b")
        with pytest.raises(ReadError, match="90 degrees apart"):
            read_volume(files)
        assert read_volume(files, series="#2").geometry.same_as(read_volume(files[4:]).geometry)


class TestGeometryThatIsRefused:
    def test_gantry_tilt(self, write_series: Series, lettered: NDArray[np.int16]) -> None:
        tilt = np.radians(15)
        cosines = ["1", "0", "0", "0", f"{np.cos(tilt):.9f}", f"{-np.sin(tilt):.9f}"]
        files = write_series(
            lettered, Geometry((4, 5, 7), (0.5, 0.5, 5.0)), tags={"ImageOrientationPatient": cosines}
        )  # the table moves along z, the slices lean
        with pytest.raises(ReadError, match=r"tilted by 15\.0 degrees.*regular grid first"):
            read_volume(files)

    def test_missing_slice(self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
        files = write_series(lettered, oblique)
        keep = [file for file in files if _number(file) != 3]
        with pytest.raises(ReadError, match=r"uneven, from 2\.90 to 5\.80 mm"):
            read_volume(keep)

    def test_duplicate_position(self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
        files = write_series(lettered, oblique)
        twice = files + write_series(lettered[:1] + 1, oblique, folder="again")
        with pytest.raises(ReadError, match="5 images lie at only 4 positions"):
            read_volume(twice)

    def test_missing_position(self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
        files = write_series(lettered, oblique, drop=("ImagePositionPatient",))
        with pytest.raises(ReadError, match=r"ImagePositionPatient \(0020,0032\) is missing or malformed in 4"):
            read_volume(files)

    def test_two_pixel_sizes(self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
        files = write_series(lettered, oblique, each=lambda z: {"PixelSpacing": ["1", "1"] if z else ["1", "1.2"]})
        with pytest.raises(ReadError, match=r"pixel sizes from 1 to 1.2 mm"):
            read_volume(files)


class TestValues:
    def test_hu_stay_integers(self, write_series: Series, oblique: Geometry) -> None:
        stored = np.arange(140, dtype=np.uint16).reshape(LETTERED_SHAPE) * 29
        volume = read_volume(write_series(stored, oblique, tags={"RescaleSlope": "1", "RescaleIntercept": "-1024"}))
        assert volume.array.dtype == np.int16
        np.testing.assert_array_equal(volume.array, stored.astype(int) - 1024)

    def test_slope_per_slice(self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
        files = write_series(
            lettered, oblique, each=lambda z: {"RescaleSlope": str(0.5 + z), "RescaleIntercept": str(0.25 * z)}
        )
        truth = np.stack([lettered[z] * (0.5 + z) + 0.25 * z for z in range(4)])
        volume = read_volume(files)
        assert volume.array.dtype == np.float32
        np.testing.assert_allclose(volume.array, truth, rtol=1e-6)

    def test_values_beyond_16_bits(self, write_series: Series, oblique: Geometry) -> None:
        stored = np.full(LETTERED_SHAPE, 65_000, dtype=np.uint16)
        stored[1] = 3
        volume = read_volume(write_series(stored, oblique, tags={"RescaleSlope": "1", "RescaleIntercept": "-1000"}))
        assert sorted(np.unique(volume.array)) == [-997, 64_000]

    def test_monochrome1_is_inverted_with_its_window(self, write_series: Series, oblique: Geometry) -> None:
        stored = np.arange(140, dtype=np.uint16).reshape(LETTERED_SHAPE) * 29
        tags = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11}
        tags |= {"WindowCenter": "1000.5", "WindowWidth": "201"}  # 900 ... 1100 by C.11.2.1.2.1
        volume = read_volume(write_series(stored, oblique, tags=tags))
        np.testing.assert_array_equal(volume.array, 4095 - stored.astype(int))
        assert (volume.window.low, volume.window.high) == (4095 - 1100, 4095 - 900)
        assert any("MONOCHROME1" in finding for finding in volume.findings)

    def test_monochrome1_in_modality_units(self, write_series: Series, oblique: Geometry) -> None:
        stored = np.arange(140, dtype=np.uint16).reshape(LETTERED_SHAPE) * 29
        tags = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11}
        tags |= {"RescaleSlope": "2", "RescaleIntercept": "-1000"}
        volume = read_volume(write_series(stored, oblique, tags=tags))
        np.testing.assert_allclose(volume.array, (4095 - stored.astype(int)) * 2 - 1000)  # invert, then rescale

    @pytest.mark.parametrize(("function", "low", "high"), [("LINEAR", -160.0, 239.0), ("LINEAR_EXACT", -160.0, 240.0)])
    def test_window_of_the_tags(
        self,
        write_series: Series,
        lettered: NDArray[np.int16],
        oblique: Geometry,
        function: str,
        low: float,
        high: float,
    ) -> None:
        tags = {"WindowCenter": ["40", "600"], "WindowWidth": ["400", "1500"], "VOILUTFunction": function}
        files = write_series(lettered, oblique, tags=tags)
        assert read_volume(files).window == Window(low, high, "dicom")
        own = Window(1.0, 2.0)
        assert read_volume(files, window=own).window == own

    def test_rgb_and_grey_saved_as_rgb(self, write_series: Series, oblique: Geometry) -> None:
        colours = np.arange(4 * 5 * 7 * 3, dtype=np.uint16).astype(np.uint8).reshape(4, 5, 7, 3)
        np.testing.assert_array_equal(read_volume(write_series(colours, oblique)).array, colours)
        grey = np.repeat(colours[..., :1], 3, axis=3)
        np.testing.assert_array_equal(read_volume(write_series(grey, oblique, folder="g")).array, colours[..., 0])

    def test_ybr_becomes_rgb(self, write_series: Series, oblique: Geometry) -> None:
        ybr = np.zeros((4, 5, 7, 3), dtype=np.uint8)
        ybr[...] = (76, 85, 255)  # pure red by the matrix of PS3.3 C.7.6.3.1.2
        volume = read_volume(write_series(ybr, oblique, tags={"PhotometricInterpretation": "YBR_FULL"}))
        assert np.abs(volume.array.astype(int) - (255, 0, 0)).max() <= 2

    @pytest.mark.parametrize(("photometric", "subsampling"), [("YBR_FULL", 0), ("YBR_FULL_422", 2)])
    def test_ultrasound_as_colour_jpeg(
        self, tmp_path: Path, new_slice: Callable[..., Any], photometric: str, subsampling: int
    ) -> None:
        y, x = np.indices((64, 96))
        colours = np.stack([x * 2, y * 3, x + y], axis=-1).astype(np.uint8)  # smooth: half the chroma tells it all
        stream = io.BytesIO()
        Image.fromarray(colours).save(stream, "JPEG", quality=95, subsampling=subsampling)
        dataset = new_slice(colours, "1.2.3", "1.2.3.4", "1.2.840.10008.1.2.4.50")
        dataset.Modality, dataset.PhotometricInterpretation = "US", photometric
        dataset.PixelData = encapsulate([stream.getvalue()])
        dataset.save_as(tmp_path / "us.dcm", enforce_file_format=True)
        volume = read_volume(tmp_path / "us.dcm")
        assert volume.is_rgb
        assert np.abs(volume.array[0].astype(int) - colours).max() <= 5

    @pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"])
    def test_implicit_and_deflated(
        self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry, syntax: str
    ) -> None:
        np.testing.assert_array_equal(read_volume(write_series(lettered, oblique, syntax=syntax)).array, lettered)

    def test_run_lengths(self, tmp_path: Path, new_slice: Callable[..., Any], lettered: NDArray[np.int16]) -> None:
        dataset = new_slice(lettered[0], "1.2.3", "1.2.3.4")
        dataset.compress("1.2.840.10008.1.2.5")
        dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        np.testing.assert_array_equal(read_volume(tmp_path / "a.dcm").array[0], lettered[0])

    def test_twelve_bits_packed(self, tmp_path: Path, new_slice: Callable[..., Any]) -> None:
        values = np.random.default_rng(2).integers(0, 4096, (3, 4), dtype=np.uint16)
        bits = "".join(f"{v:012b}"[::-1] for v in values.ravel())  # least significant bit first, one after the other
        packed = bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))
        dataset = new_slice(values, "1.2.3", "1.2.3.1")
        dataset.BitsAllocated = dataset.BitsStored = 12
        dataset.HighBit, dataset.PixelData = 11, packed
        dataset.save_as(tmp_path / "old", enforce_file_format=True)
        np.testing.assert_array_equal(read_volume(tmp_path / "old").array[0], values)


class TestSingleImages:
    def test_depth_is_guessed_and_said(
        self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry
    ) -> None:
        (file,) = write_series(lettered[:1], oblique, tags={"SliceThickness": "4.5"})
        volume = read_volume(file)
        assert volume.geometry.spacing == pytest.approx((0.7, 1.3, 4.5))
        assert any("SliceThickness" in finding for finding in volume.findings)

    def test_detector_spacing(self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
        drop = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
        (file,) = write_series(lettered[:1], oblique, tags={"ImagerPixelSpacing": ["0.2", "0.3"]}, drop=drop)
        volume = read_volume(file)
        assert volume.geometry.spacing[:2] == pytest.approx((0.3, 0.2))
        assert any("ImagerPixelSpacing" in finding for finding in volume.findings)
        assert any("where the image lies" in finding for finding in volume.findings)

    def test_no_spacing_at_all(self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
        (file,) = write_series(lettered[:1], oblique, drop=("PixelSpacing",))
        volume = read_volume(file)
        assert volume.geometry.spacing[:2] == (1.0, 1.0)
        assert any("PixelSpacing (0028,0030)" in finding for finding in volume.findings)


class TestFourDimensions:
    def test_echoes_at_one_place_are_frames(
        self, write_series: Series, lettered: NDArray[np.int16], oblique: Geometry
    ) -> None:
        files = write_series(lettered, oblique, tags={"EchoTime": "30"}, folder="a")
        files += write_series(lettered + 1000, oblique, tags={"EchoTime": "10"}, folder="b")
        first = read_volume(files)
        np.testing.assert_array_equal(first.array, lettered + 1000)  # the shorter echo comes first
        assert any("2 frames, told apart by EchoTime" in finding for finding in first.findings)
        second = read_volume(files, frame=1)
        np.testing.assert_array_equal(second.array, lettered)
        assert second.findings == ()
        with pytest.raises(ReadError, match="expected a frame from 0 to 1"):
            read_volume(files, frame=2)

    def test_cine_loop(self, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
        file = _multiframe(tmp_path / "loop", lettered, Modality="US")
        assert read_volume(file).array.shape == (1, 5, 7)
        assert any("holds 4 frames" in finding for finding in read_volume(file).findings)
        np.testing.assert_array_equal(read_volume(file, frame=3).array[0], lettered[3])


class TestMultiFrame:
    def test_enhanced_with_frames_out_of_order(
        self, tmp_path: Path, lettered: NDArray[np.int16], oblique: Geometry
    ) -> None:
        order = [2, 0, 3, 1]
        file = _multiframe(tmp_path / "enhanced", lettered[order], PerFrameFunctionalGroupsSequence=[
            _groups(oblique, z, slope=1 + z) for z in order
        ])  # fmt: skip
        volume = read_volume(file)
        truth = np.stack([lettered[z] * (1.0 + z) for z in range(4)])
        np.testing.assert_allclose(volume.array, truth, rtol=1e-6)
        np.testing.assert_allclose(volume.geometry.affine, oblique.affine, atol=2e-5)

    def test_frame_count_that_disagrees(self, tmp_path: Path, lettered: NDArray[np.int16], oblique: Geometry) -> None:
        groups = [_groups(oblique, z) for z in range(3)]
        file = _multiframe(tmp_path / "bad", lettered, PerFrameFunctionalGroupsSequence=groups)
        with pytest.raises(ReadError, match=r"says 4.*has 3 items"):
            read_volume(file)

    def test_dose_grid(self, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
        file = _multiframe(
            tmp_path / "dose", lettered, Modality="RTDOSE", GridFrameOffsetVector=[0.0, 2.5, 5.0, 7.5],
            ImagePositionPatient=[1.0, 2.0, 3.0], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[2, 3],
            DoseGridScaling="0.5",
        )  # fmt: skip
        volume = read_volume(file)
        np.testing.assert_allclose(volume.array, lettered * 0.5)
        assert volume.geometry.spacing == (3.0, 2.0, 2.5)
        assert volume.geometry.origin == (1.0, 2.0, 3.0)
        assert any("dose" in finding for finding in volume.findings)


def test_no_identity_leaves_the_reader(write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
    files = write_series(lettered, oblique, tags={"Modality": "RTDOSE", "PhotometricInterpretation": "MONOCHROME1"})
    texts = list(read_volume(files).findings) + [str(info) for info in list_series(files[0].parent)]
    (cut := files[0].parent / "cut").write_bytes(files[0].read_bytes()[:-40])
    with pytest.raises(ReadError) as caught:
        read_volume(cut)
    texts += [str(caught.value), repr(list_series(files[0].parent))]
    for text in texts:
        for secret in ("Doe", "Jane", "4711", "1901"):
            assert secret not in text


def _number(file: Path) -> int:
    import pydicom

    return int(pydicom.dcmread(file).InstanceNumber)


def _multiframe(file: Path, frames: NDArray[np.int16], **tags: Any) -> Path:
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SeriesInstanceUID, dataset.Modality = meta.MediaStorageSOPClassUID, "1.2.3", "MR"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = str(len(frames)), *frames.shape[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelData = frames.tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.save_as(file, enforce_file_format=True)
    return file


def _groups(geometry: Geometry, z: int, slope: float = 1.0) -> Any:
    from pydicom.dataset import Dataset

    axes = np.asarray(geometry.direction).reshape(3, 3)
    position = np.asarray(geometry.origin) + axes[:, 2] * geometry.spacing[2] * z
    item = Dataset()
    parts = {
        "PlanePositionSequence": {"ImagePositionPatient": [f"{v:.8g}" for v in position]},
        "PlaneOrientationSequence": {"ImageOrientationPatient": [f"{v:.9f}" for v in (*axes[:, 0], *axes[:, 1])]},
        "PixelMeasuresSequence": {"PixelSpacing": [str(geometry.spacing[1]), str(geometry.spacing[0])]},
        "PixelValueTransformationSequence": {"RescaleSlope": str(slope), "RescaleIntercept": "0"},
    }
    for keyword, values in parts.items():
        part = Dataset()
        for name, value in values.items():
            setattr(part, name, value)
        setattr(item, keyword, [part])
    return item


def test_a_jpeg_2000_box_of_no_length_is_refused(tmp_path: Path, new_slice: Callable[..., Any]) -> None:
    """pydicom 3.0 looks for the code stream in an endless loop there."""
    from pydicom.encaps import encapsulate

    boxes = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 " + b"\0\0\0\0jp2h" + b"\0" * 40
    dataset = new_slice(np.zeros((8, 6), np.int16), "1.2.3", "1.2.3.4", "1.2.840.10008.1.2.4.90")
    dataset.PixelData = encapsulate([boxes])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(ReadError, match=r"JPEG 2000\) are damaged"):
        read_volume(tmp_path / "a.dcm")
