"""Writing masks and images: whole files or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.errors import WriteError
from promptseg.io.atomic import all_or_nothing
from promptseg.io.label_description import description_path, write_descriptions
from promptseg.io.label_values import present_values
from promptseg.io.nifti_forms import state_second_frame
from promptseg.io.nrrd_seg import segment_fields
from promptseg.io.outputs import checked_extension
from promptseg.io.picture import write_note
from promptseg.io.quiet import quiet_itk
from promptseg.volume.exchange import as_sitk
from promptseg.volume.geometry import Geometry
from promptseg.volume.labelmap import Label, Labelmap
from promptseg.volume.volume import Volume

__all__ = ["IMAGE_EXTENSIONS", "MASK_EXTENSIONS", "write_labelmap", "write_volume"]

MASK_EXTENSIONS = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha", ".mhd", ".tif", ".tiff", ".png")
IMAGE_EXTENSIONS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".tif", ".tiff", ".png", ".jpg", ".jpeg")
NRRD = (".seg.nrrd", ".nrrd")
NIFTI = (".nii", ".nii.gz")
TIFF = (".tif", ".tiff")
IMAGEJ_TYPES = (np.uint8, np.uint16, np.float32)
PICTURES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")  # no place in the patient: the frame goes into a note beside them
ONE_SLICE = (".png", ".jpg", ".jpeg")


def write_labelmap(labelmap: Labelmap, path: str | Path) -> tuple[Path, ...]:
    """Write a mask with its geometry, names and colours.

    Names and colours go into the header (NRRD) or into an ITK-SNAP label description ``<stem>.label.txt``; the
    geometry of TIFF and PNG goes into ``<name>.json``. All files appear complete or none does.

    Args:
        labelmap: what to write.
        path: its extension chooses the format, one of ``MASK_EXTENSIONS``.

    Returns:
        All files written, ``path`` first.

    Raises:
        WriteError: unknown extension, no such folder, several slices for a PNG, values too large for the format.
    """
    path = Path(path).expanduser()
    extension = checked_extension(path, MASK_EXTENSIONS)
    array = _fitting(labelmap.array, extension, path)
    labels = _all_labels(labelmap)
    with all_or_nothing(path) as folder:
        target = folder / path.name
        fields = segment_fields(labels, labelmap.geometry.shape) if extension in NRRD else {}
        _write_image(array, labelmap.geometry, target, extension, fields)
        if extension not in NRRD:
            write_descriptions(labels, description_path(target, extension))
        written = [file.name for file in folder.iterdir()]
    return _listed(path, written)


def write_volume(volume: Volume, path: str | Path) -> tuple[Path, ...]:
    """Write an image with its geometry, voxel values unchanged.

    Args:
        volume: what to write.
        path: its extension chooses the format, one of ``IMAGE_EXTENSIONS``.

    Returns:
        All files written, ``path`` first.

    Raises:
        WriteError: as ``write_labelmap``; also values that a picture format cannot hold.
    """
    path = Path(path).expanduser()
    extension = checked_extension(path, IMAGE_EXTENSIONS)
    array = volume.array.astype(np.float32) if volume.array.dtype == np.float16 else volume.array
    if extension in ONE_SLICE:
        _require_picture(array, extension, path)
    with all_or_nothing(path) as folder:
        _write_image(array, volume.geometry, folder / path.name, extension, {})
        written = [file.name for file in folder.iterdir()]
    return _listed(path, written)


def _listed(path: Path, names: list[str]) -> tuple[Path, ...]:
    others = sorted(name for name in names if name != path.name)
    return (path, *(path.parent / name for name in others))


def _all_labels(labelmap: Labelmap) -> list[Label]:
    """Return the named labels and a default for every value in the array that has no name."""
    values = {*labelmap.labels, *present_values(labelmap.array)}
    return [labelmap.labels.get(value) or Label.default(value) for value in sorted(values)]


def _fitting(array: NDArray[Any], extension: str, path: Path) -> NDArray[Any]:
    """Return the labels in a type that the format holds.

    Raises:
        WriteError: it holds none as large, or one slice only.
    """
    highest = int(array.max())
    limit = 2**16 if extension in PICTURES else 2**32
    if highest >= limit:
        raise WriteError(f"cannot write {path}: {extension} holds labels below {limit}, got {highest}")
    if extension in ONE_SLICE and array.shape[0] != 1:
        raise WriteError(
            f"cannot write {path}: {extension} holds one slice, got {array.shape[0]}; expected .nii.gz or .tif"
        )
    if array.dtype.itemsize * 8 > (limit - 1).bit_length():
        return array.astype(np.uint16 if extension in PICTURES else np.uint32)
    return array


def _require_picture(array: NDArray[Any], extension: str, path: Path) -> None:
    if array.shape[0] != 1:
        raise WriteError(
            f"cannot write {path}: {extension} holds one slice, got {array.shape[0]}; expected .nii.gz or .tif"
        )
    types = (np.uint8,) if extension != ".png" or array.ndim == 4 else (np.uint8, np.uint16)
    if array.dtype not in types:
        raise WriteError(
            f"cannot write {path}: {extension} holds {' or '.join(t.__name__ for t in types)}, got {array.dtype}; "
            "expected .nii.gz, .nrrd, .mha or .tif"
        )


def _write_image(array: NDArray[Any], geometry: Geometry, target: Path, extension: str, fields: dict[str, str]) -> None:
    """Write one image file (a header and a data file for .mhd), and the note of a picture.

    Raises:
        WriteError: ITK refuses.
    """
    import SimpleITK as sitk

    if extension in TIFF and array.dtype in IMAGEJ_TYPES:
        _write_imagej(array, geometry, target)
        return
    if extension in ONE_SLICE:
        array = array[0]
        image = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=array.ndim == 3)
    else:
        image = as_sitk(array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("=")), geometry)
    for key, value in fields.items():
        image.SetMetaData(key, value)
    # ITK's NIfTI writer takes more endings off a name than the last: a.img.nii.gz would become a.hdr.
    written = target.with_name(f"image{extension}") if extension in NIFTI else target
    with quiet_itk():
        try:
            sitk.WriteImage(image, str(written), useCompression=extension != ".mhd")
        except RuntimeError as exc:
            raise WriteError(
                f"cannot write {target.name}: {extension} does not hold {array.dtype} of shape {array.shape}, "
                "or the disk is full"
            ) from exc
    if extension in NIFTI and geometry.second is not None:
        state_second_frame(written, geometry.second)
    if written != target:
        written.replace(target)
    if extension in PICTURES:
        write_note(target, geometry)


def _write_imagej(array: NDArray[Any], geometry: Geometry, target: Path) -> None:
    """Write a TIFF stack with voxel sizes that ImageJ reads (cm, as TIFF knows no mm), and its note.

    Raises:
        WriteError: the disk is full, or the stack is larger than a TIFF.
    """
    import tifffile

    x, y, z = (mm / 10 for mm in geometry.spacing)
    try:
        tifffile.imwrite(
            target,
            array,
            imagej=True,
            compression="zlib",
            resolution=(1 / x, 1 / y),
            resolutionunit="CENTIMETER",
            metadata={"axes": "ZYXS" if array.ndim == 4 else "ZYX", "spacing": z, "unit": "cm"},
        )
    except (OSError, ValueError) as exc:
        raise WriteError(f"cannot write {target.name}: the disk is full, or 4 GiB are too few for the stack") from exc
    write_note(target, geometry)
