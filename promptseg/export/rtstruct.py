"""Writing DICOM RT Structure Sets (PS3.3 A.19).

One ROI per label; its contours lie on the slices of the source images, in LPS mm, and each names its image. Holes are
joined to their outer contour by a keyhole (the default, read everywhere), or written as ``CLOSEDPLANAR_XOR`` contours;
see ``promptseg.measure.contours``. Why no library writes these is told in docs/adr/0020.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import WriteError
from promptseg.export.codes import codes_for
from promptseg.export.dicom_seg import clean_text
from promptseg.export.provenance import CONTENT_DESCRIPTION, MANUFACTURER, Provenance
from promptseg.export.rtstruct_read import RTSTRUCT_CLASS, read_rtstruct
from promptseg.export.source import DicomSource, SourceFrame, copy_identity
from promptseg.io.atomic import all_or_nothing
from promptseg.io.label_values import present_values
from promptseg.io.quiet import quiet_pydicom
from promptseg.measure.contours import contours_of_mask
from promptseg.volume.geometry import Geometry
from promptseg.volume.labelmap import Label, Labelmap

__all__ = ["read_rtstruct", "write_rtstruct"]

STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management: what Referenced SOP Class of a study must be
SERIES_NUMBER = 901
CONTOUR_DATA = 0x30060050
SH_LENGTH = 16
ST_LENGTH = 1024
GEOMETRIC_TYPES = {"keyhole": "CLOSED_PLANAR", "xor": "CLOSEDPLANAR_XOR"}


def write_rtstruct(
    labelmap: Labelmap,
    path: str | Path,
    source: DicomSource,
    *,
    provenance: Provenance | None = None,
    holes: str = "keyhole",
    keep_identity: bool = False,
) -> Path:
    """Write a mask as an RT Structure Set that refers to its images.

    Args:
        labelmap: on the grid of the source images. Labels without a voxel are left out.
        path: the file, by custom ``*.dcm``.
        source: the images, from ``read_source``.
        provenance: who made it.
        holes: "keyhole" or "xor".
        keep_identity: copy the patient's name, id and dates, which are left empty otherwise; see docs/adr/0022.

    Returns:
        ``path``.

    Raises:
        GeometryMismatchError: the mask lies on another grid than the images.
        WriteError: no voxel in any label, no frame of reference, an unwritable file.
    """
    path = Path(path).expanduser()
    source.geometry.require_same(labelmap.geometry, "the mask and its DICOM images")
    if not source.frame_of_reference:
        raise WriteError(
            "cannot write an RTSTRUCT: the images have no FrameOfReferenceUID (0020,0052), so their contours have no "
            "place to refer to; write .nii.gz or .seg.nrrd instead"
        )
    labels = [labelmap.labels.get(value) or Label.default(value) for value in present_values(labelmap.array)]
    if not labels:
        raise WriteError("cannot write an RTSTRUCT: no label has a voxel; it needs at least one")
    rois = [_contours(labelmap, label, source, holes) for label in labels]
    with quiet_pydicom(), all_or_nothing(path) as folder:
        dataset = _header(source)
        copy_identity(source, dataset, keep_identity=keep_identity)
        _add_references(dataset, source)
        _add_rois(dataset, source, labels, rois, provenance or Provenance())
        dataset.save_as(folder / path.name, enforce_file_format=True)
    return path


def _header(source: DicomSource) -> Any:
    """Return a data set with SOP Common, Series, Equipment, Frame of Reference, Structure Set and Approval."""
    import pydicom
    from pydicom.uid import UID, ImplicitVRLittleEndian, generate_uid

    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    # A contour's coordinates may be longer than an explicit length of 16 bits holds (note in table C.8-42).
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = UID(RTSTRUCT_CLASS)
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTSTRUCT_CLASS, generate_uid(prefix=None)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    now = datetime.now()
    dataset.InstanceCreationDate = dataset.StructureSetDate = now.strftime("%Y%m%d")
    dataset.InstanceCreationTime = dataset.StructureSetTime = now.strftime("%H%M%S")
    dataset.Modality, dataset.SeriesInstanceUID = "RTSTRUCT", generate_uid(prefix=None)
    dataset.SeriesNumber, dataset.InstanceNumber = SERIES_NUMBER, 1
    dataset.SeriesDescription = "promptseg contours, research use only"
    dataset.OperatorsName = ""
    dataset.Manufacturer = dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions = version("promptseg")
    dataset.FrameOfReferenceUID = source.frame_of_reference
    dataset.PositionReferenceIndicator = ""
    dataset.StructureSetLabel = "promptseg"
    dataset.StructureSetName = "promptseg contours"
    dataset.StructureSetDescription = CONTENT_DESCRIPTION
    dataset.ApprovalStatus = "UNAPPROVED"
    return dataset


def _reference(frame: SourceFrame) -> Any:
    import pydicom

    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = frame.sop_class, frame.sop_instance
    if frame.frame_number is not None:
        item.ReferencedFrameNumber = frame.frame_number
    return item


def _add_references(dataset: Any, source: DicomSource) -> None:
    """Add Referenced Frame of Reference Sequence (3006,0010): study, series and all images."""
    import pydicom

    series = pydicom.Dataset()
    series.SeriesInstanceUID = source.series
    files = {frame.sop_instance: replace(frame, frame_number=None) for frame in source.frames}
    series.ContourImageSequence = [_reference(file) for file in files.values()]
    study = pydicom.Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = STUDY_CLASS, source.study
    study.RTReferencedSeriesSequence = [series]
    frame_of_reference = pydicom.Dataset()
    frame_of_reference.FrameOfReferenceUID = source.frame_of_reference
    frame_of_reference.RTReferencedStudySequence = [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame_of_reference]


def _add_rois(dataset: Any, source: DicomSource, labels: list[Label], rois: list[list[Any]], made: Provenance) -> None:
    """Add Structure Set ROI, ROI Contour and RT ROI Observations, one item per label."""
    import pydicom

    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    for label, contours in zip(labels, rois, strict=True):
        roi = pydicom.Dataset()
        roi.ROINumber, roi.ROIName = label.value, clean_text(label.name)
        roi.ReferencedFrameOfReferenceUID = source.frame_of_reference
        roi.ROIGenerationAlgorithm = made.algorithm
        roi.ROIGenerationDescription = clean_text(f"{MANUFACTURER} {made.model_id}")
        roi.ROIDescription = _description(label.value, made)
        dataset.StructureSetROISequence.append(roi)
        contour = pydicom.Dataset()
        contour.ROIDisplayColor, contour.ReferencedROINumber = list(label.color), label.value
        contour.ContourSequence = contours
        dataset.ROIContourSequence.append(contour)
        dataset.RTROIObservationsSequence.append(_observation(label))


def _description(value: int, made: Provenance) -> str:
    """Return what made the ROI as JSON that fits ROI Description; the prompts' hash stands for long prompts."""
    facts = made.parameters(value)
    text = json.dumps(facts, separators=(",", ":"))
    if len(text) > ST_LENGTH:
        text = json.dumps({key: fact for key, fact in facts.items() if key != "prompts"}, separators=(",", ":"))
    return text[:ST_LENGTH].replace("\\", "/")


def _observation(label: Label) -> Any:
    import pydicom

    codes = codes_for(label.name)
    item = pydicom.Dataset()
    item.ObservationNumber = item.ReferencedROINumber = label.value
    item.ROIObservationLabel = clean_text(label.name, SH_LENGTH)
    item.RTROIInterpretedType, item.ROIInterpreter = "", ""
    if not codes.is_private:
        code = pydicom.Dataset()
        code.CodeValue, code.CodingSchemeDesignator = codes.kind.value, codes.kind.scheme
        code.CodeMeaning = clean_text(codes.kind.meaning)
        item.RTROIIdentificationCodeSequence = [code]
    return item


def _contours(labelmap: Labelmap, label: Label, source: DicomSource, holes: str) -> list[Any]:
    """Return the items of Contour Sequence of one label."""
    import pydicom

    items: list[Any] = []
    mask = labelmap.mask(label.value)
    for z in np.flatnonzero(mask.any(axis=(1, 2))):
        for contour in contours_of_mask(mask[z], holes=holes):
            item = pydicom.Dataset()
            item.ContourImageSequence = [_reference(source.frames[z])]
            item.ContourGeometricType = GEOMETRIC_TYPES[holes]
            item.NumberOfContourPoints = len(contour)
            # Ready-made strings: converting and checking each again would take longer than all the rest.
            data = _coordinates(contour, int(z), labelmap.geometry)
            item.add(pydicom.DataElement(CONTOUR_DATA, "DS", data, already_converted=True))
            item.ContourNumber = len(items) + 1
            items.append(item)
    return items


def _coordinates(contour: NDArray[np.float64], z: int, geometry: Geometry) -> list[str]:
    """Return x, y, z of all points in LPS mm, as decimal strings of at most 16 characters."""
    voxels = np.column_stack([np.full(len(contour), float(z)), contour])
    return [f"{value:.6f}" for value in geometry.voxel_to_world(voxels).ravel().tolist()]
