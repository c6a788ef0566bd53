"""What ``fuzz_readers.py`` feeds the readers: small sound files of every kind, and their mutations."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Seed", "mutated", "seeds"]

LARGEST_SEED = 400_000  # bytes
COMPRESSED = (
    "mr_compressed_j2k",
    "mr_compressed_jpeg",
    "mr_compressed_jpegls",
    "mr_siemens_mosaic",
)  # one file of each
WORDS = (
    b"0",
    b"-1",
    b"1e400",
    b"nan",
    b"inf",
    b"",
    b"99999999999",
    b"4294967295",
    b"../../x",
    b"(1,2",
    b"\xff\xfe",
    b"0x",
)
NUMBERS = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)
FLOATS = (0.0, -1.0, float("nan"), float("inf"), 1e-40, 1e38, -0.0)


@dataclass(frozen=True)
class Seed:
    """Sound files of one image: names and contents; the first one is mutated. ``header`` bytes are hit more often."""

    name: str
    files: tuple[tuple[str, bytes], ...]
    header: int


# --- seeds ----------------------------------------------------------------------------------------------------------


def seeds(data: Path | None) -> list[Seed]:
    """Return all seeds, in a fixed order."""
    with tempfile.TemporaryDirectory() as folder:
        found = [*_own_files(Path(folder)), *_own_dicom(Path(folder))]
    if data is not None:
        root = data / "robustness"
        paths = sorted(p for part in ("dicom_single", "volumes", "seg_labelmap") for p in (root / part).iterdir())
        paths = [path for path in paths if path.is_file() and path.stat().st_size <= LARGEST_SEED]
        paths += [min((root / part).iterdir()) for part in COMPRESSED]
        found += [Seed(path.name, ((path.name, path.read_bytes()),), 2048) for path in paths]
    return found


def _own_files(folder: Path) -> Iterator[Seed]:
    import gzip

    from promptseg.io import write_labelmap, write_volume
    from promptseg.volume import Geometry, Labelmap, Volume

    turned = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
    geometry = Geometry((4, 9, 7), (0.7, 1.1, 3.0), (-5.0, 12.5, 40.0), turned)
    array = np.arange(4 * 9 * 7, dtype=np.int16).reshape(4, 9, 7)
    volume = Volume.from_array(array, geometry)
    masks = Labelmap((array % 3).astype(np.uint8), geometry)
    for name in ("a.nii", "a.nrrd", "a.mha", "a.mhd", "a.tif"):
        written = write_volume(volume, folder / name)
        yield Seed(name, _contents(written, folder / name), 352)
    for name in ("m.nii", "m.seg.nrrd"):
        written = write_labelmap(masks, folder / name)
        yield Seed(name, _contents(written, folder / name), 600)
    nifti = (folder / "a.nii").read_bytes()
    yield Seed("a.nii.gz", (("a.nii.gz", gzip.compress(nifti, mtime=0)),), 40)
    pair = bytearray(nifti[:348])
    pair[344:348], pair[108:112] = b"ni1\0", struct.pack("<f", 0.0)
    yield Seed("p.hdr", (("p.hdr", bytes(pair)), ("p.img", nifti[352:])), 348)
    yield Seed("big.nii", (("big.nii", _swapped(nifti)),), 352)


def _contents(written: tuple[Path, ...], first: Path) -> tuple[tuple[str, bytes], ...]:
    return tuple((p.name, p.read_bytes()) for p in sorted(written, key=lambda p: p != first))


def _swapped(nifti: bytes) -> bytes:
    import nibabel as nib

    image = nib.Nifti1Image.from_bytes(nifti)
    header = image.header.as_byteswapped(">")
    return nib.Nifti1Image(np.asarray(image.dataobj).astype(">i2"), image.affine, header).to_bytes()


def _own_dicom(folder: Path) -> Iterator[Seed]:
    from promptseg.export import read_source, write_dicom_seg, write_rtstruct
    from promptseg.volume import Geometry, Labelmap

    geometry = Geometry((3, 11, 13), (0.7, 1.1, 3.0), (-5.0, 12.5, 40.0))
    place = folder / "series"
    place.mkdir()
    pixels = np.arange(3 * 11 * 13, dtype=np.int16).reshape(3, 11, 13)
    for z in range(3):
        _slice(pixels[z], z).save_as(place / f"{z}.dcm", enforce_file_format=True)
    files = tuple((f"s/{p.name}", p.read_bytes()) for p in sorted(place.iterdir()))
    yield Seed("series", files, 1400)
    for name in ("implicit", "rle", "mosaic"):
        dataset = _slice(np.concatenate(pixels[:2]) if name == "mosaic" else pixels[0], 0)
        if name == "rle":
            dataset.compress("1.2.840.10008.1.2.5")
        elif name == "implicit":
            dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
        else:
            _make_mosaic(dataset)
        dataset.save_as(folder / f"{name}.dcm", enforce_file_format=True)
        yield Seed(name, ((f"{name}.dcm", (folder / f"{name}.dcm").read_bytes()),), 1400)
    source = read_source(place)
    masks = Labelmap((pixels % 3).astype(np.uint8), geometry)
    for kind in ("binary", "labelmap"):
        path = write_dicom_seg(masks, folder / f"{kind}.dcm", source, kind=kind)
        yield Seed(f"seg-{kind}", ((path.name, path.read_bytes()),), 6000)
    path = write_rtstruct(masks, folder / "rtstruct.dcm", source)
    yield Seed("rtstruct", ((path.name, path.read_bytes()),), 4000)


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


# --- mutations ------------------------------------------------------------------------------------------------------


def mutated(seed: Seed, number: int) -> bytes:
    """Return the seed's first file, changed in one to six ways (mostly one or two) that depend on the number alone."""
    rng = np.random.default_rng(number)
    data = bytearray(seed.files[0][1])
    for _ in range(min(6, int(rng.geometric(0.5)))):
        _change(data, rng, min(seed.header, len(data)))
    return bytes(data)


def _change(data: bytearray, rng: np.random.Generator, header: int) -> None:
    if len(data) < 16:
        return
    reach = header if header > 16 and rng.random() < 0.85 else len(data)
    at = int(rng.integers(0, min(reach, len(data)) - 8))
    kind = int(rng.integers(9))
    if kind == 0:
        data[at] = int(rng.integers(256))
    elif kind == 1:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        form = ("<H", ">H", "<I", ">I")[int(rng.integers(4))]
        value = NUMBERS[int(rng.integers(len(NUMBERS)))] % (1 << 8 * struct.calcsize(form))
        data[at : at + struct.calcsize(form)] = struct.pack(form, value)
    elif kind == 3:
        form = ("<f", ">f")[int(rng.integers(2))]
        data[at : at + 4] = struct.pack(form, FLOATS[int(rng.integers(len(FLOATS)))])
    elif kind == 4:
        del data[at : at + int(rng.integers(1, 32))]
    elif kind == 5:
        data[at:at] = bytes(data[at : at + int(rng.integers(1, 64))])
    elif kind == 6 and rng.random() < 0.3:
        del data[int(rng.integers(8, len(data))) :]
    elif kind == 7:
        other = int(rng.integers(0, len(data) - 8))
        count = int(rng.integers(1, 24))
        data[at : at + count] = data[other : other + count]
    else:
        _replace_word(data, rng, header)


def _replace_word(data: bytearray, rng: np.random.Generator, header: int) -> None:
    """Put another word in place of a run of printable bytes: text headers, and DICOM's decimal strings."""
    starts = [
        i for i in range(min(header, len(data))) if 33 <= data[i] < 127 and (i == 0 or not 33 <= data[i - 1] < 127)
    ]
    if not starts:
        return
    at = starts[int(rng.integers(len(starts)))]
    stop = at
    while stop < len(data) and 33 <= data[stop] < 127:
        stop += 1
    word = WORDS[int(rng.integers(len(WORDS)))]
    if rng.random() < 0.5:  # of the same length: lengths in binary headers stay true
        word = word[: stop - at].ljust(stop - at)
    data[at:stop] = word
