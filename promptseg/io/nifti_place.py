"""Where a NIfTI image lies: its header may hold two frames and a third opinion of the voxel size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptseg.check.finding import Finding, Severity
from promptseg.errors import GeometryError, ReadError
from promptseg.io.nifti import NiftiHeader
from promptseg.volume.geometry import Geometry, SecondFrame

__all__ = ["MAX_SHEAR_DEGREES", "place_of", "shear_degrees"]

CONFLICT_VOXELS = 0.1  # qform and sform further apart than this (at a corner) are two different places
MAX_SHEAR_DEGREES = 0.06  # float32 cosines and quaternions stay far below
SAME_LENGTH = 1e-2  # pixdim and sform further apart than this share are two different voxel sizes
SCANNER = 1  # nifti1.h NIFTI_XFORM_SCANNER_ANAT


@np.errstate(all="ignore")  # damaged headers hold numbers that overflow
def place_of(header: NiftiHeader, path: Path) -> tuple[Geometry, list[Finding]]:
    """Return the grid and what a person should know of it.

    Of two frames the sform counts where its code is 1 (scanner) or the qform has none, as in ITK; a frame that is no
    rectangular grid never does. The other one stays with the geometry (``second``).

    Raises:
        ReadError: no frame is a rectangular grid.
    """
    findings = _negative(header)
    forms = {name: form for name, form in (("sform", header.sform), ("qform", header.qform)) if form is not None}
    if not forms:
        return _unplaced(header, findings)
    wrong = {name: why for name, form in forms.items() if (why := _why_not(form))}
    findings += [Finding(f"its {name} {why} and was not used", "sheared-form", Severity.WARNING, "not used")
                 for name, why in wrong.items()]  # fmt: skip
    usable = [name for name in forms if name not in wrong]
    if not usable:
        what = " and ".join(f"its {name} {why}" for name, why in wrong.items())
        raise ReadError(
            f"cannot read {path}: {what}, so it is no rectangular grid; `promptseg check {path.name} --fix OUT` "
            "resamples it onto one where two of its axes are perpendicular"
        )
    preferred = "sform" if header.codes[1] == SCANNER or header.qform is None else "qform"
    used = preferred if preferred in usable else usable[0]
    geometry = _grid(forms[used], header, path)
    if used == "sform":
        findings += _other_lengths(header, geometry)
    other = next((name for name in usable if name != used), None)
    if other is None:
        return geometry, findings
    distance = _corner_distance(forms[other], geometry)
    if distance > CONFLICT_VOXELS * min(geometry.spacing):
        sentence = (
            f"qform and sform disagree by up to {distance:.1f} mm at the corners; the {used} was used: "
            "check the place of the result in another viewer"
        )
        findings.append(Finding(sentence, "qform-sform-conflict", Severity.WARNING, f"{used} used"))
        second = SecondFrame(other, header.codes, tuple(forms[other].ravel().tolist()))
        geometry = Geometry(geometry.shape, geometry.spacing, geometry.origin, geometry.direction, second)
    return geometry, findings


def shear_degrees(matrix: NDArray[np.float64]) -> float:
    """Return by how much the axes of a 4x4 matrix depart from right angles; 90 where one has no length."""
    axes = matrix[:3, :3]
    norms = np.linalg.norm(axes, axis=0)
    if norms.min() == 0 or not np.all(np.isfinite(axes)):
        return 90.0
    unit = axes / norms
    cosine = float(np.abs((unit.T @ unit)[np.triu_indices(3, 1)]).max())
    return float(np.degrees(np.arcsin(min(1.0, cosine))))


def _shape(header: NiftiHeader) -> tuple[int, int, int]:
    x, y, z = (*header.shape, 1, 1)[:3]
    return (z, y, x)


def _negative(header: NiftiHeader) -> list[Finding]:
    if min(header.pixdim) >= 0 or (header.sform is not None and header.codes[1] == SCANNER):
        return []
    sizes = " x ".join(f"{value:g}" for value in header.pixdim)
    sentence = f"the header gives voxel sizes of {sizes} mm, which cannot be negative: the sign was dropped"
    return [Finding(sentence, "negative-pixdim", Severity.WARNING, "converted")]


def _unplaced(header: NiftiHeader, findings: list[Finding]) -> tuple[Geometry, list[Finding]]:
    """Return the grid of a header without a frame: axes as they lie, the first voxel at 0."""
    if header.analyze:
        sentence = "Analyze 7.5 stores no orientation: left and right cannot be told, axes were taken as they lie"
    else:
        sentence = "the NIfTI file stores no orientation (qform and sform codes are 0): left and right cannot be told"
    findings.append(Finding(sentence, "no-orientation", Severity.WARNING, "assumed"))
    lengths = [abs(value) for value in header.pixdim[: len(header.shape)]]
    if not all(np.isfinite(value) and value > 0 for value in lengths):
        sentence = "the header states no pixel size (pixdim): 1 mm was assumed, so lengths are in pixels"
        findings.append(Finding(sentence, "no-geometry", Severity.WARNING, "assumed"))
        return Geometry(_shape(header)), findings
    x, y, z = (*lengths, 1.0, 1.0)[:3]
    return Geometry(_shape(header), (x, y, z)), findings


def _why_not(form: NDArray[np.float64]) -> str:
    """Say why a frame is no rectangular grid, "" where it is one."""
    if float(np.linalg.norm(form[:3, :3], axis=0).min()) == 0:
        return "gives an axis no length"
    shear = shear_degrees(form)
    return f"is sheared by {shear:.1f} degrees" if shear > MAX_SHEAR_DEGREES else ""


def _grid(form: NDArray[np.float64], header: NiftiHeader, path: Path) -> Geometry:
    spacing = np.linalg.norm(form[:3, :3], axis=0)
    x, y, z = spacing.tolist()
    a, b, c = form[:3, 3].tolist()
    try:
        return Geometry(_shape(header), (x, y, z), (a, b, c), tuple((form[:3, :3] / spacing).ravel().tolist()))
    except GeometryError as exc:
        raise ReadError(f"cannot read {path}: {exc}") from exc


def _other_lengths(header: NiftiHeader, geometry: Geometry) -> list[Finding]:
    """Say where pixdim gives another voxel size than the sform that was used."""
    pairs = list(zip(header.pixdim, geometry.spacing, strict=True))[: len(header.shape)]
    if all(abs(stated - used) <= SAME_LENGTH * used for stated, used in pairs):
        return []
    stated, used = (" x ".join(f"{value:g}" for value in values) for values in (header.pixdim, geometry.spacing))
    sentence = f"the header gives voxel sizes of {stated} mm (pixdim), its sform {used} mm: the sform was used"
    return [Finding(sentence, "pixdim-conflict", Severity.WARNING, "sform used")]


def _corner_distance(matrix: NDArray[np.float64], geometry: Geometry) -> float:
    """Return the largest distance in mm between the grid's corners placed by ``matrix`` and by ``geometry``."""
    last = np.array(geometry.shape[::-1]) - 1
    index = np.array([[x, y, z] for x in (0, last[0]) for y in (0, last[1]) for z in (0, last[2])], dtype=np.float64)
    placed = index @ matrix[:3, :3].T + matrix[:3, 3]
    truth = index @ geometry.affine[:3, :3].T + geometry.affine[:3, 3]
    distance = float(np.linalg.norm(placed - truth, axis=1).max())
    return distance if np.isfinite(distance) else float("inf")
