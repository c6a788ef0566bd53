"""How a second grid lies against an image's: the same, turned, mirrored, shifted, or nothing to do with it."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from promptseg.check.finding import Finding, Severity
from promptseg.volume.geometry import Geometry

__all__ = ["compare_grids"]

ON_LATTICE = 0.02  # of a voxel: rounding of headers stays below
HALF = 0.05  # of a voxel: how near a shift must be to 0.5 to be called half a voxel
WORLD_FLIPS = {
    (-1.0, -1.0, 1.0): ("lps-ras-flip", "x and y of its frame are negated: LPS taken for RAS, or RAS for LPS"),
    (-1.0, 1.0, 1.0): ("mirrored", "x of its frame is negated: left and right are swapped"),
    (1.0, -1.0, 1.0): ("mirrored", "y of its frame is negated: front and back are swapped"),
    (1.0, 1.0, -1.0): ("mirrored", "z of its frame is negated: head and feet are swapped"),
}


def compare_grids(image: Geometry, other: Geometry) -> list[Finding]:
    """Say how a second grid (a mask's) lies against an image's.

    Returns:
        One finding. Codes: ``same-grid`` (info); ``axis-order``, ``other-resolution``, ``part-of-grid`` (warning: the
        same space, resample knowingly); ``half-voxel``, ``shifted``, ``lps-ras-flip``, ``mirrored``,
        ``transposed``, ``rotated``, ``apart`` (error: nothing may be combined).
    """
    if image.same_as(other):
        return [Finding("both lie on the same grid", "same-grid")]
    if _same_lattice(image, other):
        return [_finding("axis-order", f"same space, other axis order: its {_turned(image, other)}", Severity.WARNING)]
    for signs, (code, sentence) in WORLD_FLIPS.items():
        if _same_lattice(image, _flipped(other, signs)):
            return [_finding(code, f"it would fit if {sentence}")]
    if _same_lattice(image, _transposed(other)):
        return [_finding("transposed", "it would fit if its array were transposed: its sizes run in reverse order")]
    return [_shift(image, other) or _overlap(image, other)]


def _finding(code: str, sentence: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding(sentence, code, severity, "told" if severity is not Severity.ERROR else "refused")


def _voxel_map(image: Geometry, other: Geometry) -> NDArray[np.float64]:
    """Return the 4x4 matrix from voxel (x, y, z) of ``other`` to voxel (x, y, z) of ``image``."""
    return np.asarray(np.linalg.inv(image.affine) @ other.affine)


def _is_signed_permutation(linear: NDArray[np.float64]) -> bool:
    rounded = np.rint(linear)
    close = bool(np.abs(linear - rounded).max() < 1e-3)
    return close and bool((np.abs(rounded).sum(axis=0) == 1).all() and (np.abs(rounded).sum(axis=1) == 1).all())


def _same_lattice(image: Geometry, other: Geometry) -> bool:
    """Return True where every voxel centre of one is a voxel centre of the other, axes in whatever order."""
    matrix = _voxel_map(image, other)
    if not _is_signed_permutation(matrix[:3, :3]):
        return False
    size = np.abs(np.rint(matrix[:3, :3])) @ np.asarray(other.shape[::-1])
    if tuple(size.astype(int)) != image.shape[::-1]:
        return False
    corners = image.world_to_voxel(other.corners())
    low, high = corners.min(axis=0), corners.max(axis=0)
    worst = max(float(np.abs(low).max()), float(np.abs(high - np.asarray(image.shape) + 1).max()))
    return worst < ON_LATTICE


def _turned(image: Geometry, other: Geometry) -> str:
    """Say which axes are swapped or run the other way."""
    linear = np.rint(_voxel_map(image, other)[:3, :3])
    parts = []
    for column, name in enumerate("xyz"):
        row = int(np.abs(linear[:, column]).argmax())
        if linear[row, column] < 0 or row != column:
            parts.append(f"{name} axis is the image's {'-' if linear[row, column] < 0 else ''}{'xyz'[row]}")
    return ", ".join(parts)


def _flipped(geometry: Geometry, signs: tuple[float, ...]) -> Geometry:
    world = np.asarray(signs)
    direction = world[:, None] * np.reshape(geometry.direction, (3, 3))
    x, y, z = (world * np.asarray(geometry.origin)).tolist()
    return Geometry(geometry.shape, geometry.spacing, (x, y, z), tuple(direction.ravel().tolist()))


def _transposed(geometry: Geometry) -> Geometry:
    z, y, x = geometry.shape
    return Geometry((x, y, z), geometry.spacing, geometry.origin, geometry.direction)


def _shift(image: Geometry, other: Geometry) -> Finding | None:
    """Return a finding where shapes and axes agree and only the place differs."""
    matrix = _voxel_map(image, other)
    if image.shape != other.shape or np.abs(matrix[:3, :3] - np.eye(3)).max() > 1e-3:
        return None
    voxels, mm = matrix[:3, 3], np.asarray(other.origin) - np.asarray(image.origin)
    text = f"({', '.join(f'{v:.2f}' for v in np.round(voxels, 2) + 0.0)}) voxels (x, y, z), {np.linalg.norm(mm):.2f} mm"
    fractions = np.abs(voxels)
    halves = (np.abs(fractions - 0.5) < HALF) | (fractions < ON_LATTICE)
    if bool(halves.all()):
        sentence = f"it is shifted by half a voxel, {text}: corners of voxels taken for their centres"
        return _finding("half-voxel", sentence)
    return _finding("shifted", f"same size and axes, but shifted by {text}")


def _overlap(image: Geometry, other: Geometry) -> Finding:
    share = _share_inside(image, other)
    if share == 0:
        return _finding("apart", "the two grids do not overlap: another patient position, or another frame")
    matrix = _voxel_map(image, other)
    linear = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    inside = f"{100 * share:.0f} % of it lies inside the image"
    if not _is_signed_permutation(linear):
        return _finding("rotated", f"its axes are turned against the image's; {inside}")
    if _is_signed_permutation(matrix[:3, :3]):
        offset = matrix[:3, 3]
        if float(np.abs(offset - np.rint(offset)).max()) < ON_LATTICE:
            return _finding("part-of-grid", f"voxels coincide, but its extent is another; {inside}", Severity.WARNING)
    spacing = " x ".join(f"{v:g}" for v in other.spacing)
    return _finding("other-resolution", f"same axes, another grid: {spacing} mm voxels; {inside}", Severity.WARNING)


def _share_inside(image: Geometry, other: Geometry) -> float:
    """Return the share of a coarse lattice (9 points an axis) of ``other`` that lies inside ``image``."""
    ticks = [np.linspace(0, n - 1, 9) for n in other.shape]
    points = np.asarray(list(product(*ticks)))
    voxels = image.world_to_voxel(other.voxel_to_world(points))
    inside = (voxels >= -0.5) & (voxels <= np.asarray(image.shape) - 0.5)
    return float(inside.all(axis=1).mean())
