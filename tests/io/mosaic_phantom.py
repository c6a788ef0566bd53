"""A Siemens mosaic written from its published layout: the picture, the CSA image header, the protocol's text."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dicom_phantoms import slice_dataset
from numpy.typing import NDArray

from promptseg.volume import Geometry

KINDS = {"AcquisitionMatrixText": b"SH\0\0", "MrPhoenixProtocol": b"UN\0\0", "NumberOfImagesInMosaic": b"US\0\0"}
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


def csa(fields: dict[str, Sequence[str]]) -> bytes:
    """Return a CSA header of the second form (https://nipy.org/nibabel/dicom/siemens_csa.html)."""
    out = b"SV10\4\3\2\1" + struct.pack("<2I", len(fields), 77)
    for name, values in fields.items():
        out += struct.pack("<64si4s3i", name.encode(), len(values), KINDS.get(name, b"FD\0\0"), 4, 6, 77)
        for value in (*values, *[""] * (6 - len(values))):
            text = value.encode() + b"\0" if value else b""
            out += struct.pack("<4i", len(text), len(text), 77, len(text)) + text + b"\0" * (-len(text) % 4)
    return out


def protocol(centres: NDArray[np.float64]) -> bytes:
    """Return the protocol's text; a coordinate of 0 is left out, as scanners do."""
    lines = ["### ASCCONV BEGIN ###", f"sSliceArray.lSize                        = {len(centres)}"]
    for index, centre in enumerate(centres):
        for axis, value in zip(("Sag", "Cor", "Tra"), centre, strict=True):
            if value:
                lines.append(f"sSliceArray.asSlice[{index}].sPosition.d{axis}    = {value:.10g}")
    return csa({"MrPhoenixProtocol": ["\n".join([*lines, "### ASCCONV END ###"])]})


def tile_centres(geometry: Geometry, side: int) -> NDArray[np.float64]:
    """Return the centre of each tile's field of view, LPS mm: slice 0 first, or last where ``side`` is -1."""
    axes = np.asarray(geometry.direction).reshape(3, 3)
    nz, ny, nx = geometry.shape
    middle = axes @ (np.asarray(geometry.spacing) * (nx / 2, ny / 2, 0)) + geometry.origin
    order = np.arange(nz)[::side]
    return np.asarray(middle + np.outer(order, axes[:, 2] * geometry.spacing[2]))


def mosaic(
    array: NDArray[Any],
    geometry: Geometry,
    *,
    side: int = 1,
    fields: dict[str, Sequence[str]] | None = None,
    with_image_header: bool = True,
    centres: NDArray[np.float64] | None = None,
) -> Any:
    """Return the data set of a mosaic of (z, y, x).

    Args:
        side: 1 where the first tile is slice 0, -1 where it is the last.
        fields: instead of those of the CSA image header.
        with_image_header: False leaves that header out.
        centres: slice centres of the protocol; None leaves the protocol out.
    """
    nz, ny, nx = array.shape
    across = math.ceil(math.sqrt(nz))
    picture = np.zeros((across * ny, across * nx), dtype=array.dtype)
    for tile, pixels in enumerate(array[::side]):
        top, left = tile // across * ny, tile % across * nx
        picture[top : top + ny, left : left + nx] = pixels
    axes = np.asarray(geometry.direction).reshape(3, 3)
    # The picture is said to lie so that its centre is the centre of the first tile's slice.
    half = axes @ (np.asarray(geometry.spacing) * (across * nx / 2, across * ny / 2, 0))
    dataset = slice_dataset(picture, "1.2.826.0.1.3680043.10.44", "1.2.826.0.1.3680043.10.44.1")
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MR_IMAGE
    dataset.Modality, dataset.ImageType = "MR", ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    dataset.ImagePositionPatient = [f"{v:.9g}" for v in tile_centres(geometry, side)[0] - half]
    dataset.ImageOrientationPatient = [f"{v:.12f}"[:16] for v in (*axes[:, 0], *axes[:, 1])]
    dataset.PixelSpacing = [str(geometry.spacing[1]), str(geometry.spacing[0])]
    dataset.SpacingBetweenSlices, dataset.SliceThickness = str(geometry.spacing[2]), str(geometry.spacing[2] - 0.5)
    dataset.Manufacturer, dataset.InstanceNumber, dataset.AcquisitionNumber = "SIEMENS", "1", "1"
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    if with_image_header:
        normal = [f"{v:.8f}" for v in axes[:, 2] * side]
        known = {
            "NumberOfImagesInMosaic": [str(nz)],
            "SliceNormalVector": normal,
            "AcquisitionMatrixText": [f"{ny}*{nx}"],
        }
        block.add_new(0x10, "OB", csa(fields if fields is not None else known))
    if centres is not None:
        block.add_new(0x20, "OB", protocol(centres))
    return dataset


def save(dataset: Any, path: Path) -> Path:
    """Write a data set; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path
