"""Reading images: one function for every kind of source."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from promptseg.check.finding import Finding, Severity
from promptseg.errors import GeometryError, ReadError
from promptseg.io.archive import is_archive, unpacked
from promptseg.io.dicom import DicomImage, read_dicom
from promptseg.io.estimate import estimate_bytes, free_memory, require_room
from promptseg.io.finishing import finish
from promptseg.io.frames import check_frame
from promptseg.io.gipl import read_gipl
from promptseg.io.itk import RawImage, from_sitk
from promptseg.io.metaimage import read_metaimage
from promptseg.io.mgh import read_mgh
from promptseg.io.nifti_voxels import read_nifti
from promptseg.io.nrrd import read_nrrd
from promptseg.io.picture import read_picture
from promptseg.io.sniff import Family, is_dicom, sniff
from promptseg.io.sources import TAKEN, is_datasets, read_memory, written_datasets
from promptseg.volume.geometry import Geometry
from promptseg.volume.intensity import Window
from promptseg.volume.volume import Volume

__all__ = ["read_volume"]

LOGGER = logging.getLogger(__name__)


def read_volume(
    source: object,
    *,
    series: str | None = None,
    frame: int | None = None,
    window: Window | None = None,
    fix: bool = False,
) -> Volume:
    """Read an image with its geometry.

    Args:
        source: path of a file, of a folder with DICOM files, or of a zip archive of either; a list of files (DICOM
            slices, or 2D pictures of one size that become slices in the order given); a SimpleITK or nibabel image; a
            MONAI MetaTensor; a pydicom
            dataset or a list of them; an xarray DataArray with the dimensions z, y, x (frame as ITK's: LPS mm); or
            ``(array, place)`` with any array that numpy takes (torch, zarr): (z, y, x) with a ``Geometry``, with a
            spacing (x, y, z) in mm or with None (1 mm); or, as nibabel has them, (x, y, z) with an affine to RAS mm.
        series: which DICOM series of a folder: its UID, a unique beginning or end of it, or its number from 1.
        frame: which frame of a 4D image or cine loop, zero-based. None reads the first and adds a finding.
        window: the intensity window to use instead of the file's own.
        fix: resample a DICOM series that is tilted or unevenly spaced, or a sheared NIfTI file, onto a regular grid,
            in place of refusing it.
            ``promptseg.io.regrid.read_regridded`` also gives the way back to the slices.

    Returns:
        The volume: array (z, y, x) (or RGB with a last axis of 3), world frame LPS mm. What was guessed, converted
        or left out stands in ``findings``.

    Raises:
        SeriesChoiceError: several series and no choice.
        ReadError: the source is no image, is damaged, or has a geometry that is no regular grid.
    """
    if isinstance(source, Volume):
        return source
    paths = _paths(source)
    started = time.perf_counter()
    made = _regridded(source, series, frame, window) if fix else None
    if made is None:
        made = _read(source, series, frame, window)
    what = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files" if paths else type(source).__name__
    seconds = time.perf_counter() - started
    LOGGER.debug("read %s: %s %s in %.2f s", what, made.array.dtype, made.array.shape, seconds)
    return replace(made, sources=paths)


def _paths(source: object) -> tuple[Path, ...]:
    """Return the files or the folder that a source names."""
    named = source if isinstance(source, list | tuple) else [source]
    return tuple(Path(str(one)).expanduser().absolute() for one in named if isinstance(one, str | Path))


def _read(source: object, series: str | None, frame: int | None, window: Window | None) -> Volume:
    if isinstance(source, str | Path):
        return _read_path(Path(source).expanduser(), series, frame, window)
    if hasattr(source, "GetPixelIDTypeAsString"):  # a SimpleITK image, known without importing SimpleITK
        check_frame(frame, 1, "the SimpleITK image")
        return finish(from_sitk(source), window=window)
    if is_datasets(source):
        with written_datasets(source) as paths:
            return _read_files(paths, series, frame, window)
    held = read_memory(source, frame)
    if held is not None:
        return finish(held, window=window)
    if isinstance(source, list | tuple):
        return _read_files(source, series, frame, window)
    raise ReadError(f"expected {TAKEN} to read, got {type(source).__name__}")


def _regridded(source: object, series: str | None, frame: int | None, window: Window | None) -> Volume | None:
    """Return a DICOM series of several slices, or a sheared NIfTI file, on a regular grid; None for other sources."""
    from promptseg.io.dicom import is_dicom_series
    from promptseg.io.regrid import read_regridded
    from promptseg.io.unshear import is_sheared

    paths = [Path(str(one)).expanduser() for one in (source if isinstance(source, list | tuple) else [source])
             if isinstance(one, str | Path)]  # fmt: skip
    sheared = len(paths) == 1 and paths[0].is_file() and not is_dicom(paths[0]) and is_sheared(paths[0])
    if not paths or not (sheared or is_dicom_series(paths, series)):
        return None
    where = paths[0] if isinstance(source, str | Path) else paths
    return read_regridded(where, series=series, frame=frame, window=window).volume


def _read_path(path: Path, series: str | None, frame: int | None, window: Window | None) -> Volume:
    if is_archive(path):
        with unpacked(path) as inside:
            return _read_path(inside, series, frame, window)
    if path.is_dir():
        return _finish_dicom(read_dicom(path, series=series, frame=frame), window)
    if path.suffix.lower() == ".img" and path.with_suffix(".hdr").is_file():
        path = path.with_suffix(".hdr")  # the header of a pair names the voxels, not the other way round
    family = sniff(path)
    if family is Family.DICOM:
        return _finish_dicom(read_dicom(path, series=series, frame=frame), window)
    return finish(read_file(path, family, frame=frame), window=window, what=str(path))


def read_file(path: Path, family: Family, *, frame: int | None = None) -> RawImage:
    """Read one file that is no DICOM, with the checks of its format.

    Raises:
        ReadError: see ``read_volume``.
    """
    require_room(estimate_bytes(path), free_memory(), path)
    readers = {
        Family.NIFTI: read_nifti,
        Family.NRRD: read_nrrd,
        Family.META: read_metaimage,
        Family.MGH: read_mgh,
        Family.GIPL: read_gipl,
    }
    try:
        if family in readers:
            return readers[family](path, frame=frame)
        return read_picture(path, family, frame=frame)
    except GeometryError as exc:
        raise ReadError(f"cannot read {path}: {exc}") from exc


def _finish_dicom(image: DicomImage, window: Window | None) -> Volume:
    return finish(image.raw, modality=image.modality, dicom=image.window, window=window)


def _read_files(files: Sequence[object], series: str | None, frame: int | None, window: Window | None) -> Volume:
    """Read DICOM slices in any order, or pictures of one size in the order given."""
    if not files or not all(isinstance(file, str | Path) for file in files):
        kinds = ", ".join(sorted({type(file).__name__ for file in files})) or "nothing"
        raise ReadError(f"expected {TAKEN} to read, got a {type(files).__name__} of {kinds}")
    paths = [Path(str(file)).expanduser() for file in files]
    if len(paths) == 1:
        return _read_path(paths[0], series, frame, window)
    families = {sniff(path) for path in paths}
    if families == {Family.DICOM}:
        return _finish_dicom(read_dicom(paths, series=series, frame=frame), window)
    if Family.DICOM in families:
        raise ReadError("expected files of one kind, got DICOM and other formats in one list")
    check_frame(frame, 1, f"the list of {len(paths)} files")
    return _stack_pictures([_read_path(path, None, None, window) for path in paths], window)


def _stack_pictures(pictures: Sequence[Volume], window: Window | None) -> Volume:
    shapes = sorted({picture.array.shape for picture in pictures})
    if len(shapes) > 1 or shapes[0][0] != 1:
        raise ReadError(
            f"expected pictures of one slice and one size to stack, got arrays of {', '.join(str(s) for s in shapes)}"
        )
    first = pictures[0].geometry
    geometry = Geometry((len(pictures), *first.shape[1:]), first.spacing, first.origin, first.direction)
    sentence = f"{len(pictures)} pictures were stacked in the order given, {first.spacing[2]:g} mm apart (assumed)"
    findings = [Finding(sentence, "stacked-pictures", Severity.WARNING, "assumed")]
    findings += dict.fromkeys(Finding.of(finding) for picture in pictures for finding in picture.findings)
    return finish(RawImage(np.concatenate([p.array for p in pictures]), geometry, findings), window=window)
