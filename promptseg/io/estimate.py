"""How much memory an image takes, told by its header alone: half a megabyte of zeros can unpack to gigabytes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from promptseg.errors import ReadError
from promptseg.io.dicom_header import Frame
from promptseg.io.metaimage import read_metaimage_header
from promptseg.io.mgh import read_mgh_shape
from promptseg.io.nifti import read_nifti_header
from promptseg.io.nifti_voxels import TYPES
from promptseg.io.nrrd_header import read_nrrd_header
from promptseg.io.quiet import quiet_tifffile
from promptseg.io.sniff import Family, sniff

__all__ = ["bytes_of_frames", "estimate_bytes", "free_memory", "require_room"]

GIB = 2**30


def estimate_bytes(path: Path) -> int:
    """Return the bytes that one file's voxels take when it is read; 0 where its header does not say (it is damaged).

    Of a 4D file one frame counts, unless its frames are interleaved; of a TIFF all of it. No voxel is read.
    """
    try:
        return _by_family(path, sniff(path))
    except (ReadError, OSError, ValueError, KeyError, TypeError, IndexError, SyntaxError):
        return 0  # the reader says what is wrong with it


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


def _by_family(path: Path, family: Family) -> int:
    if family is Family.NIFTI:
        header = read_nifti_header(path)
        code, colours = TYPES[header.kind]
        x, y, z, _, vector, *_ = (*header.shape, 1, 1, 1, 1, 1, 1)[:7]
        return x * y * z * vector * colours * np.dtype(code).itemsize
    if family is Family.NRRD:
        nrrd = read_nrrd_header(path)
        last = len(nrrd.sizes) - 1
        return prod(nrrd.sizes[:last] if nrrd.frames == last else nrrd.sizes) * nrrd.dtype.itemsize
    if family is Family.META:
        meta = read_metaimage_header(path)
        return prod(meta.sizes[:3]) * meta.channels * meta.dtype.itemsize
    if family is Family.MGH:
        shape, dtype = read_mgh_shape(path)
        return prod(shape[:3]) * dtype.itemsize
    if family is Family.TIFF:
        return _of_tiff(path)
    if family in (Family.PNG, Family.JPEG):
        return _of_picture(path)
    from promptseg.io.dicom_frames import read_frames

    return bytes_of_frames(read_frames(path))


def _of_tiff(path: Path) -> int:
    import tifffile

    with quiet_tifffile():
        try:
            with tifffile.TiffFile(path, _multifile=False) as file:
                series = file.series[0]
                return int(prod(series.shape)) * np.dtype(series.dtype).itemsize
        except Exception as exc:
            # tifffile raises errors of many kinds where a file is damaged.
            raise ReadError(f"cannot read {path}") from exc


def _of_picture(path: Path) -> int:
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # the limit here is memory
    try:
        with Image.open(path) as image:
            wide = 2 if image.mode.startswith("I") else 1
            return image.width * image.height * len(image.getbands()) * wide
    finally:
        Image.MAX_IMAGE_PIXELS = limit
