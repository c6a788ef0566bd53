"""Give a written NIfTI file both frames of the image that it belongs to.

An image whose qform and sform place it differently is shown in one place by some viewers and in the other by the rest.
A mask that states one of the two alone would lie beside the image in half of them.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.io.nifti import RAS_TO_LPS
from promptseg.io.voxel_bytes import is_gzipped
from promptseg.volume.geometry import SecondFrame

__all__ = ["state_second_frame"]

# Offsets of nifti1.h
PIXDIM, CODES, QUATERNION, ROWS = 76, 252, 256, 280


def state_second_frame(path: Path, second: SecondFrame) -> None:
    """Change the header of a NIfTI-1 file (little-endian, as ITK writes it) whose two forms are one and the same."""
    packed = is_gzipped(path)
    data = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    matrix = RAS_TO_LPS @ np.reshape(second.affine, (4, 4))  # its own inverse
    struct.pack_into("<2h", data, CODES, *second.codes)
    if second.name == "sform":
        struct.pack_into("<12f", data, ROWS, *matrix[:3].ravel())
    else:
        factor, lengths, quaternion = _quaternion(matrix)
        struct.pack_into("<4f", data, PIXDIM, factor, *lengths)
        struct.pack_into("<6f", data, QUATERNION, *quaternion, *matrix[:3, 3])
    path.write_bytes(gzip.compress(bytes(data), 6, mtime=0) if packed else bytes(data))


def _quaternion(matrix: NDArray[np.float64]) -> tuple[float, list[float], list[float]]:
    """Return qfac, the voxel's lengths, and b, c, d of nifti1.h's METHOD 2."""
    from scipy.spatial.transform import Rotation

    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    axes = matrix[:3, :3] / lengths
    factor = -1.0 if np.linalg.det(axes) < 0 else 1.0
    axes[:, 2] *= factor
    b, c, d, _ = Rotation.from_matrix(axes).as_quat(canonical=True)
    return factor, lengths.tolist(), [b, c, d]
