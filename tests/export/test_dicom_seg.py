"""DICOM SEG: what is written can be read, by us and by others, bit for bit and in its place."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from promptseg.errors import GeometryMismatchError, ReadError, WriteError
from promptseg.export import DicomSource, Provenance, read_dicom_seg, read_source, write_dicom_seg
from promptseg.io import read_labelmap
from promptseg.volume import Geometry, Label, Labelmap

Write = Callable[..., Path]
SECRETS = ("Doe^Jane", "SECRET-4711", "19010203", "ACC-99", "STUDY-17")


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_round_trip_is_exact(kind: str, ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    source = read_source(write_images(ragged.geometry))
    path = write_dicom_seg(ragged, tmp_path / "seg.dcm", source, kind=kind)
    found = read_dicom_seg(path, source.geometry, frame_of_reference=source.frame_of_reference)
    assert found.findings == ()
    assert found.overlapping() == ()
    back = found.labelmap()
    assert np.array_equal(back.array, ragged.array)
    assert {value: label.name for value, label in back.labels.items()} == {
        value: label.name for value, label in ragged.labels.items()
    }
    for value, label in back.labels.items():  # CIELab in 16 bits and back: at most one step of 8 bits
        assert np.abs(np.subtract(label.color, ragged.labels[value].color)).max() <= 1


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_own_grid_keeps_the_gap_of_an_empty_slice(
    kind: str, ragged: Labelmap, write_images: Write, tmp_path: Path
) -> None:
    path = write_dicom_seg(ragged, tmp_path / "seg.dcm", read_source(write_images(ragged.geometry)), kind=kind)
    found = read_dicom_seg(path)
    assert found.geometry.same_as(ragged.geometry)
    assert np.array_equal(found.labelmap().array, ragged.array)


def test_highdicom_reads_the_same_voxels_in_the_same_place(
    ragged: Labelmap, write_images: Write, tmp_path: Path
) -> None:
    highdicom = pytest.importorskip("highdicom")
    path = write_dicom_seg(ragged, tmp_path / "seg.dcm", read_source(write_images(ragged.geometry)))
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True, allow_missing_positions=True)
    numbered = np.searchsorted([2, 7, 40], ragged.array, side="right")
    for index, value in np.ndenumerate(volume.array):  # compared voxel by voxel, through LPS mm
        z, y, x = np.rint(ragged.geometry.world_to_voxel((volume.affine @ [*index, 1])[:3])).astype(int)
        assert numbered[z, y, x] == value


def test_every_frame_refers_to_the_image_at_its_place(ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    folder = write_images(ragged.geometry)
    places = {}
    for file in folder.iterdir():
        image = pydicom.dcmread(file)
        places[image.SOPInstanceUID] = list(image.ImagePositionPatient)
    seg = pydicom.dcmread(write_dicom_seg(ragged, tmp_path / "seg.dcm", read_source(folder)))
    assert len(seg.PerFrameFunctionalGroupsSequence) == 12  # three labels on four of five slices
    for group in seg.PerFrameFunctionalGroupsSequence:
        reference = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert list(group.PlanePositionSequence[0].ImagePositionPatient) == places[reference]


def test_segments_say_what_they_are_and_who_made_them(ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    click = {"type": "point", "voxel": [1, 2, 3]}
    made = Provenance(model_id="builtin", model_hash="sha256:ab12", prompts={7: (click,)})
    path = write_dicom_seg(ragged, tmp_path / "seg.dcm", read_source(write_images(ragged.geometry)), provenance=made)
    seg = pydicom.dcmread(path)
    assert "Research use only" in seg.ContentDescription
    liver, kidney, other = seg.SegmentSequence
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"  # SNOMED CT, as in PS3.16 CID 7154
    assert kidney.SegmentedPropertyTypeCodeSequence[0].CodeValue == "64033007"
    side = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert (side.CodeValue, side.CodeMeaning) == ("7771000", "Left")
    private = other.SegmentedPropertyTypeCodeSequence[0]
    assert (private.CodingSchemeDesignator, private.CodeMeaning) == ("99PROMPTSEG", "Größe, Fläche 3")
    assert seg.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99PROMPTSEG"
    assert len({item.TrackingUID for item in seg.SegmentSequence}) == 3
    algorithm = kidney.SegmentationAlgorithmIdentificationSequence[0]
    assert kidney.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert "builtin" in algorithm.AlgorithmName
    assert "model_hash=sha256:ab12" in algorithm.AlgorithmParameters
    assert '"voxel":[1,2,3]' in algorithm.AlgorithmParameters
    assert "voxel" not in liver.SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters


def test_identity_is_nobodys_or_the_images_own(ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    source = read_source(write_images(ragged.geometry))
    kept = pydicom.dcmread(write_dicom_seg(ragged, tmp_path / "kept.dcm", source, keep_identity=True))
    assert (str(kept.PatientName), kept.PatientID, kept.StudyID) == ("Doe^Jane", "SECRET-4711", "STUDY-17")
    assert "PatientIdentityRemoved" not in kept
    path = write_dicom_seg(ragged, tmp_path / "plain.dcm", source)
    assert not [secret for secret in (*SECRETS, "19990101", "101112") if secret.encode() in path.read_bytes()]
    plain = pydicom.dcmread(path)
    assert (plain.StudyInstanceUID, plain.FrameOfReferenceUID) == (kept.StudyInstanceUID, kept.FrameOfReferenceUID)
    assert plain.PatientIdentityRemoved == "YES"
    named = {item.ReferencedSOPInstanceUID for item in plain.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert named == {image.SOPInstanceUID for image in source.images}
    assert "Doe" not in repr(source)
    assert "4711" not in repr(source)


@pytest.mark.parametrize("keep_identity", [False, True])
def test_conformance(
    keep_identity: bool,
    ragged: Labelmap,
    write_images: Write,
    tmp_path: Path,
    conformance: Callable[[Path], list[str]],
) -> None:
    source = read_source(write_images(ragged.geometry))
    assert conformance(write_dicom_seg(ragged, tmp_path / "seg.dcm", source, keep_identity=keep_identity)) == []


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_dcmtk_reads_it(kind: str, ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    if shutil.which("dcmdump") is None:
        pytest.skip("dcmdump is not installed (Debian: apt-get install dcmtk)")
    path = write_dicom_seg(ragged, tmp_path / "seg.dcm", read_source(write_images(ragged.geometry)), kind=kind)
    done = subprocess.run(["dcmdump", "+P", "SegmentLabel", str(path)], capture_output=True, check=True)
    assert done.stdout.count(b"left kidney") == 1
    assert b"E:" not in done.stderr


def test_multi_frame_images(ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    from highdicom.legacy import LegacyConvertedEnhancedCTImage

    folder = write_images(ragged.geometry)
    slices = [pydicom.dcmread(file) for file in sorted(folder.iterdir())]
    for item in slices:
        item.PatientName = "Roe^Jane"
    enhanced = LegacyConvertedEnhancedCTImage(slices, "1.2.3.4", 1, "1.2.3.5", 1)
    enhanced.save_as(tmp_path / "multi.dcm")
    source = read_source(tmp_path / "multi.dcm")
    assert source.is_multiframe
    assert source.geometry.same_as(ragged.geometry)
    back = read_dicom_seg(write_dicom_seg(ragged, tmp_path / "seg.dcm", source), source.geometry)
    assert np.array_equal(back.labelmap().array, ragged.array)


def test_a_part_of_a_multi_frame_file(ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    """As one phase of a 4D file: the mask covers some of its frames."""
    from highdicom.legacy import LegacyConvertedEnhancedCTImage

    slices = [pydicom.dcmread(file) for file in sorted(write_images(ragged.geometry).iterdir())]
    for item in slices:
        item.PatientName = "Roe^Jane"
    LegacyConvertedEnhancedCTImage(slices, "1.2.3.4", 1, "1.2.3.5", 1).save_as(tmp_path / "multi.dcm")
    whole = read_source(tmp_path / "multi.dcm")
    grid = ragged.geometry
    part = Geometry((3, *grid.shape[1:]), grid.spacing, grid.origin, grid.direction)
    source = DicomSource(part, whole.frames[:3], whole.images, whole.identity)
    path = write_dicom_seg(Labelmap(ragged.array[:3], part, ragged.labels), tmp_path / "seg.dcm", source)
    assert np.array_equal(read_dicom_seg(path, part).labelmap().array, ragged.array[:3])
    assert np.array_equal(read_dicom_seg(path, grid).labelmap().array[:3], ragged.array[:3])


def test_images_without_study_get_a_stand_in_and_a_finding(
    ragged: Labelmap, write_images: Write, tmp_path: Path
) -> None:
    folder = write_images(ragged.geometry, drop=("StudyInstanceUID", "FrameOfReferenceUID"))
    source, again = read_source(folder), read_source(folder)
    assert [finding.split(";")[0] for finding in source.findings] == [
        "the images have no StudyInstanceUID",
        "the images have no FrameOfReferenceUID",
    ]
    assert source.study == again.study
    assert source.study.startswith("2.25.")
    back = read_dicom_seg(write_dicom_seg(ragged, tmp_path / "seg.dcm", source), source.geometry)
    assert np.array_equal(back.labelmap().array, ragged.array)


def test_images_without_slice_thickness(ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    source = read_source(write_images(ragged.geometry, drop=("SliceThickness",)))
    path = write_dicom_seg(ragged, tmp_path / "seg.dcm", source)
    assert np.array_equal(read_dicom_seg(path, source.geometry).labelmap().array, ragged.array)
    measures = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SliceThickness == pytest.approx(2.9)


def test_refusals(ragged: Labelmap, write_images: Write, tmp_path: Path, oblique: Geometry) -> None:
    source = read_source(write_images(oblique))
    moved = Geometry(oblique.shape, oblique.spacing, (-31.5, 112.25, -637.2), oblique.direction)
    with pytest.raises(GeometryMismatchError, match="same grid"):
        write_dicom_seg(Labelmap(ragged.array, moved), tmp_path / "a.dcm", source)
    with pytest.raises(WriteError, match="no label has a voxel"):
        write_dicom_seg(Labelmap(np.zeros_like(ragged.array), oblique), tmp_path / "a.dcm", source)
    with pytest.raises(WriteError, match="binary"):
        write_dicom_seg(ragged, tmp_path / "a.dcm", source, kind="binray")
    (tmp_path / "image.nii.gz").write_bytes(b"no DICOM")
    with pytest.raises(WriteError, match=r"holds no DICOM image.*\.seg\.nrrd"):
        read_source(tmp_path / "image.nii.gz")
    assert not list(tmp_path.glob("*.dcm"))
    assert not list(tmp_path.glob(".*partial"))


def test_other_scans_are_refused(ragged: Labelmap, write_images: Write, tmp_path: Path, oblique: Geometry) -> None:
    path = write_dicom_seg(ragged, tmp_path / "seg.dcm", read_source(write_images(oblique)))
    with pytest.raises(ReadError, match="another scan"):
        read_dicom_seg(path, oblique, frame_of_reference="1.2.3")
    half = Geometry(oblique.shape, oblique.spacing, (-31.15, 112.25, -640.125), oblique.direction)
    with pytest.raises(GeometryMismatchError, match="do not lie on the grid"):
        read_dicom_seg(path, half)
    finer = Geometry((10, 38, 23), (0.7, 1.3, 1.45), oblique.origin, oblique.direction)
    back = read_dicom_seg(path, finer)  # every second slice: the frames lie on it exactly
    assert np.array_equal(back.labelmap().array[::2], ragged.array)
    assert not back.labelmap().array[1::2].any()
    with pytest.raises(ReadError, match="another kind"):
        read_dicom_seg(next((tmp_path / "series").iterdir()))


def test_a_grid_that_runs_the_other_way(
    ragged: Labelmap, write_images: Write, tmp_path: Path, oblique: Geometry
) -> None:
    path = write_dicom_seg(ragged, tmp_path / "seg.dcm", read_source(write_images(oblique)))
    axes = np.asarray(oblique.direction).reshape(3, 3)
    last = oblique.voxel_to_world((4, 0, 22))
    other = Geometry((5, 38, 23), oblique.spacing, tuple(last), tuple((axes * [-1, 1, -1]).ravel()))
    assert np.array_equal(read_dicom_seg(path, other).labelmap().array, ragged.array[::-1, :, ::-1])
    swapped = Geometry((23, 38, 5), (2.9, 1.3, 0.7), oblique.origin, tuple((axes[:, ::-1]).ravel()))
    assert np.array_equal(read_dicom_seg(path, swapped).labelmap().array, ragged.array.transpose(2, 1, 0))


def test_a_smaller_image_says_what_it_left_out(
    ragged: Labelmap, write_images: Write, tmp_path: Path, oblique: Geometry
) -> None:
    path = write_dicom_seg(ragged, tmp_path / "seg.dcm", read_source(write_images(oblique)))
    found = read_dicom_seg(path, Geometry((2, 38, 23), oblique.spacing, oblique.origin, oblique.direction))
    assert np.array_equal(found.labelmap().array, ragged.array[:2])
    left = np.count_nonzero(ragged.array[2:] == 2)
    assert found.findings[0].startswith(f"{left} of ")


def test_overlapping_and_fractional_segments(write_images: Write, tmp_path: Path, oblique: Geometry) -> None:
    both = np.random.default_rng(5).random((*oblique.shape, 2))
    written = _by_highdicom(write_images(oblique), (both > 0.5).astype(np.uint8), "BINARY", tmp_path / "overlap.dcm")
    found = read_dicom_seg(written, oblique)
    assert found.overlapping() == (("one", "two"),)
    assert np.array_equal(found.mask("one"), both[..., 0] > 0.5)
    assert np.array_equal(found.mask(2), both[..., 1] > 0.5)
    with pytest.raises(ReadError, match="one with two"):
        found.labelmap()
    assert np.array_equal(found.labelmap(overlap="last").array == 2, both[..., 1] > 0.5)
    assert np.array_equal(found.labelmap(overlap="first").array == 1, both[..., 0] > 0.5)
    written = _by_highdicom(tmp_path / "series", both, "FRACTIONAL", tmp_path / "fractional.dcm")
    found = read_dicom_seg(written, oblique)
    far = np.abs(both[..., 0] - 0.5) > 1 / 255
    assert np.array_equal(found.mask("one")[far], both[..., 0][far] > 0.5)
    assert "fractions" in found.findings[0]


def _by_highdicom(folder: Path, pixels: Any, kind: str, path: Path) -> Path:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.sr.codedict import codes

    images = sorted((pydicom.dcmread(file) for file in folder.iterdir()), key=lambda image: int(image.InstanceNumber))
    made_by = AlgorithmIdentificationSequence("x", codes.cid7162.ArtificialIntelligence, "1")
    described = [
        SegmentDescription(i, name, codes.SCT.Tissue, codes.SCT.Liver, "AUTOMATIC", made_by)
        for i, name in enumerate(("one", "two"), start=1)
    ]
    for image in images:
        image.PatientName = "Roe^Jane"
    Segmentation(images, pixels, kind, described, "1.2.9", 1, "1.2.9.1", 1, "m", "n", "1", "1").save_as(path)
    return path


def test_damaged_files_are_refused(ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    path = write_dicom_seg(ragged, tmp_path / "seg.dcm", read_source(write_images(ragged.geometry)))
    whole = path.read_bytes()
    for size in (0, 100, 400, len(whole) // 2, len(whole) - 200):
        (tmp_path / "cut.dcm").write_bytes(whole[:size])
        with pytest.raises(ReadError):
            read_dicom_seg(tmp_path / "cut.dcm")
    with pytest.raises(ReadError):
        read_dicom_seg(tmp_path / "none.dcm")


def test_a_picture_without_a_place(tmp_path: Path, write_images: Write) -> None:
    flat = Geometry((1, 5, 7), (0.5, 0.25, 1.0))
    folder = write_images(flat, drop=("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"))
    file = next(folder.iterdir())
    picture = pydicom.dcmread(file)
    picture.SOPClassUID, picture.Modality = "1.2.840.10008.5.1.4.1.1.1", "CR"  # a plain radiograph
    picture.file_meta.MediaStorageSOPClassUID = picture.SOPClassUID
    picture.save_as(file)
    source = read_source(folder)
    mask = Labelmap((np.arange(35, dtype=np.uint8) % 3 == 0).astype(np.uint8).reshape(1, 5, 7), source.geometry)
    path = write_dicom_seg(mask, tmp_path / "seg.dcm", source)
    assert np.array_equal(read_dicom_seg(path, source.geometry).labelmap().array, mask.array)


def test_frames_without_a_place_are_no_slices(ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    source = read_source(write_images(ragged.geometry))
    path = write_dicom_seg(ragged, tmp_path / "seg.dcm", source)
    dataset = pydicom.dcmread(path)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
    dataset.save_as(path)
    for grid in (None, source.geometry):
        with pytest.raises(ReadError, match=r"does not say where .* frames lie|image has another shape"):
            read_dicom_seg(path, grid)


def test_many_label_values(write_images: Write, tmp_path: Path, oblique: Geometry) -> None:
    array = np.random.default_rng(2).choice(np.array([0, 3, 300, 50000]), oblique.shape).astype(np.uint16)
    mask = Labelmap(array, oblique, {300: Label(300, "a\\b" + "x" * 80, (1, 2, 3))})
    path = write_dicom_seg(mask, tmp_path / "seg.dcm", read_source(write_images(oblique)), kind="labelmap")
    back = read_dicom_seg(path, oblique).labelmap()
    assert np.array_equal(back.array, array)
    assert back.labels[300].name == "a/b" + "x" * 61


class TestRealFiles:
    """Truth that other programs wrote."""

    def test_dcmqi(self, shared_data: Path) -> None:
        folder = shared_data / "ct_dcmqi_liver3slice_seg"
        source = read_source(folder / "dicom")
        truth = read_labelmap(folder / "liver_seg.nrrd")
        found = read_dicom_seg(folder / "seg_liver.dcm", source.geometry, frame_of_reference=source.frame_of_reference)
        assert np.array_equal(found.mask("Liver"), truth.array > 0)
        overlapping = read_dicom_seg(folder / "seg_partial_overlaps.dcm", source.geometry)
        assert len(overlapping.segments) == 5
        assert len(overlapping.overlapping()) == 3

    def test_liver_and_spine_round_trip(self, shared_data: Path, tmp_path: Path) -> None:
        folder = shared_data / "ct_dcmqi_liver3slice_seg"
        source = read_source(folder / "dicom")
        truth = read_labelmap(folder / "liver_spine_seg.nrrd")
        for kind in ("binary", "labelmap"):
            path = write_dicom_seg(truth, tmp_path / f"{kind}.dcm", source, kind=kind)
            assert np.array_equal(read_dicom_seg(path, source.geometry).labelmap().array, truth.array)

    def test_bit_packing_and_labelmap(self, shared_data: Path) -> None:
        folder = shared_data / "robustness" / "seg_bitpacking_24x38x3"
        truth = read_labelmap(folder / "nrrd" / "label.nrrd")
        found = read_dicom_seg(folder / "seg" / "label.seg")
        assert found.geometry.same_as(truth.geometry)
        assert np.array_equal(found.labelmap().array, truth.array)
        for name in ("sparse-labelmap-noppv.dcm", "sparse-labelmap-ppv5.dcm"):
            sparse = read_dicom_seg(shared_data / "robustness" / "seg_labelmap" / name, truth.geometry)
            pixels = pydicom.dcmread(shared_data / "robustness" / "seg_labelmap" / name).pixel_array
            assert int(np.count_nonzero(sparse.mask("Liver"))) == int(np.count_nonzero(pixels == 1))
            assert [segment.label.name for segment in sparse.segments] == ["Liver"]
