"""An oblique, anisotropic, off-origin DICOM series with planted identity, and masks on its grid."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from phantoms import turned

from promptseg.volume import Geometry, Label, Labelmap

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SECRETS = ("Doe^Jane", "SECRET-4711", "19010203", "ACC-99", "STUDY-17")  # no output or message may hold them
STUDY, SERIES, PLACE = "1.2.826.0.1.3680043.10.1.1", "1.2.826.0.1.3680043.10.1.2", "1.2.826.0.1.3680043.10.1.3"
Write = Callable[..., Path]


@pytest.fixture
def oblique() -> Geometry:
    """5 slices of 23 x 38 pixels: no frame ends on a byte (874 bits)."""
    return Geometry((5, 38, 23), (0.7, 1.3, 2.9), (-31.5, 112.25, -640.125), turned(12, -25, 40))


@pytest.fixture
def labels() -> dict[int, Label]:
    """Sparse values: a coded organ, a coded organ with a side, a name that no table has."""
    return {
        2: Label(2, "liver", (230, 159, 0)),
        7: Label(7, "left kidney", (86, 180, 233)),
        40: Label(40, "Größe, Fläche 3", (0, 158, 115)),
    }


@pytest.fixture
def ragged(oblique: Geometry, labels: dict[int, Label]) -> Labelmap:
    """Noise of three labels: holes, islands in holes, voxels that touch at corners, an empty slice."""
    rng = np.random.default_rng(11)
    array = rng.choice(np.array([0, 2, 7, 40], np.uint8), size=oblique.shape, p=(0.4, 0.3, 0.2, 0.1))
    array[3] = 0
    return Labelmap(array, oblique, labels)


@pytest.fixture
def write_images(tmp_path: Path) -> Write:
    """Write single-frame CT slices for a geometry, shuffled; return their folder. ``drop``: keywords to leave out."""

    def write(geometry: Geometry, *, folder: str = "series", drop: tuple[str, ...] = ()) -> Path:
        place = tmp_path / folder
        place.mkdir()
        axes = np.asarray(geometry.direction).reshape(3, 3)
        for name, z in enumerate(np.random.default_rng(3).permutation(geometry.shape[0])):
            dataset = ct_slice(geometry.shape[1:], f"{SERIES}.{z + 1}")
            position = np.asarray(geometry.origin) + axes[:, 2] * geometry.spacing[2] * int(z)
            dataset.ImagePositionPatient = [f"{v:.8g}" for v in position]
            dataset.ImageOrientationPatient = [f"{v:.10f}"[:16] for v in (*axes[:, 0], *axes[:, 1])]
            dataset.PixelSpacing = [str(geometry.spacing[1]), str(geometry.spacing[0])]
            dataset.SliceThickness = str(geometry.spacing[2])
            dataset.InstanceNumber = str(int(z) + 1)
            for keyword in drop:
                del dataset[keyword]
            dataset.save_as(place / f"IM{name:04d}", enforce_file_format=True)
        return place

    return write


def ct_slice(shape: tuple[int, ...], instance: str) -> Any:
    """Return a CT slice of zeros, without a place."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = UID(CT_IMAGE)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(instance)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT_IMAGE, instance
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = STUDY, SERIES, PLACE
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.AccessionNumber, dataset.StudyID = SECRETS
    dataset.PatientSex, dataset.StudyDate, dataset.StudyTime = "F", "19990101", "101112"
    dataset.ReferringPhysicianName, dataset.PositionReferenceIndicator = "", ""
    dataset.Manufacturer, dataset.Modality, dataset.ImageType = "nobody", "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SeriesNumber, dataset.AcquisitionNumber, dataset.KVP = "1", "1", "120"
    dataset.Rows, dataset.Columns = shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "HU"
    dataset.PixelData = np.zeros(shape, np.int16).tobytes()
    return dataset


@pytest.fixture(autouse=True)
def no_secret_in_output(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After every test here: nothing printed and nothing logged holds the planted identity."""
    caplog.set_level(logging.DEBUG)
    yield
    out, err = capfd.readouterr()
    said = out + err + caplog.text
    assert not [secret for secret in SECRETS if secret in said]


def errors_of_dciodvfy(path: Path) -> list[str]:
    """Return the error lines of dicom3tools' dciodvfy; skips where it is not installed."""
    import shutil
    import subprocess

    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian: apt-get install dicom3tools)")
    done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


@pytest.fixture
def conformance() -> Callable[[Path], list[str]]:
    """``errors_of_dciodvfy``."""
    return errors_of_dciodvfy


def as_bool(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where values are above 0."""
    return np.asarray(values > 0)
