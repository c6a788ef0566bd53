"""Real files that break readers: what must happen to each one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from promptseg.errors import ReadError, SeriesChoiceError
from promptseg.io import read_labelmap, read_volume, write_labelmap, write_volume
from promptseg.volume import Geometry, Labelmap


@dataclass(frozen=True)
class Good:
    """Read as this shape, spacing (x, y, z) mm, and with findings that match these expressions (and no others)."""

    shape: tuple[int, ...]
    spacing: tuple[float, float, float]
    findings: tuple[str, ...] = ()


PLACELESS = r"does not say where the image lies"
SIZELESS = r"PixelSpacing \(0028,0030\) is missing or malformed"
BURNED = r"burned into the pixels"
NOT_HU = r"no Hounsfield units"
DEPTH = r"one slice only: its thickness"
LOOP = r"10 frames are missing; they were stacked .* 1\.2 mm apart"
MASK = "a mask, not an image"
CONTOURS = "contours, not an image"

# Spacing and shape: from the headers' own PixelSpacing, Rows, Columns and positions (dcmdump), and the data's README.
EXPECTED: dict[str, Good | str] = {
    "ct_flipped_iop": Good((17, 128, 88), (2, 2, 2), (NOT_HU,)),  # stored values from 0 to 696, intercept 0
    "ct_ge_gantrytilt_uneven_gap": r"tilted by 18\.5 degrees.*from 1\.08 to 7\.00 mm.*regular grid first",
    "ct_oblique_nonsquare_float_slope": Good((3, 50, 100), (2.5, 3.5, 4.5)),
    "ct_same_position_twice": r"2 images lie at only 1 position ",
    "mr_compressed_j2k": Good((4, 256, 256), (1, 1, 1)),
    "mr_compressed_jpeg": Good((4, 256, 256), (1, 1, 1)),
    "mr_compressed_jpegls": Good((4, 256, 256), (1, 1, 1)),
    "mr_hitachi_oblique": Good((4, 64, 64), (2.34375, 2.34375, 4)),
    "mr_localizer_3_orientations": r"orientations up to 90 degrees apart.*3 parts of 2, 2, 3 images",
    "mr_nonsquare_pixels": Good((4, 28, 64), (6.39996, 4, 0.5)),
    "mr_philips_enhanced_multiframe": Good((8, 256, 256), (1, 1, 1.2)),
    "mr_rgb_series": Good((4, 77, 52, 3), (3, 3, 3), (BURNED,)),
    "mr_siemens_mosaic": Good((50, 80, 80), (2.5, 2.5, 3.08), (r"its 50 tiles of 80 x 80 pixels",)),
    "mr_two_slices_only": Good((2, 256, 256), (1, 1, 1)),
    "seg_bitpacking_24x38x3": r"2 image series",
    "seg_bitpacking_24x38x3/image": Good((3, 38, 24), (0.7, 0.7, 2.5)),
    "seg_bitpacking_24x38x3/multiframe": Good((3, 38, 24), (0.7, 0.7, 2.5)),
    "seg_bitpacking_24x38x3/seg/label.seg": MASK,
    "seg_labelmap/sparse-labelmap-noppv.dcm": MASK,
    "seg_labelmap/sparse-labelmap-ppv5.dcm": MASK,
    "rtstruct_single/rt.dcm": CONTOURS,
    "rtstruct_single/invalid_reference_rt.dcm": CONTOURS,
    "dicom_single/CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm": Good(
        (1, 512, 512), (0.675781, 0.675781, 6.5), (DEPTH,)
    ),
    "dicom_single/CTImage.dcm_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm": Good(
        (1, 512, 512), (0.675781, 0.675781, 6.5), (DEPTH,)
    ),
    "dicom_single/CT_small.dcm": Good((1, 128, 128), (0.661468, 0.661468, 5), (DEPTH,)),
    "dicom_single/GDCMJ2K_TextGBR.dcm": Good(
        (1, 400, 400, 3), (1, 1, 1), (SIZELESS, PLACELESS, r"Modality \(0008,0060\) is missing", BURNED)
    ),
    "dicom_single/GH340.dcm": Good((1, 256, 256), (0.859375, 0.859375, 3), (PLACELESS,)),
    "dicom_single/J2K_pixelrep_mismatch.dcm": Good((1, 512, 512), (0.431, 0.431, 5), (DEPTH,)),
    "dicom_single/JPEG2000-embedded-sequence-delimiter.dcm": r"JPEG 2000.*damaged",
    "dicom_single/JPGExtended.dcm": Good((1, 1024, 256), (2.26, 2.26, 1), (PLACELESS, BURNED)),
    "dicom_single/MR_small.dcm": Good((1, 64, 64), (0.3125, 0.3125, 0.8), (DEPTH,)),
    "dicom_single/MR_small_bigendian.dcm": Good((1, 64, 64), (0.3125, 0.3125, 0.8), (DEPTH,)),
    "dicom_single/MR_small_implicit.dcm": Good((1, 64, 64), (0.3125, 0.3125, 0.8), (DEPTH,)),
    "dicom_single/MR_small_jp2klossless.dcm": Good((1, 64, 64), (0.3125, 0.3125, 0.8), (DEPTH,)),
    "dicom_single/MR_small_jpeg_ls_lossless.dcm": Good((1, 64, 64), (0.3125, 0.3125, 0.8), (DEPTH,)),
    "dicom_single/MR_small_padded.dcm": Good((1, 64, 64), (0.3125, 0.3125, 0.8), (DEPTH,)),
    "dicom_single/MR_truncated.dcm": r"damaged, cut short",
    "dicom_single/US1_J2KR.dcm": Good((1, 480, 640, 3), (1, 1, 1), (SIZELESS, PLACELESS, BURNED)),
    "dicom_single/badVR.dcm": r"NumberOfFrames \(0028,0008\) is no number",
    "dicom_single/bbmri.dcmdir": r"DICOMDIR, an index",
    "dicom_single/dx_image.dcm": Good((1, 169, 211), (1.2012, 1.2, 1), (PLACELESS, "MONOCHROME1")),
    "dicom_single/emri_small.dcm": Good((10, 64, 64), (1, 1, 1.2), (LOOP, SIZELESS)),
    "dicom_single/emri_small_big_endian.dcm": Good((10, 64, 64), (1, 1, 1.2), (LOOP, SIZELESS)),
    "dicom_single/emri_small_jpeg_2k_lossless.dcm": Good((10, 64, 64), (1, 1, 1.2), (LOOP, SIZELESS)),
    "dicom_single/emri_small_jpeg_ls_lossless.dcm": Good((10, 64, 64), (1, 1, 1.2), (LOOP, SIZELESS)),
    "dicom_single/gdcm-CT-MONO2-8-abdo.dcm": Good((1, 512, 512), (1, 1, 1), (SIZELESS, PLACELESS, BURNED, NOT_HU)),
    "dicom_single/image_dfl.dcm": Good((1, 512, 512), (1, 1, 1), (SIZELESS, PLACELESS, BURNED)),
    "dicom_single/liver_deflate.dcm": MASK,
    "dicom_single/liver_nonbyte_aligned.dcm": MASK,
    "dicom_single/no-pixel-data.dcm": r"a structured report, not an image",
    "dicom_single/no-pixel-spacing.dcm": Good(
        (1, 600, 800, 3), (0.33066, 0.33066, 1), ("ultrasound", PLACELESS, BURNED)
    ),
    "dicom_single/no_meta.dcm": r"no image format known here",
    "dicom_single/rtdose.dcm": Good((15, 10, 10), (10, 10, 5), ("dose",)),
    "dicom_single/rtplan_truncated.dcm": r"radiotherapy plan, not an image",
    "dicom_single/rtstruct.dcm": CONTOURS,
    "dicom_single/seg_image_ct_binary_overlap.dcm": MASK,
    "dicom_single/seg_image_ct_true_fractional.dcm": MASK,
    "volumes/AIL.nii.gz": Good((64, 67, 79), (2.39, 2.366, 2.385)),
    "volumes/CT_pitch.nii.gz": Good((58, 248, 175), (0.8125, 0.8125, 2.397)),
    "volumes/analyze.hdr": r"should lie in analyze\.img beside it, which is missing",
    "volumes/enh.dcm": Good((6, 64, 64), (3.375, 3.375, 2.4)),
    "volumes/low_res.nii.gz": Good((3, 5, 7), (2, 2, 2)),
    "volumes/mha.mha": Good((37, 64, 64), (3.4375, 3.4375, 3.8)),
    "volumes/mtr.nii.gz": Good((5, 40, 40), (0.8438, 0.8438, 17), (r"633 of 8000 voxels are not finite",)),
    "volumes/ras.hdr": Good((34, 41, 62), (2.385, 2.39, 2.366)),
    "volumes/ras.img": Good((34, 41, 62), (2.385, 2.39, 2.366)),
    "volumes/standard.nii.gz": Good((7, 5, 4), (1, 3, 2)),
    "volumes/tensor_rgb.nii.gz": r"3 components of int16 per voxel",
    "volumes/test.mgz": r"sheared by \d+\.\d degrees",
    "volumes/ultrasound_img4d.nii.gz": Good((56, 52, 56), (3.777, 3.722, 3.287), ("holds 3 frames",)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_robustness(shared_data: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    path = shared_data / "robustness" / name
    expected = EXPECTED[name]
    if isinstance(expected, str):
        with pytest.raises(ReadError, match=expected) as caught:
            read_volume(path)
        assert "\n" not in str(caught.value)
    else:
        volume = read_volume(path)
        assert volume.array.shape == expected.shape
        assert volume.geometry.spacing == pytest.approx(expected.spacing, rel=2e-3)
        assert len(volume.findings) == len(expected.findings), volume.findings
        for finding, pattern in zip(volume.findings, expected.findings, strict=True):
            assert re.search(pattern, finding)
        assert np.isfinite(volume.array).all()
    assert capfd.readouterr() == ("", "")


def test_every_file_has_a_row(shared_data: Path) -> None:
    root = shared_data / "robustness"
    singles = {p.relative_to(root).as_posix() for part in ("dicom_single", "volumes") for p in (root / part).iterdir()}
    folders = {p.name for p in root.iterdir() if p.is_dir()} - {
        "dicom_single",
        "volumes",
        "seg_labelmap",
        "rtstruct_single",
    }
    assert singles | folders <= set(EXPECTED)


@pytest.mark.parametrize("codec", ["j2k", "jpeg", "jpegls"])
def test_compressed_series_equal_the_expected_volume(shared_data: Path, codec: str) -> None:
    truth = read_volume(shared_data / "robustness" / "mr_compressed_expected.nii.gz")
    volume = read_volume(shared_data / "robustness" / f"mr_compressed_{codec}")
    # The truth's slices run the other way; each voxel is looked up at its place in the patient.
    index = np.indices(volume.shape).reshape(3, -1).T
    there = np.rint(truth.geometry.world_to_voxel(volume.geometry.voxel_to_world(index))).astype(int)
    np.testing.assert_allclose(truth.geometry.voxel_to_world(there), volume.geometry.voxel_to_world(index), atol=1e-3)
    np.testing.assert_array_equal(truth.array[tuple(there.T)], volume.array.ravel())


def test_variants_of_one_image_agree(shared_data: Path) -> None:
    single = shared_data / "robustness" / "dicom_single"
    plain = read_volume(single / "MR_small.dcm")
    for name in ("bigendian", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"):
        other = read_volume(single / f"MR_small_{name}.dcm")
        np.testing.assert_array_equal(other.array, plain.array)
        assert other.geometry.same_as(plain.geometry)
    frames = read_volume(single / "emri_small.dcm")
    for name in ("big_endian", "jpeg_2k_lossless", "jpeg_ls_lossless"):
        np.testing.assert_array_equal(read_volume(single / f"emri_small_{name}.dcm").array, frames.array)


def test_single_frames_and_multiframe_agree(shared_data: Path) -> None:
    folder = shared_data / "robustness" / "seg_bitpacking_24x38x3"
    slices, frames = read_volume(folder / "image"), read_volume(folder / "multiframe")
    np.testing.assert_array_equal(slices.array, frames.array)
    assert slices.geometry.same_as(frames.geometry)
    assert read_labelmap(folder / "nrrd" / "label.nrrd").geometry.same_as(slices.geometry)


def test_inversion_of_the_radiograph(shared_data: Path) -> None:
    import pydicom

    path = shared_data / "robustness" / "dicom_single" / "dx_image.dcm"
    stored = pydicom.dcmread(path).pixel_array
    np.testing.assert_array_equal(read_volume(path).array[0], 255 - stored)


def test_big_endian_and_slopes_against_pydicom(shared_data: Path) -> None:
    import pydicom

    folder = shared_data / "robustness" / "mr_nonsquare_pixels"
    volume = read_volume(folder)
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        truth = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        position = volume.geometry.world_to_voxel([float(v) for v in dataset.ImagePositionPatient])
        np.testing.assert_allclose(position, np.rint(position), atol=2e-3)
        np.testing.assert_allclose(volume.array[round(position[0])], truth, rtol=1e-5)


def test_oblique_writer_agrees_with_its_own_sform(shared_data: Path) -> None:
    import nibabel

    for name in ("AIL", "CT_pitch", "mtr", "low_res", "standard"):
        path = shared_data / "robustness" / "volumes" / f"{name}.nii.gz"
        volume = read_volume(path)
        truth = np.diag([-1, -1, 1, 1]) @ nibabel.load(path).affine
        np.testing.assert_allclose(volume.geometry.affine, truth, atol=2e-3)


def test_dicom_lies_in_the_space_of_its_labels(shared_data: Path) -> None:
    volume = read_volume(shared_data / "ct_ts_dicom_j2k" / "dicom")
    labels = read_labelmap(shared_data / "ct_ts_dicom_j2k" / "label_total.nii.gz")
    assert volume.array.dtype == np.int16
    ours, theirs = (np.sort(g.corners(), axis=0) for g in (volume.geometry, labels.geometry))
    np.testing.assert_allclose(ours, theirs, atol=1e-2)  # the same eight corners, in another order
    inside = labels.array == 5  # liver: soft tissue where the labels say so, which no flip would keep
    index = np.rint(volume.geometry.world_to_voxel(labels.geometry.voxel_to_world(np.argwhere(inside)))).astype(int)
    assert 0 < np.median(volume.array[tuple(index.T)]) < 200


def test_series_choice_of_a_nested_folder(shared_data: Path) -> None:
    folder = shared_data / "mm_sts001_sarcoma"
    with pytest.raises(SeriesChoiceError) as caught:
        read_volume(folder)
    pet = read_volume(folder, series=caught.value.choices[1])
    truth = read_volume(folder / "PET" / "image.nii.gz")
    assert pet.geometry.same_as(truth.geometry)
    np.testing.assert_allclose(pet.array, truth.array, rtol=1e-4, atol=1e-4)


REAL = [
    "ct_ts_trunk3mm/label_total.nii.gz",
    "mr_vertebra_tptbox/label_subreg.nii.gz",
    "mr_spinalcord_t2s_full/label_gm.nii.gz",
    "ct_dcmqi_liver3slice_seg/liver_seg.nrrd",
]


@pytest.mark.parametrize("extension", [".nii.gz", ".seg.nrrd", ".mha", ".tif"])
@pytest.mark.parametrize("name", REAL)
def test_real_masks_come_back(shared_data: Path, tmp_path: Path, name: str, extension: str) -> None:
    mask = read_labelmap(shared_data / name)
    back = read_labelmap(write_labelmap(mask, tmp_path / f"mask{extension}")[0])
    np.testing.assert_array_equal(back.array, mask.array)
    np.testing.assert_allclose(back.geometry.affine, mask.geometry.affine, rtol=1e-5, atol=1e-5)
    assert back.labels == mask.labels


def test_mask_of_a_dicom_folder_opens_in_nibabel(shared_data: Path, tmp_path: Path) -> None:
    import nibabel

    volume = read_volume(shared_data / "robustness" / "mr_hitachi_oblique")
    mask = (volume.array > 500).astype(np.uint8)
    (file, *_) = write_labelmap(Labelmap(mask, volume.geometry), tmp_path / "mask.nii.gz")
    image = nibabel.load(file)
    np.testing.assert_allclose(image.affine, np.diag([-1, -1, 1, 1]) @ volume.geometry.affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(image.dataobj), mask.transpose(2, 1, 0))


def test_conversion_of_a_real_image(shared_data: Path, tmp_path: Path) -> None:
    volume = read_volume(shared_data / "mr_pyradiomics_brain1_nrrd" / "image.nrrd")
    back = read_volume(write_volume(volume, tmp_path / "image.nii.gz")[0])
    np.testing.assert_array_equal(back.array, volume.array)
    assert isinstance(back.geometry, Geometry)
    assert back.geometry.same_as(volume.geometry)


def test_rgba_pictures_that_are_grey_become_grey(shared_data: Path) -> None:
    folder = shared_data / "images2d" / "biomedparse" / "images"
    assert read_volume(folder / "00_CT_lung.png").array.shape == (1, 1024, 1024)
    assert read_volume(folder / "23_fundus_retinal.png").array.shape == (1, 1024, 1024, 3)
