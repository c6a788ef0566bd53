"""How much memory an image takes, told by its header alone: half a megabyte of zeros can unpack to gigabytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from promptseg.errors import ReadError
from promptseg.io.dicom_header import Frame
from promptseg.io.gipl import read_gipl_header
from promptseg.io.metaimage import read_metaimage_header
from promptseg.io.mgh import read_mgh_shape
from promptseg.io.nifti import read_nifti_header
from promptseg.io.nifti_voxels import TYPES
from promptseg.io.nrrd_header import read_nrrd_header
from promptseg.io.quiet import quiet_tifffile
from promptseg.io.sniff import Family, sniff
from promptseg.io.tiff_image import frame_axes

__all__ = ["HeaderSize", "bytes_of_frames", "estimate_bytes", "free_memory", "header_size", "require_room"]

GIB = 2**30


@dataclass(frozen=True)
class HeaderSize:
    """What a header tells: ``frames``; ``values`` of one frame, each colour counted; ``nbytes`` that reading takes."""

    frames: int
    values: int
    nbytes: int


def header_size(path: Path) -> HeaderSize:
    """Return how large one file's image is; nothing but one frame where its header does not say (it is damaged).

    Of a 4D file one frame counts, unless its frames are interleaved; of a TIFF all of it. No voxel is read.
    """
    try:
        return _by_family(path, sniff(path))
    except (ReadError, OSError, ValueError, KeyError, TypeError, IndexError, SyntaxError):
        return HeaderSize(1, 0, 0)  # the reader says what is wrong with it


def estimate_bytes(path: Path) -> int:
    """Return the bytes that one file's voxels take when it is read, see ``header_size``."""
    return header_size(path).nbytes


def bytes_of_frames(frames: Sequence[Frame]) -> int:
    """Return the bytes that DICOM frames take when they are decoded: 2 for a grey value, 1 for each colour."""
    return sum(
        f.shape[0] * f.shape[1] * (f.samples if f.samples > 1 else 4 if f.bits_stored > 16 else 2) for f in frames
    )


def free_memory() -> int:
    """Return the bytes that this machine has left."""
    import psutil

    return int(psutil.virtual_memory().available)


def require_room(needed: int, limit: int, what: object) -> None:
    """Raise where an image would take more than ``limit`` bytes.

    Raises:
        ReadError: it would; both sizes are said.
    """
    if needed > limit:
        raise ReadError(
            f"cannot read {what}: its voxels take {needed / GIB:.1f} GiB of memory, and the limit is {limit / GIB:.1f} "
            "GiB; crop or resample it first"
        )


def _by_family(path: Path, family: Family) -> HeaderSize:
    if family is Family.NIFTI:
        header = read_nifti_header(path)
        code, colours = TYPES[header.kind]
        x, y, z, times, vector, *_ = (*header.shape, 1, 1, 1, 1, 1, 1)[:7]
        return _sized(times, x * y * z * vector * colours, np.dtype(code))
    if family is Family.NRRD:
        nrrd = read_nrrd_header(path)
        frames = 1 if nrrd.frames is None else nrrd.sizes[nrrd.frames]
        one = _sized(frames, prod(nrrd.sizes) // frames, nrrd.dtype)
        return one if nrrd.frames in (None, len(nrrd.sizes) - 1) else replace(one, nbytes=one.nbytes * frames)
    if family is Family.META:
        meta = read_metaimage_header(path)
        return _sized(prod(meta.sizes[3:]), prod(meta.sizes[:3]) * meta.channels, meta.dtype)
    if family is Family.MGH:
        shape, dtype = read_mgh_shape(path)
        return _sized(shape[3], prod(shape[:3]), dtype)
    if family is Family.GIPL:
        gipl = read_gipl_header(path)
        return _sized(gipl.sizes[3], prod(gipl.sizes[:3]), gipl.dtype)
    if family is Family.TIFF:
        return _of_tiff(path)
    if family in (Family.PNG, Family.JPEG):
        return _of_picture(path)
    from promptseg.io.dicom_frames import read_frames

    slices = read_frames(path)
    return HeaderSize(1, sum(f.shape[0] * f.shape[1] * f.samples for f in slices), bytes_of_frames(slices))


def _sized(frames: int, values: int, dtype: np.dtype[Any]) -> HeaderSize:
    return HeaderSize(frames, values, values * dtype.itemsize)


def _of_tiff(path: Path) -> HeaderSize:
    import tifffile

    with quiet_tifffile():
        try:
            with tifffile.TiffFile(path, _multifile=False) as file:
                series = file.series[0]
                axes, shape = str(series.axes), series.shape
                over = [shape[i] for i in frame_axes(axes)]
                nbytes = int(prod(shape)) * np.dtype(series.dtype).itemsize
                return HeaderSize(prod(over), int(prod(shape)) // prod(over), nbytes)
        except Exception as exc:
            # tifffile raises errors of many kinds where a file is damaged.
            raise ReadError(f"cannot read {path}") from exc


def _of_picture(path: Path) -> HeaderSize:
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # the limit here is memory
    try:
        with Image.open(path) as image:
            values = image.width * image.height * len(image.getbands())
            return _sized(1, values, np.dtype("u2" if image.mode.startswith("I") else "u1"))
    finally:
        Image.MAX_IMAGE_PIXELS = limit
