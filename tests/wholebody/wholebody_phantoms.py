"""Images whose whole-body labels are known beforehand, and the same image lying in other ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tiny_weights
from numpy.typing import NDArray

from promptseg.volume import Geometry, Volume

CLASSES = (5, 2, 3, 1, 52, 90, 51, 116)


def blocks(geometry: Geometry, classes: tuple[int, ...] = CLASSES) -> Volume:
    """Eight blocks, one per octant, each of the intensity that the ``bands`` network answers with its class.

    Octants are counted z, y, x from the first voxel.
    """
    array = np.empty(geometry.shape, np.float32)
    z, y, x = (n // 2 for n in geometry.shape)
    parts = [
        (slice(*zs), slice(*ys), slice(*xs))
        for zs in ((0, z), (z, None))
        for ys in ((0, y), (y, None))
        for xs in ((0, x), (x, None))
    ]
    for part, class_id in zip(parts, classes, strict=True):
        array[part] = tiny_weights.band_centre(class_id)
    return Volume.from_array(array.astype(np.int16), geometry, modality="CT")


def expected(
    shape: tuple[int, int, int], margin: tuple[int, int, int], classes: tuple[int, ...] = CLASSES
) -> NDArray[np.int16]:
    """The classes of ``blocks``; -1 within ``margin`` (z, y, x) voxels of a face between two blocks."""
    centre = blocks(Geometry(shape), classes).array
    labels = np.rint((centre - tiny_weights.band_centre(0)) / tiny_weights.BAND_WIDTH).astype(np.int16)
    for axis, width in enumerate(margin):
        near = [slice(None)] * 3
        near[axis] = slice(shape[axis] // 2 - width, shape[axis] // 2 + width)
        labels[tuple(near)] = -1
    return labels


def lying(volume: Volume, order: tuple[int, int, int], flipped: tuple[bool, bool, bool]) -> Volume:
    """The same image in space with its array axes in another order and direction.

    Args:
        volume: the image.
        order: which of its array axes (z, y, x) become the new first, second and third.
        flipped: which of the new array axes run backwards.
    """
    old = volume.geometry
    steps = np.array([old.affine[:3, 2], old.affine[:3, 1], old.affine[:3, 0]])  # LPS mm per voxel of z, y, x
    array, steps = volume.array.transpose(order), steps[list(order)]
    origin = np.array(old.origin)
    for axis, back in enumerate(flipped):
        if back:
            origin = origin + steps[axis] * (array.shape[axis] - 1)
            steps[axis] = -steps[axis]
            array = np.flip(array, axis)
    spacing = np.linalg.norm(steps, axis=1)
    columns = (steps / spacing[:, None])[::-1].T
    geometry = Geometry(
        array.shape, tuple(spacing[::-1].tolist()), tuple(origin.tolist()), tuple(columns.ravel().tolist())
    )
    return Volume.from_array(np.ascontiguousarray(array), geometry, modality=volume.modality)


def write_ct_series(volume: Volume, folder: Path) -> Path:
    """Write an integer volume as single-frame CT slices without identity; return the folder."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    sop_class, root = UID("1.2.840.10008.5.1.4.1.1.2"), "1.2.826.0.1.3680043.10.7"
    folder.mkdir()
    axes = np.asarray(volume.geometry.direction).reshape(3, 3)
    for z, pixels in enumerate(volume.array.astype(np.int16)):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID(f"{root}.9.{z + 1}")
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = (
            f"{root}.{n}" for n in (1, 2, 3)
        )
        dataset.PatientName = dataset.PatientID = dataset.PositionReferenceIndicator = ""
        dataset.Modality, dataset.InstanceNumber, dataset.SeriesNumber = "CT", str(z + 1), "1"
        position = volume.geometry.voxel_to_world((z, 0, 0))
        dataset.ImagePositionPatient = [f"{v:.8g}" for v in position]
        dataset.ImageOrientationPatient = [f"{v:.8g}" for v in (*axes[:, 0], *axes[:, 1])]
        dataset.PixelSpacing = [str(volume.geometry.spacing[1]), str(volume.geometry.spacing[0])]
        dataset.SliceThickness = str(volume.geometry.spacing[2])
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "HU"
        dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
        dataset.save_as(folder / f"IM{z:04d}.dcm", enforce_file_format=True)
    return folder
