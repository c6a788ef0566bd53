"""Writing DICOM Segmentation objects (PS3.3 A.51 and A.51-LABELMAP) with highdicom.

Every segment carries its coded name, its colour, the algorithm with the model's id and hash, the prompts that made it
(Algorithm Parameters (0066,0032), the standard's own place for them: a SEG has no content items), and a tracking UID.
Segment numbers of a BINARY object run from 1 without gaps, as the standard wants; the label values before that stand in
the algorithm parameters, from where the reader takes them. A LABELMAP object keeps the values themselves.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import WriteError, did_you_mean
from promptseg.export.codes import PRIVATE_SCHEME, Concept, SegmentCodes, codes_for
from promptseg.export.dicom_seg_read import read_dicom_seg
from promptseg.export.provenance import CONTENT_DESCRIPTION, MANUFACTURER, Provenance, equipment
from promptseg.export.source import DicomSource, copy_identity, without_identity
from promptseg.io.atomic import all_or_nothing
from promptseg.io.label_values import present_values
from promptseg.io.quiet import quiet_pydicom
from promptseg.volume.labelmap import Label, Labelmap

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription

__all__ = ["KINDS", "clean_text", "read_dicom_seg", "write_dicom_seg"]

KINDS = ("binary", "labelmap")
SERIES_NUMBER = 900  # behind the scanner's own series in most archives; a number only, the UID is what counts
MAX_SEGMENTS = 65535
LO_LENGTH = 64


def write_dicom_seg(
    labelmap: Labelmap,
    path: str | Path,
    source: DicomSource,
    *,
    provenance: Provenance | None = None,
    kind: str = "binary",
    keep_identity: bool = False,
) -> Path:
    """Write a mask as a DICOM Segmentation object that refers to its images.

    Args:
        labelmap: on the grid of the source images. Labels without a voxel are left out.
        path: the file, by custom ``*.dcm``.
        source: the images, from ``read_source``.
        provenance: who made it; None: semi-automatic, nothing else known.
        kind: "binary" (one bit per voxel and segment, read everywhere) or "labelmap" (PS3.3 2024d; smaller, newer).
        keep_identity: copy the patient's name, id and dates, which are left empty otherwise; see docs/adr/0022.

    Returns:
        ``path``.

    Raises:
        GeometryMismatchError: the mask lies on another grid than the images.
        WriteError: no voxel in any label, an unknown kind, images without a frame of reference, an unwritable file.
    """
    path = Path(path).expanduser()
    if kind not in KINDS:
        raise WriteError(f"expected a kind of SEG among {', '.join(KINDS)}, got {kind!r}{did_you_mean(kind, KINDS)}")
    source.geometry.require_same(labelmap.geometry, "the mask and its DICOM images")
    labels = _present_labels(labelmap)
    _require_place(source)
    array = _numbered(labelmap.array, labels) if kind == "binary" else labelmap.array
    numbers = range(1, len(labels) + 1) if kind == "binary" else [label.value for label in labels]
    made = provenance or Provenance()
    segments = [_describe(label, number, made) for label, number in zip(labels, numbers, strict=True)]
    with quiet_pydicom(), all_or_nothing(path) as folder:
        dataset = _segmentation(array, source, segments, kind)
        copy_identity(source, dataset, keep_identity=keep_identity)
        for item, label in zip(_own_items(dataset), labels, strict=True):
            _add_modifiers(item, codes_for(label.name))
        dataset.save_as(folder / path.name, enforce_file_format=True)
    return path


def clean_text(text: str, length: int = LO_LENGTH) -> str:
    """Return a text that a DICOM LO or SH holds: no backslash, no control character, not longer than ``length``.

    The standard counts characters, but some readers count bytes of UTF-8, so these are what is kept within the length.
    """
    plain = re.sub(r"[\x00-\x1f\x7f]", " ", text.replace("\\", "/")).strip()
    return plain.encode("utf-8")[:length].decode("utf-8", errors="ignore").strip() or "unnamed"


def _present_labels(labelmap: Labelmap) -> list[Label]:
    """Return the labels that have a voxel, by value.

    Raises:
        WriteError: none has, or too many or too large values.
    """
    values = present_values(labelmap.array)
    if not values:
        raise WriteError("cannot write a DICOM SEG: no label has a voxel; a SEG needs at least one")
    if values[-1] > MAX_SEGMENTS:
        raise WriteError(f"cannot write a DICOM SEG: label values go up to {MAX_SEGMENTS}, got {values[-1]}")
    return [labelmap.labels.get(value) or Label.default(value) for value in values]


def _require_place(source: DicomSource) -> None:
    """Raise unless the images say where they lie, or there is one single image only.

    Raises:
        WriteError: no frame of reference.
    """
    if not source.frame_of_reference and len(source.frames) > 1:
        raise WriteError(
            "cannot write a DICOM SEG: the images have no FrameOfReferenceUID (0020,0052), so a mask over several "
            "slices has no place to refer to; write .nii.gz or .seg.nrrd instead"
        )


def _numbered(array: NDArray[Any], labels: list[Label]) -> NDArray[Any]:
    """Return the array with values 1, 2, 3 ... in place of the labels' own."""
    table = np.zeros(labels[-1].value + 1, np.min_scalar_type(len(labels)))
    for number, label in enumerate(labels, start=1):
        table[label.value] = number
    return np.asarray(table[array])


def _segmentation(array: NDArray[Any], source: DicomSource, segments: list[SegmentDescription], kind: str) -> Any:
    from highdicom import UID
    from highdicom.seg import Segmentation

    images, pixels = _aligned(source, array)
    try:
        return Segmentation(
            source_images=images,
            pixel_array=pixels,
            segmentation_type=kind.upper(),
            segment_descriptions=segments,
            series_instance_uid=UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=UID(),
            instance_number=1,
            **equipment(),
            content_description=CONTENT_DESCRIPTION,
            content_label="PROMPTSEG",
            series_description="promptseg masks, research use only",
            coding_schemes=_coding_schemes(segments),
        )
    except (ValueError, TypeError, AttributeError, KeyError) as exc:
        raise WriteError(f"cannot write a DICOM SEG for these images: {_reason(exc)}") from exc


def _reason(exc: Exception) -> str:
    """Return what highdicom said, in one line; its messages name attributes, not their values."""
    return " ".join(str(exc).split()) or type(exc).__name__


def _aligned(source: DicomSource, array: NDArray[Any]) -> tuple[list[Any], Any]:
    """Return data sets as highdicom wants them, and the pixels slice for slice in their order.

    The identity is left empty here, so that no message of another library can hold it.
    """
    images = []
    for image in source.images:
        copy = without_identity(image)
        copy.Modality = str(image.get("Modality", "") or "OT")
        if not source.is_multiframe and not image.get("SliceThickness"):  # often absent; highdicom needs one
            copy.SliceThickness = f"{source.geometry.spacing[2]:.6g}"
        images.append(copy)
    if not source.is_multiframe:
        return images, array
    numbers = [frame.frame_number for frame in source.frames]
    if sorted(numbers, key=int) == list(range(1, int(images[0].NumberOfFrames) + 1)):  # type: ignore[arg-type]
        return images, array[np.argsort(np.asarray(numbers))]
    return images, _as_highdicom_volume(source, array)


def _as_highdicom_volume(source: DicomSource, array: NDArray[Any]) -> Any:
    """Return the mask as highdicom's volume: for a multi-frame file of which the mask covers a part only (4D)."""
    import highdicom

    geometry = source.geometry
    axes = np.asarray(geometry.direction).reshape(3, 3)
    return highdicom.Volume.from_components(
        array=np.ascontiguousarray(array),
        spacing=geometry.spacing_zyx,
        coordinate_system="PATIENT",
        direction=axes[:, ::-1].ravel().tolist(),
        position=geometry.origin,
        frame_of_reference_uid=source.frame_of_reference,
    )


def _describe(label: Label, number: int, made: Provenance) -> SegmentDescription:
    from highdicom import UID
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    codes = codes_for(label.name)
    return SegmentDescription(
        segment_number=number,
        segment_label=clean_text(label.name),
        segmented_property_category=_code(codes.category),
        segmented_property_type=_code(codes.kind),
        algorithm_type=made.algorithm,
        algorithm_identification=_algorithm(label.value, made),
        tracking_uid=UID(),
        tracking_id=clean_text(label.name),
        anatomic_regions=[_code(codes.region)] if codes.region else None,
        display_color=CIELabColor.from_rgb(*label.color),
    )


def _algorithm(value: int, made: Provenance) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from pydicom.sr.codedict import codes

    family = codes.cid7162.ArtificialIntelligence if made.model_id else codes.cid7162.ManualProcessing
    name = f"{MANUFACTURER} with {made.model_id}" if made.model_id else MANUFACTURER
    return AlgorithmIdentificationSequence(
        name=clean_text(name),
        family=family,
        version=version("promptseg"),
        source=MANUFACTURER,
        parameters=made.parameters(value),
    )


def _code(concept: Concept) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(concept.value, concept.scheme, clean_text(concept.meaning))


def _own_items(dataset: Any) -> list[Any]:
    """Return the items of our labels: a LABELMAP object has one more, for the background."""
    return [item for item in dataset.SegmentSequence if int(item.SegmentNumber) > 0]


def _add_modifiers(item: Any, codes: SegmentCodes) -> None:
    """Add the sides, for which highdicom's segment description has no argument."""
    if codes.modifier:
        kind = item.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [_code(codes.modifier)]
    if codes.region_modifier:
        item.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [_code(codes.region_modifier)]


def _coding_schemes(segments: list[SegmentDescription]) -> list[Any] | None:
    """Return the identification of the private scheme where a segment uses it (0008,0110)."""
    if not any(s.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == PRIVATE_SCHEME for s in segments):
        return None
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return [
        CodingSchemeIdentificationItem(
            designator=PRIVATE_SCHEME,
            name="promptseg label names",
            version="1",
            responsible_organization="the promptseg project",
        )
    ]
