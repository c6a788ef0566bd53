"""The SimpleITK door: headers of NRRD, pictures, and images in memory, to and from arrays (z, y, x).

ITK's frame is the house's frame (LPS millimetres), so nothing is flipped here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.check.finding import Finding, Severity
from promptseg.errors import GeometryError, ReadError
from promptseg.io.picture_colours import upright
from promptseg.io.quiet import quiet_codec, quiet_itk
from promptseg.io.sniff import Family
from promptseg.volume.geometry import Geometry

__all__ = ["RawImage", "from_sitk", "geometry_from_itk", "read_itk", "read_itk_header"]

IMAGE_IO = {
    Family.NRRD: "NrrdImageIO",
    Family.TIFF: "TIFFImageIO",
    Family.PNG: "PNGImageIO",
    Family.JPEG: "JPEGImageIO",
}


@dataclass
class RawImage:
    """What a reader found, before windows and colours are settled.

    Attributes:
        array: (z, y, x), or (z, y, x, components).
        geometry: its frame, LPS mm.
        findings: sentences for the person who opened the file.
        metadata: the file's own key-value pairs, as text.
        indices, palette: (z, y, x) and (n, 3) uint8 where the colours come from a palette: labels, if it is a mask.
        padding: lowest and highest value that is no image, see ``Volume``.
    """

    array: NDArray[Any]
    geometry: Geometry
    findings: list[Finding] = field(default_factory=list)
    metadata: Mapping[str, str] = field(default_factory=dict)
    indices: NDArray[Any] | None = None
    palette: NDArray[np.uint8] | None = None
    padding: tuple[float, float] | None = None

    def turn(self, orientation: int) -> None:
        """Turn a picture as Orientation (TIFF 6.0 section 8, Exif) says that it is to be seen, and say so."""
        if orientation == 1:
            return
        self.array = upright(self.array, orientation)
        self.indices = None if self.indices is None else upright(self.indices, orientation)
        x, y, z = self.geometry.spacing
        self.geometry = Geometry(self.array.shape[:3], (y, x, z) if orientation > 4 else (x, y, z))
        sentence = f"the picture was turned as its header asks (orientation {orientation})"
        self.findings.append(Finding(sentence, "turned", Severity.INFO, "converted"))


def read_itk(path: Path, family: Family) -> RawImage:
    """Read one picture (TIFF, PNG, JPEG) through SimpleITK.

    Raises:
        ReadError: unreadable, truncated, or of a shape that is no 2D or 3D image.
    """
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO(IMAGE_IO[family])
    reader.SetFileName(str(path))
    with quiet_itk():
        try:
            with quiet_codec() as damage:
                image = reader.Execute()
        except (RuntimeError, MemoryError) as exc:
            raise ReadError(
                f"cannot read {path}: the {family.value} file is damaged, cut short, or of an unsupported kind"
            ) from exc
    if damage:
        raise ReadError(f"cannot read {path}: the {family.value} file is damaged or cut short")
    return from_sitk(image, what=str(path))


def read_itk_header(
    path: Path, family: Family, sizes: Sequence[int], *, what: object = None
) -> tuple[Geometry, dict[str, str]]:
    """Return where ITK sees the grid (the first three axes) and the file's key-value pairs; no voxel is read.

    Args:
        path: the file. family: its format.
        sizes: (x, y[, z, ...]) as its header was understood here.
        what: named in messages; None: the path.

    Raises:
        ReadError: a damaged header, sheared axes, or ITK understands other sizes.
    """
    import SimpleITK as sitk

    what = what or path
    reader = sitk.ImageFileReader()
    reader.SetImageIO(IMAGE_IO[family])
    reader.SetFileName(str(path))
    with quiet_itk():
        try:
            with quiet_codec():
                reader.ReadImageInformation()
        except (RuntimeError, MemoryError) as exc:
            raise ReadError(
                f"cannot read {what}: the {family.value} header is damaged or of an unsupported kind"
            ) from exc
    if tuple(reader.GetSize()) != tuple(sizes):
        raise ReadError(f"cannot read {what}: the sizes in its {family.value} header are damaged")
    n, used = len(sizes), min(3, len(sizes))
    axes = np.asarray(reader.GetDirection(), dtype=np.float64).reshape(n, n)[:used, :used]
    shape = (*(1,) * (3 - used), *(int(size) for size in sizes[:used][::-1]))
    spacing, origin = reader.GetSpacing()[:used], reader.GetOrigin()[:used]
    return geometry_from_itk(shape, spacing, origin, axes.ravel().tolist(), what=str(what)), _metadata(reader)


def _metadata(reader: Any) -> dict[str, str]:
    """Return the file's own key-value pairs; those that are no text (a damaged header) are left out."""
    found = {}
    for key in reader.GetMetaDataKeys():
        with suppress(TypeError, UnicodeError, RuntimeError):
            found[key] = reader.GetMetaData(key)
    return found


def from_sitk(image: Any, *, what: str = "the SimpleITK image") -> RawImage:
    """Return array and frame of a 2D or 3D SimpleITK image (one copy of the voxels).

    Raises:
        ReadError: complex pixels, another dimension, or a frame that is not a regular grid.
    """
    import SimpleITK as sitk

    dimension = image.GetDimension()
    if dimension not in (2, 3):
        raise ReadError(f"cannot read {what}: expected 2 or 3 dimensions, got {dimension} ({_times(image.GetSize())})")
    if "complex" in image.GetPixelIDTypeAsString():
        raise ReadError(f"cannot read {what}: its pixels are complex numbers; take the magnitude first")
    array = sitk.GetArrayFromImage(image)
    if dimension == 2:
        array = array[None]
    geometry = geometry_from_itk(
        array.shape[:3], image.GetSpacing(), image.GetOrigin(), image.GetDirection(), what=what
    )
    return RawImage(array, geometry)


def geometry_from_itk(
    shape: Sequence[int],
    spacing: Sequence[float],
    origin: Sequence[float],
    direction: Sequence[float],
    *,
    what: str,
) -> Geometry:
    """Return the frame that ITK's numbers describe; two dimensions become one slice, 1 mm thick.

    Raises:
        ReadError: the axes are sheared, or a number is impossible.
    """
    n = len(spacing)
    matrix = np.eye(3)
    matrix[:n, :n] = np.asarray(direction, dtype=np.float64).reshape(n, n)
    pad = [0.0] * (3 - n)
    try:
        return Geometry(
            shape=(int(shape[0]), int(shape[1]), int(shape[2])),
            spacing=(*spacing, *(1.0 for _ in pad)),  # type: ignore[arg-type]  # three numbers, checked there
            origin=(*origin, *pad),  # type: ignore[arg-type]
            direction=tuple(matrix.ravel()),
        )
    except GeometryError as exc:
        raise ReadError(f"cannot read {what}: {shear_sentence(matrix) or exc}") from exc


def shear_sentence(direction: NDArray[np.float64]) -> str:
    """Return a sentence with the largest departure from right angles, or "" where the axes are perpendicular."""
    norms = np.linalg.norm(direction, axis=0)
    if not np.all(np.isfinite(direction)) or norms.min() == 0:
        return ""
    unit = direction / norms
    cosines = np.abs((unit.T @ unit)[np.triu_indices(3, 1)])
    degrees = float(np.degrees(np.arcsin(np.clip(cosines.max(), 0, 1))))
    if degrees < 0.05:
        return ""
    return (
        f"its axes are sheared by {degrees:.1f} degrees, so it is no rectangular grid; "
        "resample it onto a regular grid first"
    )


def _times(size: Sequence[int]) -> str:
    return " x ".join(str(n) for n in size)
