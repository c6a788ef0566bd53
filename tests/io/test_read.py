"""Sources and formats other than DICOM."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from numpy.typing import NDArray

from promptseg.errors import ReadError
from promptseg.io import list_series, read_volume, write_volume
from promptseg.volume import Geometry, Volume, Window

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class TestSources:
    def test_simpleitk_image(self, lettered: NDArray[np.int16]) -> None:
        image = sitk.GetImageFromArray(lettered)
        image.SetSpacing((0.5, 1.5, 3.0))
        image.SetOrigin((10, -20, 30))
        image.SetDirection((0, 0, 1, -1, 0, 0, 0, -1, 0))
        volume = read_volume(image)
        np.testing.assert_array_equal(volume.array, lettered)
        for z, y, x in ((0, 0, 0), (3, 4, 6), (1, 0, 5)):
            truth = image.TransformIndexToPhysicalPoint((x, y, z))
            np.testing.assert_allclose(volume.geometry.voxel_to_world((z, y, x)), truth)

    def test_flat_simpleitk_image(self) -> None:
        image = sitk.GetImageFromArray(np.arange(6, dtype=np.uint8).reshape(2, 3))
        image.SetSpacing((0.5, 0.25))
        volume = read_volume(image)
        assert volume.array.shape == (1, 2, 3)
        assert volume.geometry.spacing == (0.5, 0.25, 1.0)

    def test_array_with_geometry(self, lettered: NDArray[np.int16], oblique: Geometry) -> None:
        volume = read_volume((lettered, oblique), window=Window(1, 2))
        assert volume.array is lettered  # not copied
        assert volume.geometry is oblique
        assert volume.window == Window(1, 2)

    def test_pictures_become_slices(self, tmp_path: Path) -> None:
        files = []
        for name, value in (("b.png", 10), ("a.png", 20), ("c.png", 30)):
            image = sitk.GetImageFromArray(np.full((4, 6), value, dtype=np.uint8))
            sitk.WriteImage(image, str(tmp_path / name))
            files.append(str(tmp_path / name))
        volume = read_volume(files)
        assert volume.array.shape == (3, 4, 6)
        assert volume.array[:, 0, 0].tolist() == [10, 20, 30]
        assert any("stacked in the order given" in finding for finding in volume.findings)

    @pytest.mark.parametrize("source", [42, None, [], ["a", 3], {"a": 1}])
    def test_other_things(self, source: object) -> None:
        with pytest.raises(ReadError, match="expected"):
            read_volume(source)


class TestNifti:
    def test_conflicting_frames_are_told(self, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
        path = _nifti(tmp_path, lettered, sform=np.diag([2, 3, 4, 1]), qform=_moved(np.diag([2, 3, 4, 1]), 7.5))
        volume = read_volume(path)
        assert any(r"disagree by up to 7.5 mm" in finding for finding in volume.findings)
        used = LPS @ np.diag([2.0, 3.0, 4.0, 1.0])
        assert any(np.allclose(volume.geometry.affine, m) for m in (used, _moved(used, -7.5)))

    def test_sheared_sform_beside_a_good_qform(self, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
        sheared = np.diag([2.0, 3.0, 4.0, 1.0])
        sheared[0, 1] = 1.0
        path = _nifti(tmp_path, lettered, sform=sheared, qform=np.diag([2, 3, 4, 1]))
        volume = read_volume(path)
        np.testing.assert_allclose(volume.geometry.affine, LPS @ np.diag([2.0, 3.0, 4.0, 1.0]), atol=1e-6)
        assert any(r"sform is sheared by 18.4 degrees" in finding for finding in volume.findings)  # atan(1 / 3)

    def test_shear_without_another_frame(self, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
        sheared = np.diag([2.0, 3.0, 4.0, 1.0])
        sheared[0, 1] = 1.0
        with pytest.raises(ReadError, match=r"sheared|not perpendicular"):
            read_volume(_nifti(tmp_path, lettered, sform=sheared, qform=None))

    def test_no_frame(self, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
        volume = read_volume(_nifti(tmp_path, lettered, sform=None, qform=None))
        assert any("left and right cannot be told" in finding for finding in volume.findings)

    @pytest.mark.parametrize(("unit", "scale"), [("mm", 1.0), ("micron", 1e-3), ("meter", 1e3)])
    def test_units(self, tmp_path: Path, lettered: NDArray[np.int16], unit: str, scale: float) -> None:
        path = _nifti(tmp_path, lettered, sform=np.diag([2, 3, 4, 1]), qform=np.diag([2, 3, 4, 1]), unit=unit)
        volume = read_volume(path)
        assert volume.geometry.spacing == pytest.approx((2 * scale, 3 * scale, 4 * scale))
        assert [finding.code for finding in volume.findings] == ([] if scale == 1 else ["absurd-spacing"])

    def test_slope(self, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
        path = _nifti(tmp_path, lettered, sform=np.eye(4), qform=None, slope=(0.5, -3.0))
        np.testing.assert_allclose(read_volume(path).array, lettered * 0.5 - 3)

    def test_frames_over_time(self, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
        path = _nifti(
            tmp_path, np.stack([lettered, lettered + 1, lettered + 2]), sform=np.diag([2, 3, 4, 1]), qform=None
        )
        first = read_volume(path)
        np.testing.assert_array_equal(first.array, lettered)
        assert any("3 frames" in finding for finding in first.findings)
        last = read_volume(path, frame=2)
        np.testing.assert_array_equal(last.array, lettered + 2)
        assert last.geometry.same_as(first.geometry)
        assert last.findings == ()
        with pytest.raises(ReadError, match="expected a frame from 0 to 2"):
            read_volume(path, frame=3)

    def test_five_dimensions(self, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
        five = np.broadcast_to(lettered, (2, 3, *lettered.shape))
        with pytest.raises(ReadError, match=r"dimensions|components"):
            read_volume(_nifti(tmp_path, np.ascontiguousarray(five), sform=np.eye(4), qform=None))

    def test_voxels_that_are_no_numbers(self, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
        array = lettered.astype(np.float32)
        array[0, 0, 0], array[1, 1, 1], array[2, 2, 2] = np.nan, np.inf, -np.inf
        volume = read_volume(_nifti(tmp_path, array, sform=np.eye(4), qform=None))
        rest = np.delete(lettered.ravel(), [0, 43, 86])
        assert volume.array[0, 0, 0] == volume.array[2, 2, 2] == rest.min()
        assert volume.array[1, 1, 1] == rest.max()
        assert any("3 of 140 voxels are not finite" in finding for finding in volume.findings)
        with pytest.raises(ReadError, match="not one of its 140 voxels"):
            read_volume(_nifti(tmp_path, np.full_like(array, np.nan), sform=np.eye(4), qform=None))

    def test_oblique_single_slice(self, tmp_path: Path, oblique: Geometry) -> None:
        affine = LPS @ oblique.affine
        flat = np.arange(35, dtype=np.int16).reshape(1, 5, 7)
        volume = read_volume(_nifti(tmp_path, flat, sform=affine, qform=None))
        np.testing.assert_allclose(volume.geometry.affine, oblique.affine, rtol=1e-5, atol=1e-5)


class TestMgh:
    def test_against_nibabel(self, tmp_path: Path, lettered: NDArray[np.int16], oblique: Geometry) -> None:
        import nibabel

        for name in ("image.mgz", "image.mgh"):
            nibabel.save(nibabel.MGHImage(lettered.T.copy(), LPS @ oblique.affine), tmp_path / name)
            volume = read_volume(tmp_path / name)
            np.testing.assert_array_equal(volume.array, lettered)
            np.testing.assert_allclose(volume.geometry.affine, oblique.affine, rtol=1e-4, atol=1e-4)

    def test_mgh_places_an_image_where_its_flag_is_above_zero(
        self, tmp_path: Path, lettered: np.ndarray, oblique: Geometry
    ) -> None:
        import nibabel

        content = bytearray(nibabel.MGHImage(lettered.T.copy(), LPS @ oblique.affine).to_bytes())
        for flag, placed in ((2, True), (0, False), (-1, False)):
            content[28:30] = flag.to_bytes(2, "big", signed=True)
            (tmp_path / "a.mgh").write_bytes(content)
            volume = read_volume(tmp_path / "a.mgh")
            assert np.allclose(volume.geometry.affine, oblique.affine, atol=1e-4) is placed
            assert any("no orientation" in finding for finding in volume.findings) is not placed

    def test_mgh_with_a_place_that_is_no_number(self, tmp_path: Path, lettered: np.ndarray, oblique: Geometry) -> None:
        import nibabel

        content = bytearray(nibabel.MGHImage(lettered.T.copy(), LPS @ oblique.affine).to_bytes())
        content[30:34] = b"\x7f\xc0\0\0"  # NaN
        (tmp_path / "a.mgh").write_bytes(content)
        with pytest.raises(ReadError, match="a place that is no number"):
            read_volume(tmp_path / "a.mgh")


class TestPictures:
    def test_sixteen_bits_stay(self, tmp_path: Path) -> None:
        array = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "deep.png"))
        volume = read_volume(tmp_path / "deep.png")
        assert volume.array.dtype == np.uint16
        np.testing.assert_array_equal(volume.array[0], array)

    def test_transparency_is_dropped_and_told(self, tmp_path: Path) -> None:
        array = np.random.default_rng(0).integers(0, 256, (5, 6, 4), dtype=np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / "a.png"))
        volume = read_volume(tmp_path / "a.png")
        np.testing.assert_array_equal(volume.array[0], array[..., :3])
        assert any("transparency" in finding for finding in volume.findings)

    def test_tiff_stack(self, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
        array = (lettered + 400).astype(np.uint16)
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "stack.tif"))
        volume = read_volume(tmp_path / "stack.tif")
        np.testing.assert_array_equal(volume.array, array)
        assert any("1 mm was assumed" in finding for finding in volume.findings)

    def test_note_of_another_picture_is_not_used(self, tmp_path: Path) -> None:
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4), dtype=np.uint8)), str(tmp_path / "a.png"))
        write_volume(
            Volume.from_array(np.zeros((1, 5, 4), dtype=np.uint8), Geometry((1, 5, 4), (9, 9, 9))), tmp_path / "b.png"
        )
        (tmp_path / "b.png.json").rename(tmp_path / "a.png.json")
        volume = read_volume(tmp_path / "a.png")
        assert volume.geometry.spacing == (1.0, 1.0, 1.0)
        assert any("of another image" in finding for finding in volume.findings)
        (tmp_path / "a.png.json").write_text(json.dumps({"format": "promptseg geometry"}))
        with pytest.raises(ReadError, match=r"note a.png.json beside it is damaged"):
            read_volume(tmp_path / "a.png")


class TestUnreadable:
    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("empty.nii.gz", b"", "empty"),
            ("empty.dcm", b"", "empty"),
            ("renamed.dcm", b"%PDF-1.7\n" + b"x" * 2000, "PDF"),
            ("renamed.nii", b"%PDF-1.7\n" + b"x" * 2000, "PDF"),
            ("archive.nrrd", b"PK\x03\x04" + b"\0" * 600, "zip"),
            ("words.png", b"hello, this is text\n" * 40, "text"),
            ("noise.mha", bytes(range(1, 256)) * 9, "no image format"),
            ("noise.nii.gz", gzip.compress(b"hello" * 400, mtime=0), "gzip file that holds neither"),
            ("cut.nii.gz", gzip.compress(b"hello" * 4000, mtime=0)[:18], "gzip compression"),
            ("preamble.dcm", b"\0" * 128 + b"DICM", "no pixel data|damaged"),
            ("a.mhd", b"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n"
             b"ElementDataFile = a.raw\n",
             r"a\.raw, which is missing"),
            ("a.nhdr", b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nencoding: raw\ndata file: a.raw\n\n",
             r"a\.raw, which is missing"),
        ],
    )  # fmt: skip
    def test_files(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, content: bytes, reason: str
    ) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ReadError, match=reason) as caught:
            read_volume(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert capfd.readouterr() == ("", "")

    def test_missing_path(self, tmp_path: Path) -> None:
        for source in (tmp_path / "no.nii", str(tmp_path / "no"), [tmp_path / "no.dcm", tmp_path / "no2.dcm"]):
            with pytest.raises(ReadError, match="no such file or folder"):
                read_volume(source)
        with pytest.raises(ReadError, match="no such folder"):
            list_series(tmp_path / "no")

    def test_folder_without_images(self, tmp_path: Path) -> None:
        with pytest.raises(ReadError, match="found no DICOM file among 0 files"):
            read_volume(tmp_path)
        (tmp_path / "a.txt").write_text("x")
        with pytest.raises(ReadError, match=r"found no DICOM file among 1 file$"):
            read_volume(tmp_path)

    @pytest.mark.parametrize("fraction", [0.02, 0.2, 0.5, 0.9, 0.99])
    @pytest.mark.parametrize(
        "extension",
        [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".tif", ".png", ".jpg", "-rgb.tif", "-rgb.jpg", ".dcm"],
    )
    def test_cut_short(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str], write_series: Any, extension: str, fraction: float
    ) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (4, 40, 50, 3), dtype=np.uint8)
        array = noise if "rgb" in extension else noise[..., 0].astype(np.uint16 if extension == ".tif" else np.uint8)
        if extension.endswith((".png", ".jpg")):
            array = array[:1]
        geometry = Geometry(array.shape[:3])  # type: ignore[arg-type]
        if extension == ".dcm":
            (file,) = write_series(array[:1], geometry)
        else:
            files = write_volume(Volume.from_array(array, geometry), tmp_path / f"image{extension}")
            file = files[-1] if extension == ".mhd" else files[0]
        file.write_bytes(file.read_bytes()[: int(file.stat().st_size * fraction)])
        with pytest.raises(ReadError) as caught:
            read_volume(tmp_path / "image.mhd" if extension == ".mhd" else file)
        assert "\n" not in str(caught.value)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".nrrd", ".mha", ".tif", ".png", ".jpg", ".dcm"])
    def test_random_damage_ends_in_an_image_or_in_a_sentence(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str], write_series: Any, extension: str
    ) -> None:
        random = np.random.default_rng(7)
        array = random.integers(0, 256, (1, 20, 30), dtype=np.uint8)
        if extension == ".dcm":
            (file,) = write_series(array, Geometry((1, 20, 30)))
        else:
            file = write_volume(Volume.from_array(array), tmp_path / f"image{extension}")[0]
        good = file.read_bytes()
        outcomes = {"read": 0, "refused": 0}
        for _ in range(60):
            bad = bytearray(good)
            for _ in range(random.integers(1, 8)):
                bad[random.integers(min(len(bad), 700))] = random.integers(256)
            file.write_bytes(bytes(bad))
            try:
                read_volume(file)
                outcomes["read"] += 1
            except ReadError:
                outcomes["refused"] += 1
        assert sum(outcomes.values()) == 60
        assert capfd.readouterr() == ("", "")


def test_lines_of_others_pass_the_silence(capfd: pytest.CaptureFixture[str]) -> None:
    from promptseg.io.quiet import quiet_codec

    with quiet_codec() as damage:
        os.write(2, b"Corrupt JPEG data: bad Huffman code\nanother thread's log line\n")
    assert capfd.readouterr().err == "another thread's log line\n"
    assert damage == ["Corrupt JPEG data: bad Huffman code"]


def test_import_is_light() -> None:
    code = (
        "import sys, promptseg.io; print([m for m in ('SimpleITK', 'pydicom', 'gdcm', 'nibabel') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _moved(affine: NDArray[Any], x_mm: float) -> NDArray[Any]:
    moved = np.array(affine, dtype=np.float64)
    moved[0, 3] += x_mm
    return moved


def _nifti(
    folder: Path,
    array: NDArray[Any],
    *,
    sform: NDArray[Any] | None,
    qform: NDArray[Any] | None,
    unit: str = "mm",
    slope: tuple[float, float] | None = None,
) -> Path:
    """Write with nibabel; ``array`` is (..., z, y, x), frames are RAS."""
    import nibabel

    image = nibabel.Nifti1Image(np.ascontiguousarray(array.T), None)
    image.header.set_xyzt_units(unit, "sec")
    image.set_sform(sform, code=1 if sform is not None else 0)
    image.set_qform(qform, code=1 if qform is not None else 0)
    if qform is None and sform is not None:
        image.header["pixdim"][1:4] = np.linalg.norm(np.asarray(sform)[:3, :3], axis=0)
    path = folder / "image.nii.gz"
    if slope:
        image.header.set_slope_inter(*slope)
        raw = image.header.binaryblock + b"\0" * 4 + np.ascontiguousarray(array).tobytes()
        block = bytearray(raw)
        block[108:112] = np.float32(352).tobytes()  # vox_offset
        block[344:348] = b"n+1\0"
        path.write_bytes(gzip.compress(bytes(block)))
    else:
        nibabel.save(image, path)
    return path


class TestTiffPages:
    """ITK writes past its memory for all three: the file is refused before."""

    @pytest.mark.parametrize("page", [0, 1])
    def test_a_thumbnail_before_a_full_page(self, page: int, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "a.tif") as file:
            for number in range(3):
                file.write(np.full((9, 7), number, np.uint8), subfiletype=int(number == page), metadata=None)
        with pytest.raises(ReadError, match="thumbnails or masks"):
            read_volume(tmp_path / "a.tif")

    @pytest.mark.parametrize("odd", [0, 2])
    def test_pages_marked_differently(self, odd: int, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "odd.tif") as file:
            for number in range(4):
                marked = 2 * int(number != odd)
                file.write(np.full((9, 7), number, np.uint8), subfiletype=marked, metadata=None)
        with pytest.raises(ReadError, match="marked as pages"):
            read_volume(tmp_path / "odd.tif")

    def test_pages_of_two_sizes(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "a.tif") as file:
            for width in (7, 8):
                file.write(np.zeros((9, width), np.uint8), metadata=None)
        with pytest.raises(ReadError, match="pages differ in size"):
            read_volume(tmp_path / "a.tif")
