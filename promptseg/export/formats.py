"""Every format that labels are written in: one table of names, extensions, media types, writers and what they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from promptseg.errors import WriteError, did_you_mean

if TYPE_CHECKING:
    from promptseg.export.provenance import Provenance
    from promptseg.export.source import DicomSource
    from promptseg.volume import Labelmap, Volume

__all__ = ["DICOM_KINDS", "FORMATS", "Content", "Format", "format_of", "write_labels"]

BYTES = "application/octet-stream"
T = TypeVar("T")
Needs = Literal["labels", "image", "dicom", "log"]


@dataclass(frozen=True)
class Content:
    """What there is to write.

    Attributes:
        labelmap: the labels.
        volume: the image, for measurements; None: none with intensities.
        images: the DICOM images that a DICOM object refers to.
        made: who made the labels, for DICOM objects.
        only: label names or values, for surfaces; all when empty.
        keep_identity: copy the patient's name, id and dates into a DICOM object.
        holes: of an RTSTRUCT's contours, "keyhole" or "xor".
    """

    labelmap: Labelmap
    volume: Volume | None = None
    images: DicomSource | None = None
    made: Provenance | None = None
    only: tuple[int | str, ...] = ()
    keep_identity: bool = False
    holes: str = "keyhole"


@dataclass(frozen=True)
class Format(Generic[T]):
    """A format.

    Attributes:
        name: as people and requests name it: "nii.gz", "dicom-seg".
        extension: of its file, with the dot.
        media_type: for a download.
        write: writes a file; returns all that it wrote, or the one.
        needs: what it is made of: labels, the image too, DICOM images and the log, or the log.
        stem: of the file's name where nobody gives one.
        single: it holds one label.
    """

    name: str
    extension: str
    media_type: str
    write: Callable[[T, Path], Any]
    needs: Needs = "labels"
    stem: str = "labels"
    single: bool = False

    def file_name(self, stem: str = "") -> str:
        """Return a file's name; formats of one extension get different ones."""
        own = "-labelmap" if self.name == "dicom-labelmap" else ""
        return f"{stem or self.stem}{own}{self.extension}"


def _mask(content: Content, path: Path) -> Sequence[Path]:
    from promptseg.io.write import write_labelmap

    return write_labelmap(content.labelmap, path)


def _surface(content: Content, path: Path) -> Sequence[Path]:
    from promptseg.export.mesh import write_mesh

    return write_mesh(content.labelmap, path, labels=content.only or None)


def _table(content: Content, path: Path) -> Sequence[Path]:
    from promptseg.measure.rows import measure_masks
    from promptseg.measure.tables import write_table

    return (write_table(measure_masks(content.labelmap, content.volume), path),)


def _seg(kind: str) -> Callable[[Content, Path], Sequence[Path]]:
    def write(content: Content, path: Path) -> Sequence[Path]:
        from promptseg.export.dicom_seg import write_dicom_seg

        images, keep = _images(content, path), content.keep_identity
        return (
            write_dicom_seg(content.labelmap, path, images, provenance=content.made, kind=kind, keep_identity=keep),
        )

    return write


def _contours(content: Content, path: Path) -> Sequence[Path]:
    from promptseg.export.rtstruct import write_rtstruct

    images, made, holes, keep = _images(content, path), content.made, content.holes, content.keep_identity
    return (write_rtstruct(content.labelmap, path, images, provenance=made, holes=holes, keep_identity=keep),)


def _images(content: Content, path: Path) -> DicomSource:
    if content.images is None:
        raise WriteError(
            f"cannot write {path.name}: a DICOM object refers to DICOM images, and this image came as another kind of "
            "file; expected a mask (.nii.gz, .nrrd, ...) or a surface instead"
        )
    return content.images


_MASKS = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha", ".mhd", ".tif", ".tiff", ".png")
_ALL: tuple[Format[Content], ...] = (
    *(Format(end[1:], end, BYTES, _mask) for end in _MASKS),
    Format("dicom-seg", ".dcm", "application/dicom", _seg("binary"), "dicom", "segmentation"),
    Format("dicom-labelmap", ".dcm", "application/dicom", _seg("labelmap"), "dicom", "segmentation"),
    Format("rtstruct", ".dcm", "application/dicom", _contours, "dicom", "structures"),
    Format("stl", ".stl", "model/stl", _surface, single=True),
    Format("obj", ".obj", "model/obj", _surface),
    Format("csv", ".csv", "text/csv; charset=utf-8", _table, "image", "measurements"),
    Format("json", ".json", "application/json", _table, "image", "measurements"),
)
FORMATS = {one.name: one for one in _ALL}
DICOM_KINDS = {
    "seg": "dicom-seg",
    "labelmap": "dicom-labelmap",
    "rtstruct": "rtstruct",
}  # of a .dcm, as --as names them


def format_of(path: Path, needs: Sequence[Needs] = ("labels", "image", "dicom")) -> Format[Content]:
    """Return the format of a file's extension; ``.dcm`` is a DICOM SEG.

    Args:
        path: the file.
        needs: what there is; formats that need more do not count.

    Raises:
        WriteError: another extension.
    """
    name = path.name.lower()
    known = [one for one in _ALL if one.needs in needs]
    found = [one for one in known if name.endswith(one.extension) and len(name) > len(one.extension)]
    if found:
        return max(found, key=lambda one: len(one.extension))  # of several as long the first
    extensions = list(dict.fromkeys(one.extension for one in known))
    raise WriteError(
        f"cannot write {path}: expected a name that ends with one of {', '.join(extensions)}"
        f"{did_you_mean(path.suffix or path.name, extensions)}"
    )


def write_labels(labelmap: Labelmap, path: str | Path) -> tuple[Path, ...]:
    """Write labels as a mask or, ``.stl`` and ``.obj``, as surfaces; the extension says which.

    Returns:
        All files written, ``path`` first.

    Raises:
        WriteError: an unknown extension, or a format that does not hold these labels.
    """
    path = Path(path).expanduser()
    return tuple(format_of(path, ("labels",)).write(Content(labelmap), path))
