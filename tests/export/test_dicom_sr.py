"""Structured reports: read back by highdicom and pydicom, judged by dciodvfy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.sr import srread

from promptseg.cli.main import main
from promptseg.errors import GeometryMismatchError, ReadError, WriteError
from promptseg.export import DicomSource, read_source, write_dicom_seg, write_dicom_sr
from promptseg.io import write_labelmap
from promptseg.measure import measure_intensity, measure_shape
from promptseg.volume import Label, Labelmap, Volume

SECRETS = ("Doe^Jane", "SECRET-4711", "19010203", "ACC-99", "STUDY-17", "19990101", "101112")
Write = Callable[..., Path]


@pytest.fixture
def blobs(ragged: Labelmap) -> Labelmap:
    array = np.zeros(ragged.geometry.shape, np.uint8)
    array[1:4, 5:20, 3:18], array[2:5, 24:33, 4:9], array[0:2, 30:36, 12:20] = 2, 7, 40
    return Labelmap(array, ragged.geometry, ragged.labels)


@pytest.fixture
def source(blobs: Labelmap, write_images: Write) -> DicomSource:
    return read_source(write_images(blobs.geometry))


@pytest.fixture
def volume(blobs: Labelmap) -> Volume:
    array = np.random.default_rng(5).integers(-100, 300, blobs.geometry.shape).astype(np.int16)
    return Volume.from_array(array, blobs.geometry, modality="CT")


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_highdicom_reads_the_same_numbers(
    kind: str, blobs: Labelmap, source: DicomSource, volume: Volume, tmp_path: Path
) -> None:
    seg = write_dicom_seg(blobs, tmp_path / "seg.dcm", source, kind=kind)
    report = srread(write_dicom_sr(seg, tmp_path / "sr.dcm", source, volume=volume))
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == [label.name for label in blobs.labels.values()]
    written = pydicom.dcmread(seg)
    for group, label in zip(groups, blobs.labels.values(), strict=True):
        shape, mean = (
            measure_shape(blobs.mask(label.value), blobs.geometry),
            measure_intensity(blobs.mask(label.value), volume),
        )
        values = {(m.name.meaning, m.derivation and m.derivation.meaning): m for m in group.get_measurements()}
        assert values["Volume", None].value == pytest.approx(shape.volume_ml)
        assert values["Volume", None].unit.value == "mL"
        assert values["Long axis", None].value == pytest.approx(shape.axial.long.length_mm)
        assert values["Attenuation Coefficient", "Mean"].value == pytest.approx(mean.mean)
        assert values["Attenuation Coefficient", "Mean"].unit.value == "[hnsf'U]"
        assert len(values) == 12
        segment = group.referenced_segment
        numbers = [i.SegmentNumber for i in written.SegmentSequence if i.get("TrackingUID") == group.tracking_uid]
        assert segment.referenced_sop_instance_uid == written.SOPInstanceUID
        assert np.atleast_1d(segment.referenced_segment_numbers).tolist() == numbers
    assert groups[1].finding_sites[0].topographical_modifier is None
    assert groups[1].finding_type.meaning == "Kidney"
    assert groups[1].finding_sites[0].laterality.meaning == "Left"


def test_end_points_lie_where_they_were_measured(blobs: Labelmap, source: DicomSource, tmp_path: Path) -> None:
    seg = write_dicom_seg(blobs, tmp_path / "seg.dcm", source)
    path = write_dicom_sr(seg, tmp_path / "sr.dcm", source)
    long = measure_shape(blobs.mask(2), blobs.geometry).axial.long
    lines = _lines(pydicom.dcmread(path))
    assert any(np.allclose(line, [long.start, long.end], atol=1e-3) for line in lines)
    assert len(lines) == 3 * 3


def _lines(dataset: pydicom.Dataset) -> list[np.ndarray]:
    found = []
    for element in dataset.iterall():
        if element.keyword == "GraphicData":
            found.append(np.reshape(element.value, (-1, 3)))
    return found


@pytest.mark.parametrize("keep_identity", [False, True])
def test_conformance_and_identity(
    keep_identity: bool,
    blobs: Labelmap,
    source: DicomSource,
    volume: Volume,
    tmp_path: Path,
    conformance: Callable[[Path], list[str]],
) -> None:
    seg = write_dicom_seg(blobs, tmp_path / "seg.dcm", source)
    path = write_dicom_sr(seg, tmp_path / "sr.dcm", source, volume=volume, keep_identity=keep_identity)
    found = [secret for secret in SECRETS if secret.encode() in path.read_bytes()]
    assert found == (list(SECRETS) if keep_identity else [])
    dataset = pydicom.dcmread(path)
    assert dataset.StudyInstanceUID == source.study
    assert dataset.VerificationFlag == "UNVERIFIED"
    assert isinstance(srread(path), highdicom.sr.Comprehensive3DSR)
    assert conformance(path) == []


def test_refusals(blobs: Labelmap, source: DicomSource, volume: Volume, tmp_path: Path) -> None:
    seg = write_dicom_seg(blobs, tmp_path / "seg.dcm", source)
    moved = replace(blobs.geometry, origin=(0.0, 0.0, 0.0))
    with pytest.raises(GeometryMismatchError):
        write_dicom_sr(seg, tmp_path / "sr.dcm", source, volume=replace(volume, geometry=moved))
    with pytest.raises(ReadError, match=r"another kind|no DICOM"):
        write_dicom_sr(write_labelmap(blobs, tmp_path / "m.nii")[0], tmp_path / "sr.dcm", source)
    assert not (tmp_path / "sr.dcm").exists()


def test_the_command(blobs: Labelmap, write_images: Write, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    images = str(write_images(blobs.geometry))
    mask, seg, report = str(tmp_path / "m.seg.nrrd"), str(tmp_path / "seg.dcm"), str(tmp_path / "sr.dcm")
    write_labelmap(blobs, Path(mask))
    assert main(["export", mask, "-o", report, "--as", "sr", "--image", images]) == 1
    assert "--as seg first" in capfd.readouterr().err
    assert main(["export", mask, "-o", seg, "--image", images]) == 0
    assert main(["export", seg, "-o", report, "--as", "sr", "--image", images]) == 0
    assert len(srread(report).content.get_volumetric_roi_measurement_groups()) == 3


def test_no_frame_of_reference(blobs: Labelmap, source: DicomSource, tmp_path: Path) -> None:
    seg = write_dicom_seg(blobs, tmp_path / "seg.dcm", source)
    image = source.images[0]
    del image.FrameOfReferenceUID
    with pytest.raises(WriteError, match="FrameOfReferenceUID"):
        write_dicom_sr(seg, tmp_path / "sr.dcm", source)


def test_unused_label_is_left_out(blobs: Labelmap, source: DicomSource, tmp_path: Path) -> None:
    labels = {**blobs.labels, 99: Label.default(99, "nothing")}
    seg = write_dicom_seg(Labelmap(blobs.array, blobs.geometry, labels), tmp_path / "seg.dcm", source)
    report = srread(write_dicom_sr(seg, tmp_path / "sr.dcm", source))
    assert len(report.content.get_volumetric_roi_measurement_groups()) == 3
