"""What the commands on finished masks do, apart from parsing and printing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from promptseg.errors import WriteError, did_you_mean
from promptseg.export.formats import DICOM_KINDS, FORMATS, Content, format_of
from promptseg.export.provenance import Logged, provenance_of

if TYPE_CHECKING:
    from promptseg.export.read import ImportOptions
    from promptseg.export.segments import SegmentSet
    from promptseg.export.source import DicomSource
    from promptseg.volume import Labelmap
    from promptseg.volume.masks import Masks

__all__ = ["ExportRequest", "export_mask", "import_segmentation", "read_masks", "read_pair"]

SR = "sr"  # measurements of a SEG: made of that object, not of labels
EXTENSIONS = (".dcm", ".stl", ".obj")


@dataclass(frozen=True)
class ExportRequest:
    """Options of ``promptseg export``; see its help."""

    image: Path | None = None
    kind: str = "seg"
    log: Logged | None = None
    holes: str = "keyhole"
    labels: tuple[str, ...] = ()
    keep_identity: bool = False
    series: str | None = None
    frame: int | None = None


def export_mask(mask: Path, output: Path, request: ExportRequest) -> tuple[list[str], tuple[str, ...]]:
    """Write a mask as a DICOM object or as a surface; return a line per file, and findings.

    Raises:
        WriteError: an unknown extension or kind, or a DICOM object without its image.
    """
    from promptseg.io import read_labelmap

    extension, kinds = output.suffix.lower(), (*DICOM_KINDS, SR)
    if extension not in EXTENSIONS:
        raise WriteError(
            f"cannot write {output}: expected a name that ends with one of {', '.join(EXTENSIONS)}; "
            "for other mask formats use `promptseg convert --mask`"
        )
    if request.kind not in kinds:
        raise WriteError(f"expected --as {', '.join(kinds)}, got {request.kind!r}{did_you_mean(request.kind, kinds)}")
    if extension == ".dcm" and request.kind == SR:
        return [f"wrote {output}"], _export_sr(mask, output, request)
    content = Content(read_labelmap(mask), only=request.labels)
    findings: tuple[str, ...] = ()
    wanted = format_of(output)
    if extension == ".dcm":
        wanted, images = FORMATS[DICOM_KINDS[request.kind]], _images(output, request)
        made = provenance_of(request.log) if request.log is not None else None
        content = replace(content, images=images, made=made, keep_identity=request.keep_identity, holes=request.holes)
        findings = images.findings
    return [f"wrote {path}" for path in wanted.write(content, output)], findings


def _images(output: Path, request: ExportRequest) -> DicomSource:
    from promptseg.export.source import HOW_TO_GO_ON, read_source

    if request.image is None:
        raise WriteError(f"cannot write {output} without --image: {HOW_TO_GO_ON}")
    return read_source(request.image, series=request.series, frame=request.frame)


def _export_sr(seg: Path, output: Path, request: ExportRequest) -> tuple[str, ...]:
    from promptseg.export import write_dicom_sr
    from promptseg.export.read import is_dicom_mask
    from promptseg.io import read_volume

    if not is_dicom_mask(seg):
        raise WriteError(
            f"cannot write {output}: a structured report refers to the segments of a DICOM SEG, "
            f"and {seg.name} is none; "
            "write one with --as seg first, and give that as MASK"
        )
    source = _images(output, request)
    volume = read_volume(request.image, series=request.series, frame=request.frame)
    write_dicom_sr(seg, output, source, volume=volume, keep_identity=request.keep_identity)
    return source.findings


def import_segmentation(
    source: Path, output: Path, image: Path | None, series: str | None, overlap: str, same_frame: bool
) -> tuple[list[str], tuple[str, ...]]:
    """Read a DICOM SEG or RTSTRUCT and write a mask file; return a line per label and file, and findings."""
    from promptseg.export import read_segmentation
    from promptseg.io import write_labelmap
    from promptseg.measure.size import size_in_words, size_of

    found = read_segmentation(source, _options(image, series, same_frame))
    labelmap = found.labelmap(overlap=overlap)
    lines = [
        f"{label.name}: {size_in_words(size_of(int(labelmap.mask(label.value).sum()), labelmap.geometry))}"
        for label in labelmap.labels.values()
    ]
    return lines + [f"wrote {path}" for path in write_labelmap(labelmap, output)], found.findings


def read_masks(path: Path, image: Path | None, series: str | None) -> tuple[Labelmap | SegmentSet, tuple[str, ...]]:
    """Read a mask of any format, DICOM objects on the image's grid; return it and findings.

    Raises:
        ReadError: it is no mask.
    """
    from promptseg.export.read import is_dicom_mask, read_segmentation
    from promptseg.io import read_labelmap

    if is_dicom_mask(path):
        found = read_segmentation(path, _options(image, series, True))
        return found, found.findings
    return read_labelmap(path), ()


def read_pair(
    prediction: Path, truth: Path, image: Path | None, series: str | None
) -> tuple[Masks, Masks, tuple[str, ...]]:
    """Read two masks; without an image a DICOM object is read on the other mask's grid where it lies on that exactly.

    Returns:
        Prediction, truth, findings.

    Raises:
        ReadError: one of them is no mask.
    """
    from promptseg.errors import GeometryMismatchError
    from promptseg.export.read import ImportOptions, is_dicom_mask, read_segmentation
    from promptseg.io import read_labelmap

    dicom = [path for path in (prediction, truth) if is_dicom_mask(path)]
    if image is None and len(dicom) == 1:
        plain = read_labelmap(truth if dicom[0] == prediction else prediction)
        try:
            found = read_segmentation(dicom[0], ImportOptions(plain.geometry))
        except GeometryMismatchError:  # then on its own grid, for whoever compares the two to judge
            found = read_segmentation(dicom[0])
        return (found, plain, found.findings) if dicom[0] == prediction else (plain, found, found.findings)
    judged, notes = read_masks(prediction, image, series)
    reference, more = read_masks(truth, image, series)
    return judged, reference, (*notes, *more)


def _options(image: Path | None, series: str | None, same_frame: bool) -> ImportOptions:
    """Return the grid of the image, and its frame of reference where it is DICOM."""
    from promptseg.export import ImportOptions, read_source
    from promptseg.io import read_volume

    if image is None:
        return ImportOptions()
    try:
        found = read_source(image, series=series)
    except WriteError:  # no DICOM image, or one without UIDs: its grid alone
        return ImportOptions(read_volume(image, series=series).geometry)
    return ImportOptions(found.geometry, found.frame_of_reference if same_frame else "")
