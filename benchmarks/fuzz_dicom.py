"""The DICOM files that ``fuzz_readers.py`` mutates: slices, compressed and enhanced ones, masks and contours."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_inputs import Seed

__all__ = ["dicom_seeds"]

PIXELS = np.arange(3 * 11 * 13, dtype=np.int16).reshape(3, 11, 13)


def dicom_seeds(folder: Path) -> Iterator[Seed]:
    """Yield them; ``folder`` is empty and may be written to."""
    from promptseg.export import read_source, write_dicom_seg, write_rtstruct
    from promptseg.volume import Geometry, Labelmap

    place = folder / "series"
    place.mkdir()
    for z in range(3):
        _slice(PIXELS[z], z).save_as(place / f"{z}.dcm", enforce_file_format=True)
    files = tuple((f"s/{p.name}", p.read_bytes()) for p in sorted(place.iterdir()))
    yield Seed("series", "DICOM", files, 1400)
    for name, dataset in _single().items():
        path = folder / f"{name}.dcm"
        syntax = dataset.file_meta.TransferSyntaxUID
        dataset.save_as(path, enforce_file_format=True, implicit_vr=syntax.is_implicit_VR,
                        little_endian=syntax.is_little_endian)  # fmt: skip
        yield Seed(name, "DICOM", ((path.name, path.read_bytes()),), 1400)
    source = read_source(place)
    masks = Labelmap((PIXELS % 3).astype(np.uint8), Geometry(PIXELS.shape, (0.7, 1.1, 3.0), (-5.0, 12.5, 40.0)))
    for kind in ("binary", "labelmap"):
        path = write_dicom_seg(masks, folder / f"{kind}.dcm", source, kind=kind)
        yield Seed(f"seg-{kind}", "DICOM mask", ((path.name, path.read_bytes()),), 6000)
    path = write_rtstruct(masks, folder / "rtstruct.dcm", source)
    yield Seed("rtstruct", "DICOM mask", ((path.name, path.read_bytes()),), 4000)


def _single() -> dict[str, Any]:
    """Return files of one image each, by name."""
    from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless

    made = {name: _slice(PIXELS[0], 0) for name in ("implicit", "big", "rle", "rgb", "signed", "enhanced")}
    made["mosaic"] = _slice(np.concatenate(PIXELS[:2]), 0)
    made["implicit"].file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    made["big"].file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    made["big"].PixelData = PIXELS[0].astype(">i2").tobytes()
    made["rle"].compress(RLELossless, generate_instance_uid=False)
    made["j2k"] = _slice(np.tile(PIXELS[0], (4, 4)), 0)  # its encoder takes nothing smaller
    made["j2k"].compress(JPEG2000Lossless, generate_instance_uid=False)
    colours = np.stack([PIXELS[0], PIXELS[0] + 50, PIXELS[0] + 90], axis=-1).astype(np.uint8)
    _describe(made["rgb"], colours, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0,
              BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0)  # fmt: skip
    _describe(made["signed"], (PIXELS[0] - 70) & 0x0FFF, BitsStored=12, HighBit=11)
    _make_enhanced(made["enhanced"])
    _make_mosaic(made["mosaic"])
    return made


def _describe(dataset: Any, pixels: np.ndarray, **tags: object) -> None:
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)


def _make_enhanced(dataset: Any) -> None:
    """Turn a picture into three frames of an enhanced CT, stored from top to bottom, each with its own slope."""
    from pydicom.dataset import Dataset

    def item(**tags: object) -> list[Dataset]:
        made = Dataset()
        for keyword, value in tags.items():
            setattr(made, keyword, value)
        return [made]

    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope",
                    "RescaleIntercept"):  # fmt: skip
        delattr(dataset, keyword)
    dataset.NumberOfFrames, dataset.PixelData = 3, PIXELS[::-1].tobytes()
    dataset.SharedFunctionalGroupsSequence = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelMeasuresSequence=item(PixelSpacing=[1.1, 0.7], SliceThickness=3.0),
    )
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=item(ImagePositionPatient=[-5.0, 12.5, 46.0 - 3 * z]),
            PixelValueTransformationSequence=item(RescaleSlope=1 + z, RescaleIntercept=-1000, RescaleType="HU"),
        )[0]
        for z in range(3)
    ]


def _slice(pixels: np.ndarray, z: int) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.10.9.{z + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.10.7", "1.2.826.0.1.3680043.10.8"
    dataset.FrameOfReferenceUID, dataset.Modality, dataset.InstanceNumber = "1.2.826.0.1.3680043.10.6", "CT", str(z + 1)
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [-5.0, 12.5, 40.0 + 3 * z], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [1.1, 0.7], 3.0
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.WindowCenter, dataset.WindowWidth = 1, -1000, 40, 400
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelData = pixels.tobytes()
    return dataset


def _make_mosaic(dataset: Any) -> None:
    """Turn a picture into four tiles, of which three count, with the private header that says so."""
    dataset.ImageType, dataset.SpacingBetweenSlices = ["ORIGINAL", "PRIMARY", "MOSAIC"], 3.0
    dataset.Columns, dataset.PixelData = 12, dataset.PixelData[: 22 * 12 * 2]
    fields = {b"NumberOfImagesInMosaic": [b"3"], b"SliceNormalVector": [b"0", b"0", b"1"]}
    header = b"SV10\4\3\2\1" + struct.pack("<2I", len(fields), 77)
    for name, values in fields.items():
        header += struct.pack("<64si4s3i", name, len(values), b"FD", 4, len(values), 77)
        header += b"".join(struct.pack("<4i4s", 2, 2, 77, 2, value) for value in values)
    dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", header)
