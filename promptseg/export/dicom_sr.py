"""Measurements as a DICOM Structured Report, template TID 1500 (PS3.16), with highdicom.

One Volumetric ROI measurement group (TID 1411) per segment; each refers to its segment in a DICOM SEG, so the SEG must
exist first. The end points of diameters stand in it as 3D coordinates (SCOORD3D), hence a Comprehensive 3D SR.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from promptseg.errors import WriteError
from promptseg.export.codes import PRIVATE_SCHEME, Concept, codes_for
from promptseg.export.dicom_seg import clean_text
from promptseg.export.dicom_seg_read import labels_of, open_dicom, read_dicom_seg
from promptseg.export.provenance import MANUFACTURER, equipment
from promptseg.export.source import DicomSource, copy_identity, without_identity
from promptseg.io.atomic import all_or_nothing
from promptseg.io.quiet import quiet_pydicom
from promptseg.measure import Quantity, intensities_of, measure_shape
from promptseg.measure.size import in_units_of
from promptseg.volume import Label, Volume

if TYPE_CHECKING:
    from highdicom.sr import Measurement

__all__ = ["write_dicom_sr"]

SERIES_NUMBER = 902
MILLIMETRE = Concept("mm", "millimeter", "UCUM")
ONE = Concept("1", "no units", "UCUM")
# PS3.16 CID 7469 and the IBSI manual's own codes (scheme IBSI of PS3.16 table 8-1), by the names of the measures.
CODES = {
    "volume": (Concept("118565006", "Volume"), Concept("mL", "milliliter", "UCUM")),
    "mesh_volume": (Concept("RNU0", "Volume of Mesh", "IBSI"), Concept("mL", "milliliter", "UCUM")),
    "surface": (Concept("C0JK", "Surface Area of Mesh", "IBSI"), Concept("mm2", "square millimeter", "UCUM")),
    "sphericity": (Concept("QCFX", "Sphericity", "IBSI"), ONE),
    "diameter_3d": (Concept("L0JK", "Maximum 3D Diameter of a Mesh", "IBSI"), MILLIMETRE),
    "axial_long": (Concept("103339001", "Long axis"), MILLIMETRE),
    "axial_short": (Concept("103340004", "Short axis"), MILLIMETRE),
}
# Statistics of intensities are one measure with a derivation (PS3.16 CID 7464); its name says what is measured.
DERIVATIONS = {
    "mean": Concept("373098007", "Mean"),
    "std": Concept("386136009", "Standard Deviation"),
    "min": Concept("255605001", "Minimum"),
    "median": Concept("373099004", "Median"),
    "max": Concept("56851009", "Maximum"),
}
HOUNSFIELD = (Concept("112031", "Attenuation Coefficient", "DCM"), Concept("[hnsf'U]", "Hounsfield unit", "UCUM"))
MR_SIGNAL = (Concept("110852", "MR signal intensity", "DCM"), ONE)
ANY_SIGNAL = (Concept("pixel-value", "Pixel value as displayed by the modality", PRIVATE_SCHEME), ONE)


def write_dicom_sr(
    seg: str | Path,
    path: str | Path,
    source: DicomSource,
    *,
    volume: Volume | None = None,
    keep_identity: bool = False,
) -> Path:
    """Measure the segments of a DICOM SEG and write the numbers as a structured report.

    Args:
        seg: the SEG that the report refers to.
        path: the file, by custom ``*.dcm``.
        source: the images that the SEG was drawn on, from ``read_source``.
        volume: the image itself, for intensities; on the source's grid.
        keep_identity: as ``write_dicom_seg``.

    Returns:
        ``path``.

    Raises:
        ReadError: ``seg`` is no SEG, or not of these images.
        GeometryMismatchError: it lies on another grid.
        WriteError: no segment has a voxel, no frame of reference, an unwritable file.
    """
    seg, path = Path(seg).expanduser(), Path(path).expanduser()
    if not source.frame_of_reference:
        raise WriteError("cannot write a DICOM SR: the images have no FrameOfReferenceUID (0020,0052)")
    if volume is not None:
        volume.geometry.require_same(source.geometry, "the image and its DICOM references")
    found = read_dicom_seg(seg, source.geometry, frame_of_reference=source.frame_of_reference)
    numbers = {label.value: number for number, label in labels_of(seg).items()}
    with quiet_pydicom(), all_or_nothing(path) as folder:
        dataset = open_dicom(seg)
        groups: list[Any] = []
        for segment in found.segments:
            if segment.crop.any():
                mask = found.mask(segment.label.value)
                measures = _in_mm(measure_shape(mask, found.geometry).quantities(), volume)
                if volume is not None and not volume.is_rgb:
                    measures += intensities_of(mask, volume)
                item = dataset.SegmentSequence[_place(dataset, numbers[segment.label.value])]
                groups += _groups(segment.label, measures, item, dataset, source, volume)
        if not groups:
            raise WriteError(f"cannot write a DICOM SR: no segment of {seg} has a voxel")
        report = _report(groups, dataset, source)
        copy_identity(source, report, keep_identity=keep_identity)
        report.save_as(folder / path.name, enforce_file_format=True)
    return path


def _place(dataset: Any, number: int) -> int:
    return next(i for i, item in enumerate(dataset.SegmentSequence) if int(item.SegmentNumber) == number)


def _report(groups: Sequence[Any], seg: Any, source: DicomSource) -> Any:
    from highdicom import UID
    from highdicom.sr import (
        Comprehensive3DSR,
        DeviceObserverIdentifyingAttributes,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
    )
    from pydicom.sr.codedict import codes

    device = DeviceObserverIdentifyingAttributes(
        uid=UID(), name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=f"{MANUFACTURER} research use only"
    )
    content = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(
                observer_type=codes.DCM.Device, observer_identifying_attributes=device
            )
        ),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    evidence = [*(without_identity(image) for image in source.images), without_identity(seg)]
    for item in evidence:  # one study: the SEG's own UID, and its images'
        item.StudyInstanceUID = source.study
    return Comprehensive3DSR(
        evidence=evidence,
        content=content[0],
        series_instance_uid=UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=UID(),
        instance_number=1,
        **equipment(),
        series_description="promptseg measurements, research use only",
        is_complete=False,
        is_verified=False,
    )


def _groups(
    label: Label, measures: Sequence[Quantity], item: Any, seg: Any, source: DicomSource, volume: Volume | None
) -> list[Any]:
    """Return two groups of one segment: TID 1411 with its numbers, and TID 1501 with its diameters as lines."""
    from highdicom import UID
    from highdicom.sr import (
        FindingSite,
        MeasurementsAndQualitativeEvaluations,
        ReferencedSegment,
        SourceSeriesForSegmentation,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    codes = codes_for(label.name)
    sites = [FindingSite(_code(codes.region or codes.kind), laterality=_code(codes.region_modifier or codes.modifier))]
    common = {
        "tracking_identifier": TrackingIdentifier(
            uid=UID(str(item.TrackingUID)) if item.get("TrackingUID") else UID(), identifier=clean_text(label.name)
        ),
        "finding_type": _code(codes.kind),
        "finding_category": _code(codes.category),
        "finding_sites": None if codes.is_private else sites,
    }
    segment = ReferencedSegment(
        sop_class_uid=str(seg.SOPClassUID),
        sop_instance_uid=str(seg.SOPInstanceUID),
        segment_number=int(item.SegmentNumber),
        source_series=SourceSeriesForSegmentation(source.series),
    )
    numbers = VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=segment, measurements=_numbers(measures, volume), **common
    )
    return [numbers, MeasurementsAndQualitativeEvaluations(measurements=_lines(measures, source), **common)]


def _in_mm(measures: tuple[Quantity, ...], volume: Volume | None) -> list[Quantity]:
    """Return the measures that this image has and a report can state: none in pixels, for which it has no word."""
    if volume is None:
        return list(measures)
    return [one for one in in_units_of(measures, volume.geometry) if one.unit not in ("px", "voxels")]


def _numbers(measures: Sequence[Quantity], volume: Volume | None) -> list[Measurement]:
    from highdicom.sr import Measurement

    values = {quantity.name: quantity.value for quantity in measures}
    found = [
        Measurement(_code(concept), _rounded(values[name]), _code(unit)) for name, (concept, unit) in CODES.items()
    ]
    modality = volume.modality if volume is not None else None
    concept, unit = HOUNSFIELD if modality == "CT" else MR_SIGNAL if modality == "MR" else ANY_SIGNAL
    return found + [
        Measurement(_code(concept), _rounded(values[name]), _code(unit), derivation=_code(derivation))
        for name, derivation in DERIVATIONS.items()
        if name in values
    ]


def _lines(measures: Sequence[Quantity], source: DicomSource) -> list[Measurement]:
    """Return the diameters with their end points; TID 1411 has no place for those."""
    from highdicom.sr import CoordinatesForMeasurement3D, Measurement

    values = {quantity.name: quantity.value for quantity in measures}
    found = []
    for name in ("axial_long", "axial_short", "diameter_3d"):
        ends = np.array([values[f"{name}_start"], values[f"{name}_end"]], np.float64)
        line = CoordinatesForMeasurement3D("POLYLINE", ends, source.frame_of_reference)
        concept, unit = CODES[name]
        found.append(Measurement(_code(concept), _rounded(values[name]), _code(unit), referenced_coordinates=[line]))
    return found


def _rounded(value: Any) -> float:
    """Return a number that a decimal string of 16 characters holds."""
    return float(f"{float(value):.9g}")


def _code(concept: Concept | None) -> Any:
    from highdicom.sr import CodedConcept

    return None if concept is None else CodedConcept(concept.value, concept.scheme, clean_text(concept.meaning))
