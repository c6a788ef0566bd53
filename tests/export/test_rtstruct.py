"""RT Structure Sets: contours with holes, read back on the image's grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from promptseg.errors import GeometryMismatchError, PromptError, ReadError, WriteError
from promptseg.export import Provenance, read_rtstruct, read_source, write_dicom_seg, write_rtstruct
from promptseg.export.read import ImportOptions, mask_prompt, read_segmentation
from promptseg.io import read_labelmap, read_volume
from promptseg.score.metrics import dice
from promptseg.volume import Geometry, Label, Labelmap

SECRETS = ("Doe^Jane", "SECRET-4711", "19010203", "ACC-99", "STUDY-17")  # as the fixture plants them
Write = Callable[..., Path]


@pytest.mark.parametrize("holes", ["keyhole", "xor"])
def test_round_trip_is_exact(holes: str, ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    source = read_source(write_images(ragged.geometry))
    path = write_rtstruct(ragged, tmp_path / "rt.dcm", source, holes=holes)
    found = read_rtstruct(path, source.geometry, frame_of_reference=source.frame_of_reference)
    assert np.array_equal(found.labelmap().array, ragged.array)
    assert [segment.label for segment in found.segments] == list(ragged.labels.values())
    kinds = {c.ContourGeometricType for roi in pydicom.dcmread(path).ROIContourSequence for c in roi.ContourSequence}
    assert kinds == ({"CLOSED_PLANAR"} if holes == "keyhole" else {"CLOSEDPLANAR_XOR"})


def test_a_keyhole_is_one_contour_in_the_image_it_names(write_images: Write, tmp_path: Path, oblique: Geometry) -> None:
    array = np.zeros(oblique.shape, np.uint8)
    array[1, 5:20, 3:18] = 1
    array[1, 8:12, 6:9] = 0  # two holes, one of them with an island
    array[1, 8:18, 11:16] = 0
    array[1, 12, 13] = 1
    folder = write_images(oblique)
    ring = Labelmap(array, oblique, {1: Label(1, "ring", (1, 2, 3))})
    path = write_rtstruct(ring, tmp_path / "a.dcm", read_source(folder))
    dataset = pydicom.dcmread(path)
    contours = dataset.ROIContourSequence[0].ContourSequence
    assert len(contours) == 2
    images = {item.SOPInstanceUID: item for item in map(pydicom.dcmread, folder.iterdir())}
    for contour in contours:
        image = images[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        points = np.asarray(contour.ContourData, float).reshape(-1, 3)
        assert len(points) == contour.NumberOfContourPoints
        normal = np.cross(image.ImageOrientationPatient[:3], image.ImageOrientationPatient[3:])
        assert np.abs((points - np.asarray(image.ImagePositionPatient, float)) @ normal).max() < 1e-4
    assert list(dataset.ROIContourSequence[0].ROIDisplayColor) == [1, 2, 3]
    listed = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert {item.ReferencedSOPInstanceUID for item in listed.ContourImageSequence} == set(images)


def test_it_says_who_made_it(ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    source = read_source(write_images(ragged.geometry))
    long = tuple({"type": "point", "voxel": [i, i, i]} for i in range(100))
    made = Provenance(model_id="builtin", model_hash="sha256:ab12", prompts={2: long})
    dataset = pydicom.dcmread(write_rtstruct(ragged, tmp_path / "rt.dcm", source, provenance=made))
    assert "Research use only" in dataset.StructureSetDescription
    assert dataset.ApprovalStatus == "UNAPPROVED"
    roi = dataset.StructureSetROISequence[0]
    assert roi.ROIGenerationAlgorithm == "SEMIAUTOMATIC"
    assert "sha256:ab12" in roi.ROIDescription
    assert "point:100" in roi.ROIDescription
    assert len(roi.ROIDescription) <= 1024
    code = dataset.RTROIObservationsSequence[1].RTROIIdentificationCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("64033007", "SCT")


def test_identity_only_when_asked(ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    source = read_source(write_images(ragged.geometry))
    kept = pydicom.dcmread(write_rtstruct(ragged, tmp_path / "kept.dcm", source, keep_identity=True))
    assert (str(kept.PatientName), kept.PatientID, kept.StudyDate) == ("Doe^Jane", "SECRET-4711", "19990101")
    path = write_rtstruct(ragged, tmp_path / "plain.dcm", source)
    assert not [secret for secret in (*SECRETS, "19990101", "101112") if secret.encode() in path.read_bytes()]
    plain = pydicom.dcmread(path)
    assert plain.PatientIdentityRemoved == "YES"
    assert plain.StudyInstanceUID == kept.StudyInstanceUID == source.study


@pytest.mark.parametrize("keep_identity", [False, True])
def test_conformance(
    keep_identity: bool,
    ragged: Labelmap,
    write_images: Write,
    tmp_path: Path,
    conformance: Callable[[Path], list[str]],
) -> None:
    source = read_source(write_images(ragged.geometry))
    assert conformance(write_rtstruct(ragged, tmp_path / "rt.dcm", source, keep_identity=keep_identity)) == []


def test_refusals(ragged: Labelmap, write_images: Write, tmp_path: Path, oblique: Geometry) -> None:
    source = read_source(write_images(oblique))
    moved = Geometry(oblique.shape, oblique.spacing, (-31.5, 112.25, -637.2), oblique.direction)
    with pytest.raises(GeometryMismatchError):
        write_rtstruct(Labelmap(ragged.array, moved), tmp_path / "a.dcm", source)
    with pytest.raises(WriteError, match="no label has a voxel"):
        write_rtstruct(Labelmap(np.zeros_like(ragged.array), oblique), tmp_path / "a.dcm", source)
    with pytest.raises(WriteError, match="keyhole"):
        write_rtstruct(ragged, tmp_path / "a.dcm", source, holes="key")
    path = write_rtstruct(ragged, tmp_path / "a.dcm", source)
    with pytest.raises(ReadError, match="another scan"):
        read_rtstruct(path, oblique, frame_of_reference="1.2.3")
    upright = Geometry(oblique.shape, oblique.spacing, oblique.origin)
    with pytest.raises(GeometryMismatchError, match="do not lie in the slices"):
        read_rtstruct(path, upright)
    whole = path.read_bytes()
    for size in (0, 200, len(whole) // 2):
        (tmp_path / "cut.dcm").write_bytes(whole[:size])
        with pytest.raises(ReadError):
            read_rtstruct(tmp_path / "cut.dcm", oblique)


def test_contours_of_others(write_images: Write, tmp_path: Path, oblique: Geometry) -> None:
    """Holes as plain contours, contours beside the slices, points, contours outside: right where they can be, told."""
    array = np.zeros(oblique.shape, np.uint8)
    array[2, 5:20, 3:18] = 1
    path = write_rtstruct(Labelmap(array, oblique), tmp_path / "rt.dcm", read_source(write_images(oblique)))
    dataset = pydicom.dcmread(path)
    contours = dataset.ROIContourSequence[0].ContourSequence
    contours.append(_square(oblique, 2.0, 8, 12))  # a hole
    contours.append(_square(oblique, 3.2, 8, 12))  # beside a slice
    contours.append(_square(oblique, 9.0, 8, 12))  # behind the last slice
    contours.append(_square(oblique, 1.0, 8, 12, kind="POINT"))
    dataset.save_as(path)
    found = read_rtstruct(path, oblique)
    array[2, 8:12, 8:12] = 0
    array[3, 8:12, 8:12] = 1
    assert np.array_equal(found.labelmap().array, array)
    said = " ".join(found.findings)
    assert "1 points or open" in said
    assert "1 contours lie outside" in said
    assert "0.20 slices beside" in said


def test_contours_on_finer_slices_are_joined(write_images: Write, tmp_path: Path, oblique: Geometry) -> None:
    array = np.zeros(oblique.shape, np.uint8)
    array[2, 8:12, 8:12] = 1
    path = write_rtstruct(Labelmap(array, oblique), tmp_path / "rt.dcm", read_source(write_images(oblique)))
    dataset = pydicom.dcmread(path)
    dataset.ROIContourSequence[0].ContourSequence.append(_square(oblique, 2.3, 10, 14))
    dataset.save_as(path)
    found = read_rtstruct(path, oblique)
    array[2, 10:14, 10:14] = 1  # both, not one or the other
    assert np.array_equal(found.labelmap().array, array)
    assert "joined" in " ".join(found.findings)


def _square(geometry: Geometry, z: float, low: int, high: int, kind: str = "CLOSED_PLANAR") -> Any:
    """Return a contour around pixels low ... high - 1 of rows and columns."""
    a, b = low - 0.5, high - 0.5
    item = pydicom.Dataset()
    item.ContourGeometricType, item.NumberOfContourPoints = kind, 4
    points = geometry.voxel_to_world([(z, a, a), (z, a, b), (z, b, b), (z, b, a)])
    item.ContourData = [f"{v:.5f}" for v in points.ravel()]
    return item


class TestRealFiles:
    """Contours drawn by people, beside masks made from them by another program."""

    @pytest.mark.parametrize(("modality", "name"), [("CT", "GTV_Mass_CT"), ("PET", "GTV_Mass_PET")])
    def test_sarcoma(self, shared_data: Path, tmp_path: Path, modality: str, name: str) -> None:
        folder = shared_data / "mm_sts001_sarcoma" / modality
        source = read_source(folder / "dicom")
        truth = read_labelmap(folder / "label.nii.gz").array > 0
        drawn = read_rtstruct(folder / "rtstruct.dcm", source.geometry, frame_of_reference=source.frame_of_reference)
        assert dice(truth, drawn.mask(name)) >= 0.999
        path = write_rtstruct(Labelmap(truth.astype(np.uint8), source.geometry), tmp_path / "rt.dcm", source)
        assert np.array_equal(read_rtstruct(path, source.geometry).mask(1), truth)

    def test_other_frame_of_reference(self, shared_data: Path) -> None:
        folder = shared_data / "mm_sts001_sarcoma"
        pet = read_source(folder / "PET" / "dicom")
        with pytest.raises(ReadError, match="another scan"):
            read_rtstruct(folder / "CT" / "rtstruct.dcm", pet.geometry, frame_of_reference="1.2.3.4")

    def test_references_to_absent_images_do_not_matter(self, shared_data: Path) -> None:
        grid = Geometry((40, 100, 100), (2.0, 2.0, 4.0), (-100.0, -100.0, 0.0))
        names = ("rtstruct_single/rt.dcm", "rtstruct_single/invalid_reference_rt.dcm")
        for name, count in zip(names, (1, 4), strict=True):
            found = read_rtstruct(shared_data / "robustness" / name, grid)
            assert len(found.segments) == count
            assert all(segment.crop.any() for segment in found.segments)


def test_a_file_without_preamble_and_meta(ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    images = write_images(ragged.geometry)
    path = write_rtstruct(ragged, tmp_path / "rt.dcm", read_source(images))
    dataset = pydicom.dcmread(path)
    plain = pydicom.Dataset(dataset)
    plain.save_as(tmp_path / "bare.dcm", implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert (tmp_path / "bare.dcm").read_bytes()[128:132] != b"DICM"
    found = read_segmentation(tmp_path / "bare.dcm", ImportOptions(ragged.geometry))
    assert np.array_equal(found.labelmap().array, ragged.array)


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_an_object_of_the_file_is_a_prompt(kind: str, ragged: Labelmap, write_images: Write, tmp_path: Path) -> None:
    images = write_images(ragged.geometry)
    write = write_rtstruct if kind == "rtstruct" else write_dicom_seg
    path = write(ragged, tmp_path / "mask.dcm", read_source(images))
    volume = read_volume(images)
    found = mask_prompt(path, volume, "left kidney")
    assert np.array_equal(found.mask, ragged.array == 7)
    with pytest.raises(PromptError, match=r"3 objects; name one with --mask-label .*: liver, left kidney"):
        mask_prompt(path, volume)
