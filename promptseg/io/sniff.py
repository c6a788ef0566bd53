"""What a file is, told by its first bytes: a name may lie (a renamed PDF), the content does not."""

from __future__ import annotations

import gzip
import zlib
from enum import Enum
from pathlib import Path

from promptseg.errors import ReadError

__all__ = ["READABLE", "Family", "is_dicom", "sniff"]

READABLE = ".dcm .nii .nii.gz .mha .mhd .nrrd .nhdr .tif .tiff .png .jpg .jpeg .hdr/.img .mgh .mgz .gipl .gipl.gz"
HEAD_BYTES = 512  # NIfTI's magic ends at 348, DICOM's at 132
GIPL_MAGICS = (719555000, 4026526128)  # at byte 252: the original's, and that of an extended header (ITK's GIPLImageIO)
FIRST_GROUPS = (0x0002, 0x0008)  # the groups that a DICOM data set without a preamble starts with


class Family(Enum):
    """Formats that share one reader."""

    DICOM = "DICOM"
    NIFTI = "NIfTI or Analyze"
    MGH = "FreeSurfer MGH"
    GIPL = "GIPL"
    NRRD = "NRRD"
    META = "MetaImage"
    TIFF = "TIFF"
    PNG = "PNG"
    JPEG = "JPEG"


def sniff(path: Path) -> Family:
    """Return the format family of a file.

    Raises:
        ReadError: the file is missing, empty, or of no format known here.
    """
    head = _head(path)
    family = _family(head, path)
    if family is None:
        raise ReadError(
            f"cannot read {path}: its content is no image format known here ({_looks_like(head)}); "
            f"readable: {READABLE} and folders of DICOM files"
        )
    return family


def is_dicom(path: Path) -> bool:
    """Return True where the file starts as a DICOM file does, with or without the 128 bytes of preamble."""
    try:
        with path.open("rb") as file:
            return _is_dicom_head(file.read(HEAD_BYTES))
    except OSError:
        return False


def _head(path: Path) -> bytes:
    if not path.exists():
        raise ReadError(f"cannot read {path}: there is no such file or folder")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as exc:
        raise ReadError(f"cannot read {path}: {exc.strerror or type(exc).__name__}") from exc
    if not head:
        raise ReadError(f"cannot read {path}: the file is empty (0 bytes)")
    return head


def _family(head: bytes, path: Path) -> Family | None:
    if head.startswith(b"\x1f\x8b"):
        return _family_inside_gzip(path)
    if head[128:132] == b"DICM":  # first: the preamble before it may pose as TIFF
        return Family.DICOM
    signatures = (
        (b"\x89PNG\r\n\x1a\n", Family.PNG),
        (b"\xff\xd8\xff", Family.JPEG),
        (b"II*\x00", Family.TIFF),
        (b"MM\x00*", Family.TIFF),
        (b"II+\x00", Family.TIFF),  # BigTIFF
        (b"MM\x00+", Family.TIFF),
        (b"NRRD000", Family.NRRD),
        (b"\x00\x00\x00\x01\x00\x00", Family.MGH),  # big-endian version 1, then a width below 65536
    )
    for signature, family in signatures:
        if head.startswith(signature) and (family is not Family.MGH or path.suffix.lower() == ".mgh"):
            return family
    if _is_nifti_head(head):
        return Family.NIFTI
    if _is_dicom_head(head):
        return Family.DICOM
    if _is_gipl_head(head):
        return Family.GIPL
    if b"ObjectType" in head or b"NDims" in head:
        return Family.META
    return None


def _family_inside_gzip(path: Path) -> Family | None:
    try:
        with gzip.open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error) as exc:
        raise ReadError(f"cannot read {path}: its gzip compression is damaged or cut short") from exc
    if _is_nifti_head(head):
        return Family.NIFTI
    if head.startswith(b"\x00\x00\x00\x01\x00\x00"):
        return Family.MGH
    return Family.GIPL if _is_gipl_head(head) else None


def _is_nifti_head(head: bytes) -> bool:
    sizes = (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c", b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")  # 348 and 540
    return head[:4] in sizes


def _is_gipl_head(head: bytes) -> bool:
    return any(int.from_bytes(head[252:256], order) in GIPL_MAGICS for order in ("big", "little"))


def _is_dicom_head(head: bytes) -> bool:
    if head[128:132] == b"DICM":
        return True
    if len(head) < 16:
        return False
    group = int.from_bytes(head[:2], "little")
    element = int.from_bytes(head[2:4], "little")
    length_or_vr = head[4:8]
    plausible = length_or_vr[:2].isalpha() and length_or_vr[:2].isupper()
    plausible = plausible or int.from_bytes(length_or_vr, "little") < HEAD_BYTES
    return group in FIRST_GROUPS and element <= 0x0020 and plausible


def _looks_like(head: bytes) -> str:
    if head.startswith(b"%PDF"):
        return "it is a PDF document"
    if head.startswith(b"PK\x03\x04"):
        return "it is a zip archive; unpack it first"
    if head.startswith(b"\x1f\x8b"):
        return "it is a gzip file that holds neither NIfTI nor MGH nor GIPL"
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head):
        return "it is a text file"
    return "its first bytes match none"
