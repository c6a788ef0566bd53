"""DICOM series written by pydicom from the standard's own formula; every file names a patient who must not leak."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.volume import Geometry

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
SECRET = "Doe^Jane"  # planted in every file; no message, finding or output may hold it


def write_dicom(
    place: Path,
    array: NDArray[Any],
    geometry: Geometry,
    *,
    uid: str = "1.2.826.0.1.3680043.10.1",
    tags: Mapping[str, Any] | None = None,
    each: Callable[[int], Mapping[str, Any]] | None = None,
    drop: tuple[str, ...] = (),
    syntax: str = EXPLICIT_LITTLE,
) -> list[Path]:
    """Write slices (z, rows, columns) as single-frame files in shuffled order of names; return the files.

    ``tags`` are for all, ``each`` gives tags for slice z, ``drop`` are keywords to leave out. Positions follow PS3.3
    C.7.6.2.1.1.
    """
    place.mkdir(parents=True, exist_ok=True)
    axes = np.asarray(geometry.direction).reshape(3, 3)
    order = np.random.default_rng(3).permutation(len(array))
    files = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some tests write what the standard forbids
        for name, z in enumerate(order):
            position = np.asarray(geometry.origin) + axes[:, 2] * geometry.spacing[2] * int(z)
            dataset = slice_dataset(array[z], uid, f"{uid}.{z + 1}", syntax)
            dataset.ImagePositionPatient = [f"{v:.8g}" for v in position]
            dataset.ImageOrientationPatient = [f"{v:.10f}"[:16] for v in (*axes[:, 0], *axes[:, 1])]
            dataset.PixelSpacing = [str(geometry.spacing[1]), str(geometry.spacing[0])]
            dataset.InstanceNumber = str(int(z) + 1)
            for keyword, value in {**(tags or {}), **(each(int(z)) if each else {})}.items():
                setattr(dataset, keyword, value)
            for keyword in drop:
                if keyword in dataset:
                    delattr(dataset, keyword)
            file = place / f"IM{name:04d}"
            dataset.save_as(file, enforce_file_format=True)
            files.append(file)
    return files


def slice_dataset(pixels: NDArray[Any], series: str, instance: str, syntax: str = EXPLICIT_LITTLE) -> Any:
    """Return a CT slice without a place, of 16-bit or 8-bit (grey or RGB) pixels."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CT_IMAGE
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = UID(syntax)
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.SeriesInstanceUID = CT_IMAGE, instance, series
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = SECRET, "SECRET-4711", "19010203"
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes() + b"\0" * (pixels.nbytes % 2)
    dataset["PixelData"].VR = "OW" if bits == 16 else "OB"
    return dataset
