"""An image with its frame and its window."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import GeometryMismatchError, ReadError
from promptseg.prompts import Plane
from promptseg.volume.exchange import as_sitk
from promptseg.volume.geometry import Geometry
from promptseg.volume.intensity import Window, choose_window
from promptseg.volume.label_voxels import Changed

__all__ = ["Volume"]


@dataclass(frozen=True, eq=False, repr=False)
class Volume:
    """A 2D or 3D image, grey or RGB, on a grid in the patient. A 2D image is one slice.

    Attributes:
        array: (z, y, x) of any real dtype, or (z, y, x, 3) uint8 RGB. Treat as read-only.
        geometry: its frame; ``geometry.shape == array.shape[:3]``.
        window: the one intensity mapping of this volume.
        modality: DICOM modality ("CT", "MR", "US", ...), None where the file does not say.
        findings: sentences about the file that a person should see (gaps, guesses, dropped frames).
        sources: the files or folder that it was read from, which no result may replace; () for one made in memory.
        padding: lowest and highest value of voxels that no detector saw (DICOM's PixelPaddingValue); they count in no
            measurement of intensities.

    Raises:
        GeometryMismatchError: array and geometry disagree in shape.
        ReadError: not a real 3D array.
    """

    array: NDArray[Any]
    geometry: Geometry
    window: Window
    modality: str | None = None
    findings: tuple[str, ...] = ()
    sources: tuple[Path, ...] = field(default=(), repr=False)
    padding: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        array = self.array
        if array.dtype.kind not in "uifb" or not (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)):
            raise ReadError(
                f"expected a real array (z, y, x) or RGB (z, y, x, 3), got {array.dtype} of shape {array.shape}"
            )
        if array.shape[:3] != self.geometry.shape:
            raise GeometryMismatchError(
                f"array and geometry must have one shape (z, y, x); expected {self.geometry.shape}, "
                f"got {array.shape[:3]}"
            )

    @staticmethod
    def from_array(array: NDArray[Any], geometry: Geometry | None = None, *, modality: str | None = None) -> Volume:
        """Make a volume from (z, y, x), (y, x), or RGB with a last axis of 3 (uint8).

        A missing geometry means origin 0, the identity direction, and lengths in voxels, not mm.
        """
        array = np.asarray(array)
        if array.ndim == 2 or (
            array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8 and geometry is None
        ):
            array = array[None]
        if array.dtype == np.bool_:
            array = array.astype(np.uint8)
        if geometry is None and array.ndim >= 3:
            geometry = Geometry(shape=(array.shape[0], array.shape[1], array.shape[2]), measured=False)
        if geometry is None:
            raise ReadError(f"expected an array of 2 or 3 dimensions (or RGB), got shape {array.shape}")
        if array.dtype.kind not in "uif":
            raise ReadError(f"expected an array of real numbers, got dtype {array.dtype}")
        return Volume(array, geometry, choose_window(array, modality=modality), modality)

    def __repr__(self) -> str:
        """Say what it is, without voxels."""
        kind = "RGB" if self.is_rgb else str(self.array.dtype)
        return f"<Volume {self.modality or 'of no stated modality'}, {kind}, {self.geometry}, window {self.window}>"

    def to_sitk(self) -> Any:
        """Return the image as a SimpleITK image, in the same place."""
        return as_sitk(self.array, self.geometry)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return self.geometry.shape

    @property
    def is_rgb(self) -> bool:
        """True for colour images."""
        return self.array.ndim == 4

    def cut(self, plane: Plane, index: int) -> NDArray[Any]:
        """Return the raw slice (rows, columns[, 3]): a view, the two remaining array axes in order."""
        return self.array[(slice(None),) * plane.axis + (index,)]

    def cut_spacing_mm(self, plane: Plane) -> tuple[float, float]:
        """(row, column) spacing in mm of the slices of ``plane``."""
        remaining = [s for axis, s in enumerate(self.geometry.spacing_zyx) if axis != plane.axis]
        return (remaining[0], remaining[1])

    def cropped(self, box: Changed, margin: int = 0) -> Volume:
        """Return the part in a half-open box of voxels (z, y, x), with up to ``margin`` voxels around it, in its place.

        The voxels are a view.
        """
        start = [max(0, low - margin) for low in box[0]]
        stop = [min(size, high + margin) for size, high in zip(self.shape, box[1], strict=True)]
        array = self.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        x, y, z = self.geometry.voxel_to_world(start).tolist()
        shape = (array.shape[0], array.shape[1], array.shape[2])
        geometry = replace(self.geometry, shape=shape, origin=(x, y, z), second=None)
        return replace(self, array=array, geometry=geometry)

    @cached_property
    def content_hash(self) -> str:
        """sha256 (hex) over shape, dtype, voxels and frame; names and dates of the file do not enter."""
        digest = hashlib.sha256()
        dtype = self.array.dtype.newbyteorder("<")  # one hash, whichever byte order the file had
        digest.update(repr((self.array.shape, dtype.str)).encode())
        frame = np.round([*self.geometry.spacing, *self.geometry.origin, *self.geometry.direction], 4) + 0.0
        digest.update(frame.tobytes())
        for part in self.array:  # slice by slice: a memory-mapped volume is never copied whole
            digest.update(np.ascontiguousarray(part, dtype=dtype).data)
        return digest.hexdigest()
