"""One door for masks that are DICOM objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptseg.errors import PromptError, ReadError
from promptseg.export.dicom_seg_read import SEG_CLASSES, read_dicom_seg
from promptseg.export.rtstruct_read import RTSTRUCT_CLASS, read_rtstruct
from promptseg.export.segments import SegmentSet
from promptseg.io.quiet import quiet_pydicom
from promptseg.prompts import MaskPrompt
from promptseg.volume import Labelmap, Volume
from promptseg.volume.geometry import Geometry
from promptseg.volume.onto_grid import labels_onto

__all__ = ["ImportOptions", "is_dicom_mask", "mask_prompt", "read_masks_onto", "read_segmentation"]


@dataclass(frozen=True)
class ImportOptions:
    """On which grid a DICOM mask is read.

    Attributes:
        geometry: the image's grid; None: the SEG's own (an RTSTRUCT has none).
        frame_of_reference: the image's UID; "" compares nothing.
    """

    geometry: Geometry | None = None
    frame_of_reference: str = ""


def is_dicom_mask(path: str | Path) -> bool:
    """Return True for a DICOM SEG or RTSTRUCT file."""
    return _sop_class(Path(path)) in (*SEG_CLASSES, RTSTRUCT_CLASS)


def read_segmentation(path: str | Path, options: ImportOptions | None = None) -> SegmentSet:
    """Read a DICOM SEG or RTSTRUCT; see ``read_dicom_seg`` and ``read_rtstruct``.

    Raises:
        ReadError: another object, or an RTSTRUCT without the image's grid.
        GeometryMismatchError: it does not lie on that grid.
    """
    path = Path(path).expanduser()
    options = options or ImportOptions()
    kind = _sop_class(path)
    if kind in SEG_CLASSES:
        return read_dicom_seg(path, options.geometry, frame_of_reference=options.frame_of_reference)
    if kind != RTSTRUCT_CLASS:
        raise ReadError(f"cannot read {path} as a mask: expected a DICOM SEG or RTSTRUCT file")
    if options.geometry is None:
        raise ReadError(f"cannot read {path}: an RTSTRUCT has contours but no grid; give the image it was drawn on too")
    return read_rtstruct(path, options.geometry, frame_of_reference=options.frame_of_reference)


def _sop_class(path: Path) -> str:
    """Return the SOP Class UID, "" for a file that is no DICOM file."""
    from promptseg.io.sniff import is_dicom

    if not path.is_file() or not is_dicom(path):
        return ""
    import pydicom

    with quiet_pydicom():
        try:
            tags: list[Any] = ["SOPClassUID"]
            return str(pydicom.dcmread(path, specific_tags=tags, stop_before_pixels=True, force=True).SOPClassUID)
        except Exception:  # noqa: BLE001 - whatever pydicom raises on a damaged file: it is none of these objects
            return ""


def read_masks_onto(path: str | Path, volume: Volume) -> tuple[Labelmap, list[str]]:
    """Read all objects of a mask file on an image's grid; return them, and what was done to them, for a person.

    Args:
        path: as ``mask_prompt``. Where objects overlap, the later one lies on top.
        volume: the image; a mask on another grid of the same space is resampled, each voxel the nearest one's label.

    Raises:
        ReadError, GeometryMismatchError: it cannot be read, or lies elsewhere.
    """
    from promptseg.io import read_labelmap

    if is_dicom_mask(path):
        found = read_segmentation(path, ImportOptions(volume.geometry))
        return found.labelmap(overlap="last"), ["objects of the file overlap"] if found.overlapping() else []
    return labels_onto(read_labelmap(path), volume.geometry, resample=True)


def mask_prompt(
    path: str | Path,
    volume: Volume,
    label: int | str | None = None,
    *,
    resample: bool = False,
    notes: list[str] | None = None,
) -> MaskPrompt:
    """Read a mask file as the starting point for refinement.

    Args:
        path: NIfTI, NRRD, ``.seg.nrrd``, MHA, TIFF, or a DICOM SEG or RTSTRUCT, which is read on the image's grid.
        volume: the image; the mask must lie on its grid, or its voxels on the grid's, see ``labels_onto``.
        label: value or name; None where the file holds one label.
        resample: see ``labels_onto``.
        notes: what was done to the mask is added to it.

    Raises:
        ReadError: the file cannot be read.
        GeometryMismatchError: the mask lies on another grid.
        PromptError: no such label, or several and none was named.
    """
    from promptseg.io import read_labelmap

    if is_dicom_mask(path):
        found = read_segmentation(path, ImportOptions(volume.geometry))
        if label is None and len(found.segments) != 1:
            raise _several(path, [segment.label.name for segment in found.segments])
        return MaskPrompt(found.mask(found.segments[0].label.value if label is None else label))
    labelmap, told = labels_onto(read_labelmap(path), volume.geometry, resample=resample)
    if notes is not None:
        notes += told
    if label is None and len(labelmap.labels) != 1:
        raise _several(path, [one.name for one in labelmap.labels.values()])
    return MaskPrompt(labelmap.mask(label))


def _several(path: str | Path, names: list[str]) -> PromptError:
    if not names:
        return PromptError(f"{path} holds no object: there is nothing to start from")
    return PromptError(
        f"{path} holds {len(names)} objects; name one with --mask-label (label= in Python): {', '.join(names)}"
    )
