"""What a DICOM file says about its frames, as plain values; nothing that identifies a person is read."""

from __future__ import annotations

import hashlib
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptseg.check.finding import Finding, Severity
from promptseg.errors import ReadError, SettingsError
from promptseg.io.quiet import quiet_pydicom
from promptseg.volume.intensity import Window

__all__ = ["Frame", "Tile", "first_item", "modality", "numbers", "read_header", "series_uid", "uid", "whole"]

# All tags that are read, by keyword. Names, ids and dates of people are not among them, so they cannot leak.
TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "ImageType",
    "InstanceNumber",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PlanarConfiguration",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "DoseGridScaling",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "GridFrameOffsetVector",
    "DetectorInformationSequence",
    "SequenceOfUltrasoundRegions",
    "TemporalPositionIdentifier",
    "TriggerTime",
    "EchoTime",
    "EchoNumbers",
    "AcquisitionNumber",
    "AcquisitionTime",
    "NominalPercentageOfCardiacPhase",
    "DiffusionBValue",
    "FrameTime",
    "FrameTimeVector",
    "CineRate",
    "BurnedInAnnotation",
)
# Where vendors put the b-value before the standard had a tag: Siemens, Philips, GE.
B_VALUE_TAGS = ((0x0019, 0x100C), (0x2001, 0x1003), (0x0043, 0x1039))
GE_B_VALUE_OFFSET = 1_000_000_000  # GE adds it in some versions (dcm2niix, GE/README.md)
DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage (DICOMDIR)
NOT_IMAGES = {
    "SEG": "a DICOM segmentation: a mask, not an image",
    "RTSTRUCT": "a DICOM structure set: contours, not an image",
    "RTPLAN": "a radiotherapy plan, not an image",
    "SR": "a structured report, not an image",
    "PR": "a presentation state, not an image",
    "KO": "a key object note, not an image",
    "REG": "a registration, not an image",
    "DOC": "a document, not an image",
}


@dataclass(frozen=True)
class Tile:
    """Where a slice lies in a picture of many: pixels from its top and left, and the picture's (rows, columns)."""

    top: int
    left: int
    picture: tuple[int, int]

    def rows(self, shape: tuple[int, int]) -> slice:
        """Return its rows in the picture; ``shape``: (rows, columns) of the slice."""
        return slice(self.top, self.top + shape[0])

    def columns(self, shape: tuple[int, int]) -> slice:
        """Return its columns in the picture."""
        return slice(self.left, self.left + shape[1])


@dataclass(frozen=True)
class Frame:
    """One 2D frame of a DICOM file.

    Attributes:
        path: its file; ``index`` its zero-based number there, of ``count``.
        series: SeriesInstanceUID ("" where missing). modality: e.g. "CT", None where missing.
        shape: (rows, columns). samples: 1 or 3 values per pixel.
        position, orientation: ImagePositionPatient and ImageOrientationPatient (LPS mm), None where missing.
        spacing: (row, column) distance in mm, None where missing.
        notes: sentences about stand-ins for missing tags.
        thickness, between: SliceThickness and SpacingBetweenSlices in mm, None where missing.
        slope, intercept: the rescale to modality units. rescaled: True where the file states it.
        lut: True where a modality LUT takes their place.
        window: from the window tags, in modality units.
        image_type: values of ImageType. number: InstanceNumber (0 where missing).
        times: what tells two frames of one position apart, as (name, value).
        loop: True for frames of a cine loop: time, not space.
        sop_class: SOPClassUID. burned_in: BurnedInAnnotation, "YES", "NO" or "" where it is missing.
        tile: its part of the stored pixels, None for all of them.
        instance: SOPInstanceUID, "" where it is missing or no UID.
        padding: lowest and highest stored value that is no image, see ``pixel_padding``; None where there is none.
    """

    path: Path
    index: int
    count: int
    series: str
    modality: str | None
    shape: tuple[int, int]
    samples: int
    photometric: str
    bits_stored: int
    signed: bool
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    notes: tuple[Finding, ...]
    thickness: float | None
    between: float | None
    slope: float
    intercept: float
    lut: bool
    window: Window | None
    image_type: tuple[str, ...]
    number: int
    times: tuple[tuple[str, float], ...]
    loop: bool
    sop_class: str = ""
    burned_in: str = ""
    tile: Tile | None = None
    rescaled: bool = True
    instance: str = ""
    padding: tuple[float, float] | None = None


def read_header(path: Path) -> Any:
    """Return the pydicom data set with the tags of ``TAGS`` only, without pixels.

    Raises:
        ReadError: no DICOM, damaged, or an object that holds no image.
    """
    import pydicom

    tags: list[Any] = [*TAGS, *B_VALUE_TAGS]
    with quiet_pydicom():
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags, force=True)
            _ = [
                dataset.get(keyword) for keyword in ("SOPClassUID", "Modality", "ImageType")
            ]  # conversion happens on access
        except Exception as exc:
            raise ReadError(f"cannot read {path}: the DICOM file is damaged or cut short") from exc
    return dataset


def is_directory(dataset: Any) -> bool:
    """Return True for a DICOMDIR, whose class stands in its meta header alone (PS3.10 8.6, Basic Directory IOD)."""
    meta = getattr(dataset, "file_meta", None) or {}
    with quiet_pydicom():
        try:
            found = (str(dataset.get("SOPClassUID", "")), str(meta.get("MediaStorageSOPClassUID", "")))
        except Exception:  # noqa: BLE001 - a malformed value, whatever pydicom raises: no directory's
            return False
    return DIRECTORY in found


def require_image(dataset: Any, path: Path) -> None:
    """Raise unless the data set describes an image.

    Raises:
        ReadError: an index, a mask, contours, a report, or no rows and columns.
    """
    if is_directory(dataset):
        raise ReadError(f"cannot read {path}: it is a DICOMDIR, an index of other files; give the folder instead")
    what = NOT_IMAGES.get(str(dataset.get("Modality", "")))
    if what:
        raise ReadError(f"cannot read {path} as an image: it is {what}")
    if not whole(dataset, "Rows") or not whole(dataset, "Columns"):
        raise ReadError(f"cannot read {path} as an image: it holds no pixel data (no Rows (0028,0010) and Columns)")


def series_uid(dataset: Any) -> str:
    """Return SeriesInstanceUID; one that is no UID may hold anything, so a hash stands for it."""
    text = str(dataset.get("SeriesInstanceUID", "") or "")
    if not text or re.fullmatch(r"[0-9.]{1,64}", text):
        return text
    return f"invalid-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def modality(dataset: Any) -> str | None:
    """Return Modality (a defined term: capital letters), None where it is missing or no such term."""
    text = str(dataset.get("Modality", "") or "")
    return text if re.fullmatch(r"[A-Z0-9]{2,16}", text) else None


def uid(dataset: Any, keyword: str) -> str:
    """Return a UID, "" where it is missing or none."""
    text = str(dataset.get(keyword, "") or "")
    return text if re.fullmatch(r"[0-9.]{1,64}", text) else ""


def pixel_padding(dataset: Any) -> tuple[float, float] | None:
    """Return the stored values that fill what no detector saw: PixelPaddingValue (0028,0120) to its range's limit."""
    value, limit = first(dataset, "PixelPaddingValue"), first(dataset, "PixelPaddingRangeLimit")
    if value is None:
        return None
    ends = (value, value if limit is None else limit)
    if whole(dataset, "PixelRepresentation") == 1:  # a signed number may have been read as an unsigned one
        bits = whole(dataset, "BitsAllocated") or 16
        ends = tuple(end - 2**bits if end >= 2 ** (bits - 1) else end for end in ends)  # type: ignore[assignment]
    return (min(ends), max(ends))


def burned_in(dataset: Any) -> str:
    """Return BurnedInAnnotation: "YES", "NO", or "" for anything else."""
    text = str(dataset.get("BurnedInAnnotation", "") or "").upper()
    return text if text in ("YES", "NO") else ""


def numbers(dataset: Any, keyword: str, count: int | None = None) -> tuple[float, ...] | None:
    """Return the finite numbers of a tag, or None where it is missing, malformed or of another length.

    Decimal strings of more than 64 kB do not fit into explicit VR and are stored as VR UN: bytes, split here.
    """
    try:
        value = dataset.get(keyword)
        if isinstance(value, bytes):
            value = value.decode("ascii").rstrip(" \0").split("\\")
        if value is None or (isinstance(value, str) and not value):
            return None
        parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
        found = tuple(float(part) for part in parts)
    except Exception:  # noqa: BLE001 - a malformed value counts as missing, whatever pydicom raises
        return None
    if not found or not all(math.isfinite(v) for v in found) or (count is not None and len(found) != count):
        return None
    return found


def first(dataset: Any, keyword: str) -> float | None:
    """Return the first number of a tag or None."""
    found = numbers(dataset, keyword)
    return found[0] if found else None


def private_b_value(dataset: Any) -> float | None:
    """Return the diffusion b-value (s/mm²) of a vendor's private tag, None where there is none that can be read."""
    for tag in B_VALUE_TAGS:
        element = dataset.get(tag)
        if element is None:
            continue
        value = element.value
        try:
            if isinstance(value, bytes):  # VR unknown: text, or one little-endian float (Philips)
                text = value.decode("ascii", "replace").strip(" \0").split("\\")[0]
                found = struct.unpack("<f", value)[0] if tag == B_VALUE_TAGS[1] else float(text)
            else:
                found = float(value if isinstance(value, str | float | int) else value[0])
        except (ValueError, TypeError, IndexError, struct.error):
            continue
        if tag == B_VALUE_TAGS[2]:
            found %= GE_B_VALUE_OFFSET
        if 0 <= found <= 1e5:
            return float(found)
    return None


def whole(dataset: Any, keyword: str) -> int:
    """Return a tag's whole number, 0 where it is missing or malformed."""
    found = first(dataset, keyword)
    return int(found) if found is not None else 0


def image_type(dataset: Any) -> tuple[str, ...]:
    """Return the values of ImageType in capitals."""
    value = dataset.get("ImageType") or ()
    parts = [value] if isinstance(value, str) else list(value)
    return tuple(str(part).upper() for part in parts)


def first_item(dataset: Any, keyword: str) -> Any:
    """Return the first item of a sequence, or an empty data set."""
    from pydicom.dataset import Dataset

    sequence = dataset.get(keyword) if dataset is not None else None
    return sequence[0] if sequence else Dataset()


def read_window(dataset: Any) -> Window | None:
    """Return the first window of (0028,1050/1051), by the formulas of PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    center, width = first(dataset, "WindowCenter"), first(dataset, "WindowWidth")
    if center is None or width is None or width <= 0:
        return None
    try:
        if str(dataset.get("VOILUTFunction", "LINEAR")).upper() == "LINEAR" and width > 1:
            return Window(center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2, "dicom")
        return Window.from_level_width(center, width, "dicom")
    except SettingsError:
        return None


def pixel_spacing(dataset: Any) -> tuple[tuple[float, float] | None, tuple[Finding, ...]]:
    """Return (row, column) spacing in mm, and sentences where it is not the plain PixelSpacing."""
    found = numbers(dataset, "PixelSpacing", 2)
    if found and min(found) > 0:
        return (found[0], found[1]), ()
    found = numbers(dataset, "ImagerPixelSpacing", 2)
    if found and min(found) > 0:
        sentence = (
            "PixelSpacing (0028,0030) is missing; ImagerPixelSpacing was used: mm at the detector, not in the patient"
        )
        return (found[0], found[1]), (Finding(sentence, "detector-spacing", Severity.WARNING, "assumed"),)
    regions = dataset.get("SequenceOfUltrasoundRegions") or []
    deltas = {
        (abs(first(r, "PhysicalDeltaY") or 0), abs(first(r, "PhysicalDeltaX") or 0)) for r in regions if _is_cm(r)
    }
    if len(deltas) == 1 and min(delta := deltas.pop()) > 0:
        sentence = "the pixel size comes from the ultrasound region's calibration"
        return (delta[0] * 10, delta[1] * 10), (Finding(sentence, "ultrasound-calibration"),)
    return None, ()


def _is_cm(region: Any) -> bool:
    """Return True for a 2D ultrasound region in centimetres (PS3.3 C.8.5.5.1: spatial format 1, unit code 3)."""
    units = (whole(region, "PhysicalUnitsXDirection"), whole(region, "PhysicalUnitsYDirection"))
    return units == (3, 3) and whole(region, "RegionSpatialFormat") == 1
