"""What the commands on finished masks do, apart from parsing and printing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptseg.errors import PromptError, WriteError, did_you_mean

if TYPE_CHECKING:
    from promptseg.evaluate import Masks
    from promptseg.export.read import ImportOptions
    from promptseg.export.segments import SegmentSet
    from promptseg.measure.quantity import Quantity
    from promptseg.volume import Labelmap, Volume

__all__ = [
    "ExportRequest",
    "MeasureRequest",
    "export_mask",
    "import_segmentation",
    "measure_masks",
    "read_masks",
    "read_pair",
]

DICOM_KINDS = ("seg", "labelmap", "rtstruct", "sr")
EXTENSIONS = (".dcm", ".stl", ".obj")


@dataclass(frozen=True)
class ExportRequest:
    """Options of ``promptseg export``; see its help."""

    image: Path | None = None
    kind: str = "seg"
    log: Path | None = None
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
    from promptseg.export import write_mesh
    from promptseg.io import read_labelmap

    extension = output.suffix.lower()
    if extension not in EXTENSIONS:
        raise WriteError(
            f"cannot write {output}: expected a name that ends with one of {', '.join(EXTENSIONS)}; "
            "for other mask formats use `promptseg convert --mask`"
        )
    if request.kind not in DICOM_KINDS:
        raise WriteError(
            f"expected --as {', '.join(DICOM_KINDS)}, got {request.kind!r}{did_you_mean(request.kind, DICOM_KINDS)}"
        )
    if extension == ".dcm" and request.kind == "sr":
        return [f"wrote {output}"], _export_sr(mask, output, request)
    labelmap = read_labelmap(mask)
    if extension != ".dcm":
        keys = [_key(label) for label in request.labels] or None
        return [f"wrote {path}" for path in write_mesh(labelmap, output, labels=keys)], ()
    findings = _export_dicom(labelmap, output, request)
    return [f"wrote {output}"], findings


def _export_dicom(labelmap: Labelmap, output: Path, request: ExportRequest) -> tuple[str, ...]:
    from promptseg.export import provenance_of, read_source, write_dicom_seg, write_rtstruct
    from promptseg.export.source import HOW_TO_GO_ON
    from promptseg.promptlog import read_log

    if request.image is None:
        raise WriteError(f"cannot write {output} without --image: {HOW_TO_GO_ON}")
    source = read_source(request.image, series=request.series, frame=request.frame)
    made = provenance_of(read_log(request.log)) if request.log is not None else None
    keep = request.keep_identity
    if request.kind == "rtstruct":
        write_rtstruct(labelmap, output, source, provenance=made, holes=request.holes, keep_identity=keep)
    else:
        kind = "binary" if request.kind == "seg" else "labelmap"
        write_dicom_seg(labelmap, output, source, provenance=made, kind=kind, keep_identity=keep)
    return source.findings


def _export_sr(seg: Path, output: Path, request: ExportRequest) -> tuple[str, ...]:
    from promptseg.export import read_source, write_dicom_sr
    from promptseg.export.read import is_dicom_mask
    from promptseg.export.source import HOW_TO_GO_ON
    from promptseg.io import read_volume

    if not is_dicom_mask(seg):
        raise WriteError(
            f"cannot write {output}: a structured report refers to the segments of a DICOM SEG, "
            f"and {seg.name} is none; "
            "write one with --as seg first, and give that as MASK"
        )
    if request.image is None:
        raise WriteError(f"cannot write {output} without --image: {HOW_TO_GO_ON}")
    source = read_source(request.image, series=request.series, frame=request.frame)
    volume = read_volume(request.image, series=request.series, frame=request.frame)
    write_dicom_sr(seg, output, source, volume=volume, keep_identity=request.keep_identity)
    return source.findings


def import_segmentation(
    source: Path, output: Path, image: Path | None, series: str | None, overlap: str, same_frame: bool
) -> tuple[list[str], tuple[str, ...]]:
    """Read a DICOM SEG or RTSTRUCT and write a mask file; return a line per label and file, and findings."""
    from promptseg.export import read_segmentation
    from promptseg.io import write_labelmap

    found = read_segmentation(source, _options(image, series, same_frame))
    labelmap = found.labelmap(overlap=overlap)
    lines = [f"{label.name}: {labelmap.volume_ml(label.value):.2f} ml" for label in labelmap.labels.values()]
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


@dataclass(frozen=True)
class MeasureRequest:
    """Options of ``promptseg measure``; see its help. Pairs are ``"A:B"`` of label names or values.

    Attributes:
        labels: which ones; () for all that have a voxel.
        fractions: lesion and organ. cups: cup and disc of a fundus photograph.
        end_systole: the same labels at end systole; the mask itself is at end diastole.
        earlier: the same labels at an earlier time.
    """

    labels: tuple[str, ...] = ()
    fractions: tuple[str, ...] = ()
    cups: tuple[str, ...] = ()
    end_systole: Masks | None = None
    earlier: Masks | None = None


def measure_masks(masks: Masks, volume: Volume | None, request: MeasureRequest | None = None) -> list[dict[str, Any]]:
    """Return one row per label and quantity: label, name, value, unit, definition, and the value as text.

    Masks of other times may lie on other grids: volumes and lengths are compared, not voxels.

    Raises:
        PromptError: no such label, an empty one asked for by name, or no label with a voxel.
        GeometryMismatchError: mask and image lie on two grids.
    """
    from promptseg.measure import cup_to_disc, lesion_fraction, measure_intensity, measure_shape

    if volume is not None:
        volume.geometry.require_same(masks.geometry, "the image and the mask")
    request = request or MeasureRequest()
    labels = request.labels
    chosen = [_value(masks, label) for label in labels] or list(masks.labels)
    rows: list[dict[str, Any]] = []
    for value in chosen:
        mask = masks.mask(value)
        if not labels and not mask.any():
            continue
        found = [*measure_shape(mask, masks.geometry).quantities()]
        if volume is not None:
            found += measure_intensity(mask, volume).quantities()
        found += _over_time(masks, value, request)
        rows += [_row(masks.labels[value].name, quantity) for quantity in found]
    for text in request.fractions:
        lesion, organ = _pair(masks, text, "--fraction LESION:ORGAN")
        rows.append(_row(text, lesion_fraction(lesion, organ)))
    for text in request.cups:
        cup, disc = _pair(masks, text, "--cup-to-disc CUP:DISC")
        rows += [_row(text, quantity) for quantity in cup_to_disc(cup, disc, masks.geometry)]
    if not rows:
        raise PromptError("the mask holds no label with a voxel: there is nothing to measure")
    return rows


def _over_time(masks: Masks, value: int, request: MeasureRequest) -> list[Quantity]:
    """Return what compares one label with itself at another time; a label that is not there then has no voxel."""
    from promptseg.measure import change, ejection_fraction, measure_shape

    name, found = masks.labels[value].name, []
    if request.end_systole is not None:
        systole = request.end_systole
        found.append(ejection_fraction(_ml(masks, value), _ml(systole, _value(systole, name))))
    if request.earlier is not None:
        before = request.earlier
        other = _value(before, name)
        for quantity in change(_ml(before, other), _ml(masks, value), "ml"):
            found.append(replace(quantity, name=f"volume_{quantity.name}"))
        first, last = (measure_shape(m.mask(v), m.geometry).axial.long for m, v in ((before, other), (masks, value)))
        for quantity in change(first.length_mm, last.length_mm, "mm"):
            found.append(replace(quantity, name=f"axial_long_{quantity.name}"))
    return found


def _ml(masks: Masks, value: int) -> float:
    return int(masks.mask(value).sum()) * masks.geometry.voxel_volume_mm3 / 1000.0


def _pair(masks: Masks, text: str, form: str) -> tuple[Any, Any]:
    first, separator, second = text.partition(":")
    if not separator:
        raise PromptError(f"expected {form}, got {text!r}")
    return masks.mask(_value(masks, first)), masks.mask(_value(masks, second))


def _row(label: str, quantity: Quantity) -> dict[str, Any]:
    return {"label": label, **quantity.to_dict(), "text": quantity.text()}


def _key(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _value(masks: Masks, text: str) -> int:
    """Return the value of the label with this name or number.

    Raises:
        PromptError: there is none.
    """
    for value, label in masks.labels.items():
        if text == label.name:
            return value
    if text.isdigit() and int(text) in masks.labels:
        return int(text)
    names = [label.name for label in masks.labels.values()]
    raise PromptError(f"no label {text!r}; known: {', '.join(names) or 'none'}{did_you_mean(text, names)}")
