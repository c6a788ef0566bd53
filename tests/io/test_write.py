"""What is written is read back the same, by this package and by readers that share no code with it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from promptseg.errors import WriteError
from promptseg.io import read_labelmap, read_volume, write_labelmap, write_volume
from promptseg.io.write import MASK_EXTENSIONS
from promptseg.volume import Geometry, Label, Labelmap, Volume

VOLUME_FORMATS = tuple(extension for extension in MASK_EXTENSIONS if extension != ".png")
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # LPS to RAS
NIFTI_RELATIVE = 1e-5  # headers store float32


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Oblique or axis-aligned with swapped and flipped axes, left- or right-handed, anisotropic, far off the origin."""
    shape = tuple(draw(st.integers(1, 5)) + i for i in range(3))
    spacing = tuple(draw(st.floats(0.05, 12.0)) for _ in range(3))
    origin = tuple(draw(st.floats(-900.0, 900.0)) for _ in range(3))
    if draw(st.booleans()):
        axes = np.eye(3)[list(draw(st.permutations(range(3))))] * [draw(st.sampled_from([-1, 1])) for _ in range(3)]
    else:
        axes, _ = np.linalg.qr(np.reshape([draw(st.floats(-1, 1)) for _ in range(9)], (3, 3)) + 2 * np.eye(3))
    return Geometry((shape[0], shape[1], shape[2]), spacing, origin, tuple(axes.ravel()))  # type: ignore[arg-type]


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters='"'), min_size=1, max_size=12
)
COLORS = st.tuples(*[st.integers(0, 255)] * 3)


@pytest.mark.parametrize("extension", VOLUME_FORMATS)
@settings(max_examples=25, deadline=None)
@given(
    geometry=geometries(), name=NAMES, color=COLORS, seed=st.integers(0, 2**31), top=st.sampled_from([3, 255, 65535])
)
def test_mask_comes_back(
    extension: str, geometry: Geometry, name: str, color: tuple[int, int, int], seed: int, top: int
) -> None:
    dtype = np.uint8 if top < 256 else np.uint16
    array = np.random.default_rng(seed).integers(0, top, geometry.shape, dtype=dtype, endpoint=True)
    labels = {1: Label(1, name, color), 3: Label(3, "left kidney, lower pole", (1, 2, 3))}
    with tempfile.TemporaryDirectory() as folder:
        files = write_labelmap(Labelmap(array, geometry, labels), Path(folder) / f"mask{extension}")
        assert sorted(files) == sorted(Path(folder).iterdir())
        back = read_labelmap(files[0])
    np.testing.assert_array_equal(back.array, array)
    tolerance = NIFTI_RELATIVE if ".nii" in extension else 1e-12
    np.testing.assert_allclose(back.geometry.affine, geometry.affine, rtol=tolerance, atol=tolerance)
    assert back.geometry.same_as(geometry)
    assert back.label(1) == labels[1]
    assert back.label(3) == labels[3]


@settings(max_examples=25, deadline=None)
@given(geometry=geometries(), seed=st.integers(0, 2**31))
def test_nibabel_reads_the_same_nifti(geometry: Geometry, seed: int) -> None:
    import nibabel

    array = np.random.default_rng(seed).integers(0, 9, geometry.shape, dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        (file, *_) = write_labelmap(Labelmap(array, geometry), Path(folder) / "mask.nii.gz")
        image = nibabel.load(file)
        voxels = np.asarray(image.dataobj)
        qform, sform = image.get_qform(coded=True), image.get_sform(coded=True)
    np.testing.assert_array_equal(voxels.reshape(geometry.shape[::-1]), array.transpose(2, 1, 0))
    truth = RAS @ geometry.affine
    scale = np.abs(truth).max()
    for matrix, code in (qform, sform):
        assert code > 0
        np.testing.assert_allclose(matrix, truth, atol=1e-3 * max(1.0, scale / 100))  # quaternions lose half the digits
    np.testing.assert_allclose(image.affine, truth, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd", ".mha", ".mhd", ".tif"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8, np.float32])
def test_image_comes_back(
    tmp_path: Path, lettered: NDArray[np.int16], oblique: Geometry, extension: str, dtype: type
) -> None:
    array = (lettered - lettered.min() if np.dtype(dtype).kind == "u" else lettered).astype(dtype)
    files = write_volume(Volume.from_array(array, oblique), tmp_path / f"image{extension}")
    back = read_volume(files[0])
    assert back.array.dtype == dtype
    np.testing.assert_array_equal(back.array, array)
    np.testing.assert_allclose(back.geometry.affine, oblique.affine, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd", ".mha", ".tif", ".png"])
def test_colours_come_back(tmp_path: Path, extension: str) -> None:
    array = np.random.default_rng(5).integers(0, 256, (1, 6, 9, 3), dtype=np.uint8)
    geometry = Geometry((1, 6, 9), (0.2, 0.3, 4.0), (1.0, -2.0, 3.0))
    (file, *_) = write_volume(Volume.from_array(array, geometry), tmp_path / f"image{extension}")
    back = read_volume(file)
    np.testing.assert_array_equal(back.array, array)
    assert back.geometry.same_as(geometry)


def test_png_of_one_slice_keeps_its_place(tmp_path: Path, oblique: Geometry) -> None:
    one = Geometry((1, *oblique.shape[1:]), oblique.spacing, oblique.origin, oblique.direction)
    array = np.arange(35, dtype=np.uint16).reshape(1, 5, 7) * 999
    files = write_labelmap(Labelmap(array, one, {999: Label(999, "cup", (9, 8, 7))}), tmp_path / "fundus.png")
    assert [file.name for file in files] == ["fundus.png", "fundus.label.txt", "fundus.png.json"]
    back = read_labelmap(files[0])
    np.testing.assert_array_equal(back.array, array)
    assert back.geometry.same_as(one)
    assert back.label("cup").value == 999
    (tmp_path / "fundus.png.json").unlink()
    plain = read_volume(files[0])
    assert plain.geometry.spacing == (1.0, 1.0, 1.0)
    assert any("1 mm was assumed" in finding for finding in plain.findings)


def test_slicer_segmentation_header(tmp_path: Path, oblique: Geometry) -> None:
    array = np.zeros(oblique.shape, dtype=np.uint8)
    array[1, 2, 3], array[2, 3, 4] = 2, 5
    labels = {2: Label(2, "liver", (255, 0, 128)), 5: Label(5, "lesion", (0, 255, 0))}
    (file,) = write_labelmap(Labelmap(array, oblique, labels), tmp_path / "m.seg.nrrd")
    header = file.read_bytes().split(b"\n\n")[0].decode().splitlines()
    fields = dict(line.split(":=", 1) for line in header if ":=" in line)
    assert "space: left-posterior-superior" in header
    assert fields["Segment0_Name"] == "liver"
    assert fields["Segment0_LabelValue"] == "2"
    assert fields["Segment1_LabelValue"] == "5"
    assert [float(v) for v in fields["Segment0_Color"].split()] == pytest.approx([1.0, 0.0, 128 / 255], abs=1e-5)
    assert fields["Segment1_Layer"] == "0"
    assert fields["Segment0_Extent"] == "0 6 0 4 0 3"
    assert fields["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"
    assert {"Segment0_ID", "Segment1_ID", "Segmentation_MasterRepresentation"} <= set(fields)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_imagej_reads_the_voxel_size(tmp_path: Path, oblique: Geometry, dtype: type) -> None:
    """ImageJ's own fields: pixels per cm from the TIFF tags, the distance of slices from its description."""
    mask = Labelmap((np.indices(oblique.shape).sum(axis=0) % 3).astype(dtype), oblique)
    path = write_labelmap(mask, tmp_path / "m.tif")[0]
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej
        assert file.imagej_metadata is not None
        assert len(file.pages) == file.imagej_metadata["slices"] == oblique.shape[0]
        assert file.imagej_metadata["unit"] == "cm"
        assert file.imagej_metadata["spacing"] * 10 == pytest.approx(oblique.spacing[2])
        tags = file.pages[0].tags  # type: ignore[union-attr]
        assert tags["ResolutionUnit"].value == 3  # centimetres
        for name, spacing in (("XResolution", oblique.spacing[0]), ("YResolution", oblique.spacing[1])):
            assert 10 * tags[name].value[1] / tags[name].value[0] == pytest.approx(spacing, rel=1e-5)
        assert np.array_equal(file.asarray(), mask.array)


class TestFailureLeavesNothing:
    @pytest.mark.parametrize("name", ["mask.nii.gzz", "mask", ".nii.gz", "mask.stl", "mask.jpg"])
    def test_unknown_extension_names_the_known_ones(self, tmp_path: Path, oblique: Geometry, name: str) -> None:
        with pytest.raises(WriteError, match=r"ends with one of \.nii\.gz, .*\.seg\.nrrd"):
            write_labelmap(_empty(oblique), tmp_path / name)
        assert list(tmp_path.iterdir()) == []

    def test_missing_folder(self, tmp_path: Path, oblique: Geometry) -> None:
        with pytest.raises(WriteError, match="does not exist"):
            write_labelmap(_empty(oblique), tmp_path / "no" / "mask.nii.gz")

    def test_a_picture_of_several_slices(self, tmp_path: Path, oblique: Geometry) -> None:
        with pytest.raises(WriteError, match="holds one slice, got 4"):
            write_labelmap(_empty(oblique), tmp_path / "mask.png")
        assert list(tmp_path.iterdir()) == []

    def test_values_that_a_picture_cannot_hold(self, tmp_path: Path, oblique: Geometry) -> None:
        one = Geometry((1, 5, 7))
        with pytest.raises(WriteError, match="got int16"):
            write_volume(Volume.from_array(np.zeros((1, 5, 7), dtype=np.int16), one), tmp_path / "image.png")
        large = np.full(oblique.shape, 70_000, dtype=np.uint32)
        with pytest.raises(WriteError, match="holds labels below 65536, got 70000"):
            write_labelmap(Labelmap(large, oblique), tmp_path / "mask.tif")
        assert list(tmp_path.iterdir()) == []

    def test_an_old_file_survives_a_failed_write(
        self, tmp_path: Path, oblique: Geometry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import SimpleITK as sitk

        target = tmp_path / "mask.nii.gz"
        target.write_bytes(b"the old one")

        def fail(image: object, name: str, **_: object) -> None:
            Path(name).write_bytes(b"half a fi")
            raise RuntimeError("disk full")

        monkeypatch.setattr(sitk, "WriteImage", fail)
        with pytest.raises(WriteError, match=r"mask\.nii\.gz"):
            write_labelmap(_empty(oblique), target)
        assert [file.name for file in tmp_path.iterdir()] == ["mask.nii.gz"]
        assert target.read_bytes() == b"the old one"

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not stop this user")
    def test_folder_without_permission(self, tmp_path: Path, oblique: Geometry) -> None:
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(WriteError, match="Permission denied"):
                write_labelmap(_empty(oblique), tmp_path / "mask.nii.gz")
        finally:
            tmp_path.chmod(0o700)


def _empty(geometry: Geometry) -> Labelmap:
    return Labelmap(np.zeros(geometry.shape, dtype=np.uint8), geometry)


@pytest.mark.parametrize(
    "name",
    [
        "scan.img.nii.gz",
        "scan.hdr.nii",
        "scan.nii.gz.nii.gz",
        "scan.nii.nii.gz",
        "SCAN.NII.GZ",
        "scan.raw.mhd",
        "scan.mhd.mha",
        "scan.nii.nrrd",
        "scan.hdr.tif",
    ],
)
def test_a_name_with_several_endings_is_kept_and_others_are_left_alone(name: str, tmp_path: Path) -> None:
    others = {tmp_path / other for other in ("scan.hdr", "scan.img", "scan.nii", "scan.nii.gz")}
    for other in others:
        other.write_bytes(b"somebody's")
    array = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    geometry = Geometry((2, 3, 4), (0.5, 0.75, 3.0), (10.0, -20.0, 30.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    files = write_labelmap(Labelmap(array, geometry), tmp_path / name)
    assert files[0] == tmp_path / name
    assert {*files} == {*tmp_path.iterdir()} - others
    np.testing.assert_array_equal(read_labelmap(files[0]).array, array)
    assert {other.read_bytes() for other in others} == {b"somebody's"}
