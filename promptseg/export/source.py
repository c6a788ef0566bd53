"""The DICOM images that a mask was drawn on: what SEG and RTSTRUCT must refer to.

Identity: name, id and dates of the patient are left empty in what is written (they are Type 2 attributes, which may
be), and the object says so (Patient Identity Removed). What ties it to its images are their UIDs, which stay: study,
frame of reference, series, instances. ``keep_identity`` copies the Patient and General Study attributes instead, as an
archive needs them. They are held in a data set of their own, which nothing here prints, logs or puts in a message. See
docs/adr/0022.

Images that lost their UIDs (careless de-identification) get stand-ins, always the same ones for the same images, and a
finding says so: the object can be read beside the images, but an archive cannot file it with them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptseg.errors import WriteError
from promptseg.io.archive import is_archive, unpacked
from promptseg.io.dicom_header import Frame
from promptseg.io.dicom_series import choose_series, files_below, find_series
from promptseg.io.dicom_stack import stack_frames
from promptseg.io.quiet import quiet_pydicom
from promptseg.volume.geometry import Geometry

__all__ = ["DicomSource", "SourceFrame", "copy_identity", "identity_of", "read_source", "without_identity"]

# PS3.3 C.7.1.1 Patient and C.7.2.1 General Study: required, but may be empty (Type 2), in every composite object.
IDENTITY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
IDENTITY_CONTEXT = ("PatientIdentityRemoved", "DeidentificationMethod")  # copied with them where they are there
NOT_COPIED = "promptseg: patient and study attributes not copied"  # Deidentification Method, at most 64 characters
# What the images say about themselves that an object derived from them must repeat.
IMAGE_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "LossyImageCompression",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "DimensionOrganizationSequence",
    "DimensionIndexSequence",
)
HOW_TO_GO_ON = (
    "SEG and RTSTRUCT refer to the DICOM images they were drawn on, so those must be given; "
    "for an image of another format write .nii.gz, .seg.nrrd or a mesh instead"
)


@dataclass(frozen=True)
class SourceFrame:
    """The image of one slice: its class and instance UID, and its frame number from 1 in a multi-frame file."""

    sop_class: str
    sop_instance: str
    frame_number: int | None


@dataclass(frozen=True, eq=False)
class DicomSource:
    """The images of a volume, slice by slice.

    Attributes:
        geometry: the volume's grid; slice z is the image ``frames[z]``.
        frames: one reference per slice.
        images: for single-frame files one data set per slice, in the grid's order; else the one multi-frame data set.
            Only the tags that a reference needs.
        identity: Patient and General Study attributes; see the module's text.
        findings: sentences that a person should see.
    """

    geometry: Geometry
    frames: tuple[SourceFrame, ...]
    images: tuple[Any, ...] = field(repr=False)
    identity: Any = field(repr=False)
    findings: tuple[str, ...] = ()

    @property
    def is_multiframe(self) -> bool:
        """True when all slices are frames of one file."""
        return self.frames[0].frame_number is not None

    @property
    def frame_of_reference(self) -> str:
        """Frame of Reference UID, "" where the images have none."""
        return str(self.images[0].get("FrameOfReferenceUID", "") or "")

    @property
    def study(self) -> str:
        """Study Instance UID."""
        return str(self.images[0].StudyInstanceUID)

    @property
    def series(self) -> str:
        """Series Instance UID."""
        return str(self.images[0].SeriesInstanceUID)


def read_source(path: str | Path, *, series: str | None = None, frame: int | None = None) -> DicomSource:
    """Read the references of a DICOM image, by the same rules as ``read_volume`` (which grid, which order).

    Args:
        path: a DICOM file, a folder with one, or a zip archive of either.
        series: which series of a folder.
        frame: which volume of a 4D series, from 0.

    Raises:
        WriteError: the image is no DICOM image, or lacks a UID that a reference needs.
        ReadError: as ``read_volume``.
    """
    path = Path(path).expanduser()
    if is_archive(path):
        with unpacked(path) as inside:
            return read_source(inside, series=series, frame=frame)
    files = files_below(path) if path.is_dir() else [path]
    if not any(_is_dicom(file) for file in files):
        raise WriteError(f"{path} holds no DICOM image: {HOW_TO_GO_ON}")
    info, _ = choose_series(find_series(files, str(path)), series, str(path))
    stack = stack_frames(info.frames, str(path))
    frames = stack.volumes[stack.choose(frame, str(path))]
    if frames[0].tile is not None:
        raise WriteError(
            f"{path} holds mosaics: no part of one can be referred to as a slice, and viewers would lay the mask over "
            "the whole picture; write .nii.gz, .seg.nrrd or a mesh instead"
        )
    multiframe = frames[0].count > 1
    paths = list(dict.fromkeys(item.path for item in frames))
    if multiframe and len(paths) > 1:
        raise WriteError(f"{path} is spread over {len(paths)} multi-frame files; expected one file with all slices")
    images = tuple(_image(file) for file in paths)
    findings = _complete(images, placed=frames[0].position is not None)
    identity = _identity(paths[0])
    return DicomSource(stack.geometry, tuple(_references(frames, images)), images, identity, findings)


def without_identity(image: Any) -> Any:
    """Return a copy of a data set with empty Patient and General Study attributes.

    This is what other libraries are given to make an object from, so that no message of theirs can hold a name.
    """
    import pydicom

    copy = pydicom.Dataset()
    copy.update(image)
    for keyword in IDENTITY:
        setattr(copy, keyword, None if keyword in ("StudyDate", "StudyTime") else "")
    return copy


def copy_identity(source: DicomSource, target: Any, *, keep_identity: bool = False) -> None:
    """Set the Patient and General Study attributes of an object that is made from ``source``.

    Args:
        source: the images.
        target: the new pydicom data set.
        keep_identity: copy them; else they are left empty, and the object says that they were removed.
    """
    for keyword in IDENTITY:
        if keep_identity and keyword in source.identity:
            target[keyword] = source.identity[keyword]  # the element as it stands, malformed or not
        else:
            setattr(target, keyword, "")
    if keep_identity:
        for keyword in IDENTITY_CONTEXT:
            if keyword in source.identity:
                target[keyword] = source.identity[keyword]
    else:
        target.PatientIdentityRemoved, target.DeidentificationMethod = "YES", NOT_COPIED
    target.SpecificCharacterSet = "ISO_IR 192"  # UTF-8 holds the names of patients and of labels in any script
    target.StudyInstanceUID = source.study


def identity_of(path: str | Path, *, series: str | None = None) -> dict[str, str]:
    """Return who a DICOM image shows, by name, for a person who asked: patient, id, birth date, study date.

    Raises:
        WriteError, ReadError: as ``read_source``.
    """
    known = read_source(path, series=series).identity
    named = {"Patient": "PatientName", "Patient id": "PatientID", "Born": "PatientBirthDate", "Study": "StudyDate"}
    return {name: str(known.get(keyword)) for name, keyword in named.items() if known.get(keyword)}


def _is_dicom(file: Path) -> bool:
    from promptseg.io.sniff import is_dicom

    return is_dicom(file)


def _image(file: Path) -> Any:
    """Return the tags of ``IMAGE_TAGS`` of one file; empty SOP UIDs are taken from the file's meta information.

    Raises:
        WriteError: neither place has them.
    """
    dataset = _tags(file, IMAGE_TAGS)
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if not dataset.get(keyword):
            value = dataset.file_meta.get(f"MediaStorage{keyword}")
            if not value:
                raise WriteError(f"cannot refer to {file}: its {keyword} is missing; a SEG or RTSTRUCT needs it")
            setattr(dataset, keyword, value)
    return dataset


def _complete(images: tuple[Any, ...], *, placed: bool) -> tuple[str, ...]:
    """Give images without them a study, a series and, where they say their place, a frame of reference."""
    known = "|".join(sorted(str(image.SOPInstanceUID) for image in images))
    findings = []
    wanted = ("StudyInstanceUID", "SeriesInstanceUID", *(["FrameOfReferenceUID"] if placed else []))
    for keyword in wanted:
        if all(image.get(keyword) for image in images):
            continue
        uid = f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{keyword}|{known}').int}"  # PS3.5 B.2: a UUID as a UID
        for image in images:
            setattr(image, keyword, uid)
        findings.append(
            f"the images have no {keyword}; a stand-in was made, so an archive will not file the object with them"
        )
    return tuple(findings)


def _identity(file: Path) -> Any:
    return _tags(file, (*IDENTITY, *IDENTITY_CONTEXT))


def _tags(file: Path, keywords: tuple[str, ...]) -> Any:
    import pydicom

    with quiet_pydicom():
        try:
            dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(keywords), force=True)
            kept = pydicom.Dataset()
            kept.file_meta = dataset.file_meta
            for keyword in keywords:
                if keyword in dataset:
                    kept[keyword] = dataset[keyword]
        except Exception as exc:
            raise WriteError(f"cannot refer to {file}: the DICOM file is damaged or cut short") from exc
    return kept


def _references(frames: tuple[Frame, ...], images: tuple[Any, ...]) -> list[SourceFrame]:
    multiframe = frames[0].count > 1
    return [
        SourceFrame(
            str(image.SOPClassUID),
            str(image.SOPInstanceUID),
            frame.index + 1 if multiframe else None,
        )
        for frame, image in zip(frames, images * len(frames) if multiframe else images, strict=True)
    ]
