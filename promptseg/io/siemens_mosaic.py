"""Siemens mosaics: one picture whose tiles are the slices of a volume, taken apart with their true places.

The standard's own tags describe the picture only. What it takes stands in Siemens' private headers:

- how many tiles count: NumberOfImagesInMosaic of the CSA image header (0029,1010), or (0019,100A);
- to which side they follow each other: SliceNormalVector of the same header;
- where the scanner's protocol put the slices: sSliceArray of the protocol's text in the CSA series header (0029,1020).

Image Position is that of a picture as large as the mosaic whose centre is the centre of the first slice
(https://nipy.org/nibabel/dicom/dicom_mosaic.html). Where the two headers contradict each other, or neither tells the
side, the file is refused: a guess would turn the patient upside down. See docs/adr/0023.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.check.finding import Finding, Severity
from promptseg.errors import ReadError
from promptseg.io.dicom_header import Frame, Tile
from promptseg.io.quiet import quiet_pydicom

__all__ = ["is_mosaic", "mosaic_frames"]

IMAGE_HEADERS, SERIES_HEADERS = ((0x0029, 0x1010), (0x0029, 0x1110)), ((0x0029, 0x1020), (0x0029, 0x1120))
COUNT_TAG = (0x0019, 0x100A)
WANTED = ("NumberOfImagesInMosaic", "SliceNormalVector", "ProtocolSliceNumber")
MAX_TILES = 1024
MAX_ITEMS = 1000  # of one CSA field, as nibabel's reader has it
INSTEAD = "convert it to NIfTI first, e.g. with dcm2niix"
POSITION = re.compile(rb"sSliceArray\.asSlice\[(\d{1,4})\]\.sPosition\.d(Sag|Cor|Tra)\s*=\s*([-+.\deE]{1,40})")
SIZE = re.compile(rb"sSliceArray\.lSize\s*=\s*(\d{1,4}|0x[\da-fA-F]{1,3})\s")


def is_mosaic(frame: Frame) -> bool:
    """Return True where ImageType says that the picture is a mosaic."""
    return "MOSAIC" in frame.image_type


def mosaic_frames(picture: Frame) -> tuple[Frame, ...]:
    """Return one frame per tile, each with its own place, in the order of the tiles.

    Args:
        picture: the whole file as one frame.

    Raises:
        ReadError: its private headers do not say how many slices it holds and where they lie, or contradict each other.
    """
    fields, protocol = _private(picture.path)
    count = _count(fields, protocol, picture)
    across = math.ceil(math.sqrt(count))
    height, width = picture.shape[0] // across, picture.shape[1] // across
    if picture.shape != (height * across, width * across):
        raise _refusal(picture, f"{count} slices do not divide its {picture.shape[1]} x {picture.shape[0]} pixels")
    if picture.position is None or picture.orientation is None or picture.spacing is None:
        raise _refusal(picture, "its position (0020,0032), orientation (0020,0037) or pixel spacing is missing")
    row, column = np.asarray(picture.orientation[:3]), np.asarray(picture.orientation[3:])
    first = (
        np.asarray(picture.position)
        + row * picture.spacing[1] * (picture.shape[1] - width) / 2
        + column * picture.spacing[0] * (picture.shape[0] - height) / 2
    )
    step = _step(picture, protocol, count)
    normal = np.cross(row, column)
    centre = first + row * picture.spacing[1] * width / 2 + column * picture.spacing[0] * height / 2
    side = _side(fields, (protocol - centre) @ normal if len(protocol) == count else None, step, normal, picture)
    sentence = f"a Siemens mosaic: its {count} tiles of {width} x {height} pixels were taken apart into slices"
    notes = (*picture.notes, Finding(sentence, "mosaic", Severity.INFO, "split into slices"))
    return tuple(
        replace(
            picture,
            shape=(height, width),
            position=tuple((first + normal * (side * step * i)).tolist()),
            between=step,
            number=picture.number * count + i,
            notes=notes,
            tile=Tile(i // across * height, i % across * width, picture.shape),
        )
        for i in range(count)
    )


def _refusal(picture: Frame, why: str) -> ReadError:
    return ReadError(f"cannot read {picture.path}: it is a Siemens mosaic, and {why}; {INSTEAD}")


def _private(path: Path) -> tuple[dict[str, list[str]], NDArray[np.float64]]:
    """Return the wanted fields of the CSA image header, and the protocol's slice centres (n, 3), LPS mm."""
    import pydicom

    tags: list[Any] = [*IMAGE_HEADERS, *SERIES_HEADERS, COUNT_TAG]
    with quiet_pydicom():
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags, force=True)
            values = {tag: dataset[tag].value for tag in tags if tag in dataset}
        except Exception as exc:
            raise ReadError(f"cannot read {path}: the DICOM file is damaged or cut short") from exc
    fields: dict[str, list[str]] = {}
    if COUNT_TAG in values:
        fields["NumberOfImagesInMosaic"] = [_text(values[COUNT_TAG])]
    for tag in IMAGE_HEADERS:
        if isinstance(values.get(tag), bytes):
            fields |= read_csa(values[tag])
    centres = [_protocol_centres(values[tag]) for tag in SERIES_HEADERS if isinstance(values.get(tag), bytes)]
    return fields, max(centres, key=len, default=np.empty((0, 3)))


def _text(value: Any) -> str:
    """Return a private element's number as text; its VR is unknown in implicit files: two bytes then."""
    if isinstance(value, bytes):
        return str(int.from_bytes(value, "little")) if len(value) == 2 else value.decode("ascii", "replace")
    return str(value)


def read_csa(data: bytes) -> dict[str, list[str]]:
    """Return the values of the wanted fields of a CSA header of the second form ("SV10"); what is damaged is left out.

    Layout: https://nipy.org/nibabel/dicom/siemens_csa.html
    """
    found: dict[str, list[str]] = {}
    try:
        if data[:4] != b"SV10":
            return found
        (count,) = struct.unpack_from("<I", data, 8)
        at = 16
        for _ in range(min(count, MAX_ITEMS)):
            name = data[at : at + 64].split(b"\0")[0].decode("ascii", "replace")
            (items,) = struct.unpack_from("<i", data, at + 76)
            at += 84
            values = []
            for _ in range(min(items, MAX_ITEMS)):
                (length,) = struct.unpack_from("<4xi8x", data, at)
                if not 0 <= length <= len(data):
                    return found
                values.append(data[at + 16 : at + 16 + length].split(b"\0")[0].decode("ascii", "replace").strip())
                at += 16 + (length + 3) // 4 * 4
            if name in WANTED:
                found[name] = [value for value in values if value]
    except struct.error:  # cut short
        return found
    return found


def _protocol_centres(data: bytes) -> NDArray[np.float64]:
    """Return the slice centres (n, 3) of the protocol's text; a coordinate that it leaves out is 0."""
    size = SIZE.search(data)
    count = int(size[1], 0) if size else 0
    centres = np.zeros((count if count <= MAX_TILES else 0, 3))
    for index, axis, value in POSITION.findall(data):
        if int(index) < len(centres):
            number = _number(value.decode("ascii"))
            centres[int(index), ("Sag", "Cor", "Tra").index(axis.decode("ascii"))] = (
                math.nan if number is None else number
            )
    return centres if np.isfinite(centres).all() else np.empty((0, 3))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _count(fields: dict[str, list[str]], protocol: NDArray[np.float64], picture: Frame) -> int:
    stated = _number(next(iter(fields.get("NumberOfImagesInMosaic", [])), ""))
    count = int(stated) if stated is not None else len(protocol)
    if not 1 <= count <= MAX_TILES:
        raise _refusal(picture, "its private headers (0029,1010) and (0029,1020) do not say how many slices it holds")
    return count


def _step(picture: Frame, protocol: NDArray[np.float64], count: int) -> float:
    """Return the distance of slices, mm: SpacingBetweenSlices, or else the protocol's."""
    if len(protocol) == count > 1:
        distance = float(np.linalg.norm(protocol[-1] - protocol[0])) / (count - 1)
        if picture.between and abs(distance - picture.between) > 0.01 * picture.between:
            raise _refusal(
                picture,
                f"SpacingBetweenSlices (0018,0088) says {picture.between:g} mm, its protocol {distance:.4g} mm",
            )
        return picture.between or distance
    step = picture.between or picture.thickness
    if not step:
        raise _refusal(picture, "SpacingBetweenSlices (0018,0088) is missing")
    return step


def _side(
    fields: dict[str, list[str]],
    offsets: NDArray[np.float64] | None,
    step: float,
    normal: NDArray[np.float64],
    picture: Frame,
) -> int:
    """Return 1 where tiles follow the normal (rows x columns), -1 where they run against it.

    Args:
        fields: of the CSA image header.
        offsets: of the protocol's slices from the first tile along the normal, mm; None where the protocol is missing.
        step: distance of slices, mm.
    """
    stated = _stated_side(fields, normal, picture)
    proved = 0
    if offsets is not None and len(offsets) > 1:
        half = step * (len(offsets) - 1) / 2
        mean = float(offsets.mean())
        proved = round(math.copysign(1, mean)) if half / 2 < abs(mean) < 1.5 * half else 0
    if stated and proved and stated != proved:
        raise _refusal(picture, "SliceNormalVector and the protocol's slice positions contradict each other")
    reversed_numbers = (_number(next(iter(fields.get("ProtocolSliceNumber", [])), "")) or 0) > 0
    if not proved and (not stated or reversed_numbers):
        raise _refusal(
            picture, "its private headers (0029,1010) and (0029,1020) do not say in which order its tiles lie"
        )
    return proved or stated


def _stated_side(fields: dict[str, list[str]], normal: NDArray[np.float64], picture: Frame) -> int:
    """Return the side that SliceNormalVector names, 0 where it is missing."""
    numbers = [_number(text) for text in fields.get("SliceNormalVector", [])]
    if len(numbers) != 3 or None in numbers:
        return 0
    cosine = float(np.asarray(numbers, dtype=np.float64) @ normal)
    if not 0.99 < abs(cosine) < 1.01:
        raise _refusal(picture, "SliceNormalVector is not perpendicular to its rows and columns")
    return round(cosine)
