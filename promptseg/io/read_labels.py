"""Reading masks: integers, with names and colours where the file or one beside it has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.check.header import states_depth, states_size
from promptseg.errors import ReadError
from promptseg.io.itk import RawImage
from promptseg.io.label_description import read_descriptions
from promptseg.io.label_values import present_values
from promptseg.io.nrrd_seg import flatten_layers, read_segments
from promptseg.io.read import read_file
from promptseg.io.sniff import Family, sniff
from promptseg.volume.labelmap import Label, Labelmap

__all__ = ["read_labelmap"]

MAX_VALUE = 2**32 - 1


def read_labelmap(path: str | Path) -> Labelmap:
    """Read a mask with its geometry.

    Names and colours come from Slicer's segment fields (NRRD) or from an ITK-SNAP label description
    (``<stem>.label.txt`` or ``<stem>.txt``) beside the file; values without one get a default.

    Raises:
        ReadError: no such file, damaged, several frames, or values that are no whole numbers from 0.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise ReadError(f"cannot read {path} as a mask: it is a folder; expected a NIfTI, NRRD, MHA, TIFF or PNG file")
    family = sniff(path)
    if family is Family.DICOM:
        raise ReadError(
            f"cannot read {path} as a mask: it is a DICOM file; `promptseg import {path.name} --image SERIES -o "
            "mask.nii.gz` makes a mask file of a DICOM SEG or RTSTRUCT"
        )
    if family is Family.JPEG:
        raise ReadError(f"cannot read {path} as a mask: JPEG changes voxel values; expected PNG or another format")
    raw = read_file(path, family)
    if any(finding.code == "several-frames" for finding in raw.findings):
        raise ReadError(f"cannot read {path} as a mask: it holds several frames, expected one 3D labelmap")
    array, labels = _labels(raw, path)
    values = present_values(array)
    named = {value: labels.get(value) or Label.default(value) for value in sorted({*labels, *values})}
    size, depth = states_size(raw.findings), states_depth(raw.findings)
    return Labelmap(array, replace(raw.geometry, measured=size, depth_measured=depth), named)


def _labels(raw: RawImage, path: Path) -> tuple[NDArray[Any], Mapping[int, Label]]:
    segments = read_segments(raw.metadata)
    if raw.indices is not None and raw.palette is not None:
        return raw.indices, _of_palette(raw.indices, raw.palette)
    array = raw.array
    if array.ndim == 4 and segments:
        try:
            return flatten_layers(array, segments)
        except ReadError as exc:
            raise ReadError(f"cannot read {path} as a mask: {exc}") from exc
    if array.ndim == 4:
        array = _one_channel(array, path)
    array = _unsigned(array, path)
    if segments:
        return array, {segment.label.value: segment.label for segment in segments}
    extension = "".join(path.suffixes[-2:]) if path.name.lower().endswith((".nii.gz", ".seg.nrrd")) else path.suffix
    return array, read_descriptions(path, extension)


def _of_palette(indices: NDArray[Any], palette: NDArray[np.uint8]) -> dict[int, Label]:
    """Return a label in the palette's colour for each index that is used; 0 is the background."""
    used = [value for value in present_values(indices) if value < len(palette)]
    colours = {value: palette[value].tolist() for value in used}
    return {value: Label(value, f"label {value}", (r, g, b)) for value, (r, g, b) in colours.items()}


def _one_channel(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return the grey values of a picture that was saved as RGB or RGBA with equal channels."""
    colours = array[..., : array.shape[3] - (array.shape[3] in (2, 4))]
    if any(not np.array_equal(colours[..., 0], colours[..., i]) for i in range(1, colours.shape[3])):
        raise ReadError(f"cannot read {path} as a mask: it is a colour picture; expected one whole number per voxel")
    return np.ascontiguousarray(colours[..., 0])


def _unsigned(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return the same values as unsigned integers, of the smallest size where the file's own type was another."""
    if array.dtype.kind == "u" and array.dtype.itemsize <= 4:
        return array
    if array.dtype.kind == "f":
        finite = np.isfinite(array).all()
        if not finite or not np.array_equal(array, np.rint(array)):
            raise ReadError(f"cannot read {path} as a mask: it holds fractions or NaN; expected whole numbers (labels)")
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > MAX_VALUE:
        raise ReadError(
            f"cannot read {path} as a mask: its values run from {low:g} to {high:g}; expected labels from 0 up"
        )
    return array.astype(np.min_scalar_type(int(high)))
