"""Edits by hand on one label's mask: pure functions of the mask, its geometry and, for thresholds, the image.

Every edit is a frozen value with a JSON form, so it stands in the prompt log beside prompts and can be undone and
replayed. Lengths are in mm and volumes in mm³: anisotropic voxels are treated as they lie in the patient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from promptseg.engine.distances import distance_mm, signed_distance_mm
from promptseg.errors import PromptError, did_you_mean
from promptseg.prompts import LARGEST_INDEX, Plane, parse_plane
from promptseg.volume import Volume
from promptseg.volume.label_voxels import Changed, as_slices, bounds

__all__ = [
    "Edit",
    "FillHoles",
    "Grow",
    "Interpolate",
    "Island",
    "KeepSlices",
    "Paint",
    "RemoveIslands",
    "Smooth",
    "Threshold",
    "applied",
    "edit_from_dict",
    "edit_to_dict",
]

Mask = NDArray[np.bool_]
LEAST_SMOOTHED = 4  # voxels along every axis: ITK's recursive Gaussian needs as many
FAR_SIGMAS = 8.0  # a Gaussian beyond them: 1e-15 of its mass
MOST_BRUSHED = 2e9  # voxels under all positions of a brush together: some ten seconds of work


@dataclass(frozen=True)
class Edit:
    """Base of all edits; ``apply`` returns the new mask (z, y, x) and never changes its argument."""

    kind: ClassVar[str] = ""

    def apply(self, mask: Mask, volume: Volume) -> Mask:
        """Return the edited mask."""
        raise NotImplementedError

    def works_on(self, mask: Mask, volume: Volume) -> tuple[slice, slice, slice]:
        """Return the part of the grid that takes time and memory: the mask's box, as far as the edit reaches."""
        box = bounds(mask)
        nothing = slice(0, 0)
        return (nothing, nothing, nothing) if box is None else _around(box, volume, self._reach_mm(volume))

    def _reach_mm(self, volume: Volume) -> float:
        return 0.0


@dataclass(frozen=True)
class Paint(Edit):
    """Paint or erase along a stroke.

    Attributes:
        centres: (z, y, x) voxels that the brush visits.
        radius_mm: the brush's radius; a voxel is painted when its centre lies within it, the visited one always.
        erase: take voxels away instead.
        plane: a flat brush in this plane; None: a ball.
        low, high: paint only voxels with an intensity (HU for CT) in this range.
        within: paint only inside this label (its value); the session knows where it lies.
    """

    kind: ClassVar[str] = "paint"
    centres: tuple[tuple[float, float, float], ...]
    radius_mm: float = 0.0
    erase: bool = False
    plane: Plane | None = None
    low: float = -math.inf
    high: float = math.inf
    within: int | None = None

    def __post_init__(self) -> None:
        centres = np.asarray(self.centres, dtype=np.float64)
        if centres.ndim != 2 or centres.shape[1] != 3 or not len(centres) or not np.isfinite(centres).all():
            raise PromptError(f"expected a stroke as (n >= 1, 3) voxels (z, y, x), got shape {centres.shape}")
        _require(self.radius_mm >= 0 and math.isfinite(self.radius_mm), "radius_mm >= 0", self.radius_mm)
        _require(self.low <= self.high, "low <= high", (self.low, self.high))
        object.__setattr__(self, "centres", tuple((z, y, x) for z, y, x in centres.tolist()))
        if self.plane is not None:
            object.__setattr__(self, "plane", parse_plane(self.plane))

    def apply(self, mask: Mask, volume: Volume) -> Mask:
        """Return the mask with the stroke painted or erased; parts outside the image are left out."""
        spacing = np.array(volume.geometry.spacing_zyx)
        reach = np.floor(np.minimum(self.radius_mm / spacing, LARGEST_INDEX)).astype(np.int64)
        if self.plane is not None:
            reach[self.plane.axis] = 0
        visited = np.unique(np.rint(np.clip(self.centres, -LARGEST_INDEX, LARGEST_INDEX)).astype(np.int64), axis=0)
        low, high = np.maximum(visited - reach, 0), np.minimum(visited + reach + 1, mask.shape)
        touched = np.flatnonzero((low < high).all(axis=1))
        if not len(touched):
            raise PromptError(f"the stroke lies outside the image of shape (z, y, x) {mask.shape}")
        if float((high - low)[touched].prod(axis=1, dtype=np.float64).sum()) > MOST_BRUSHED:
            raise PromptError(
                f"expected a shorter stroke or a brush smaller than {self.radius_mm:g} mm: it is too much"
            )
        edited = mask.copy()
        for centre, start, end in zip(visited[touched], low[touched], high[touched], strict=True):
            z, y, x = (
                ((np.arange(a, b) - c) * mm) ** 2 for c, a, b, mm in zip(centre, start, end, spacing, strict=True)
            )
            inside = z[:, None, None] + y[:, None] + x <= (self.radius_mm + 1e-9) ** 2
            edited[tuple(slice(a, b) for a, b in zip(start, end, strict=True))][inside] = not self.erase
        if math.isinf(self.low) and math.isinf(self.high):
            return edited
        return np.where(_in_range(volume, self.low, self.high), edited, mask)


@dataclass(frozen=True)
class FillHoles(Edit):
    """Fill background that the mask encloses in 3D, or slice by slice in ``plane``."""

    kind: ClassVar[str] = "fill holes"
    plane: Plane | None = None

    def __post_init__(self) -> None:
        if self.plane is not None:
            object.__setattr__(self, "plane", parse_plane(self.plane))

    def apply(self, mask: Mask, volume: Volume) -> Mask:
        """Return the filled mask."""
        edited = mask.copy()
        if self.plane is None:
            if (box := bounds(mask)) is not None:  # a hole lies inside the mask's box
                edited[as_slices(box)] |= ~_touching_border(~mask[as_slices(box)])
            return edited
        for index in np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != self.plane.axis))):
            cut = (slice(None),) * self.plane.axis + (slice(index, index + 1),)
            edited[cut] |= ~_touching_border(~mask[cut], skip=self.plane.axis)
        return edited


@dataclass(frozen=True)
class RemoveIslands(Edit):
    """Remove 26-connected parts smaller than ``below_mm3``; with None keep only the largest part."""

    kind: ClassVar[str] = "remove islands"
    below_mm3: float | None = None

    def __post_init__(self) -> None:
        if self.below_mm3 is not None:
            _require(self.below_mm3 > 0, "below_mm3 > 0", self.below_mm3)

    def apply(self, mask: Mask, volume: Volume) -> Mask:
        """Return the mask without its small parts."""
        import cc3d

        if (box := bounds(mask)) is None:
            return mask.copy()
        edited, where = np.zeros_like(mask), as_slices(box)
        parts = cc3d.connected_components(np.ascontiguousarray(mask[where]), connectivity=26)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        if self.below_mm3 is None:
            kept = sizes == sizes.max()
        else:
            kept = sizes * volume.geometry.voxel_volume_mm3 >= self.below_mm3
        kept[0] = False
        edited[where] = kept[parts]
        return edited


@dataclass(frozen=True)
class Grow(Edit):
    """Move the border outward by ``by_mm`` (inward when negative), measured between voxel centres."""

    kind: ClassVar[str] = "grow"
    by_mm: float

    def __post_init__(self) -> None:
        _require(self.by_mm != 0 and math.isfinite(self.by_mm), "by_mm != 0", self.by_mm)

    def apply(self, mask: Mask, volume: Volume) -> Mask:
        """Return the grown or shrunk mask; the image's border does not erode it."""
        if not mask.any() or mask.all():
            return mask.copy()
        edited, spacing = mask.copy(), volume.geometry.spacing_zyx
        where = self.works_on(mask, volume)  # nothing changes farther away
        if self.by_mm > 0:
            edited[where] = distance_mm(~mask[where], spacing) <= self.by_mm
        else:
            edited[where] = distance_mm(mask[where], spacing) > -self.by_mm
        return edited

    def _reach_mm(self, volume: Volume) -> float:
        return abs(self.by_mm)


@dataclass(frozen=True)
class Smooth(Edit):
    """Gaussian smoothing of the mask with standard deviation ``sigma_mm``, cut at one half (keeps flat borders)."""

    kind: ClassVar[str] = "smooth"
    sigma_mm: float

    def __post_init__(self) -> None:
        _require(self.sigma_mm > 0 and math.isfinite(self.sigma_mm), "sigma_mm > 0", self.sigma_mm)

    def apply(self, mask: Mask, volume: Volume) -> Mask:
        """Return the smoothed mask."""
        import SimpleITK as sitk

        if not mask.any() or min(mask.shape) < LEAST_SMOOTHED:
            return mask.copy()
        where = self.works_on(mask, volume)
        image = sitk.GetImageFromArray(mask[where].astype(np.float32))
        image.SetSpacing(volume.geometry.spacing)
        smoothed, edited = sitk.SmoothingRecursiveGaussian(image, self.sigma_mm), np.zeros_like(mask)
        edited[where] = sitk.GetArrayViewFromImage(smoothed) >= 0.5  # the view lives as long as the image
        return edited

    def _reach_mm(self, volume: Volume) -> float:
        """Farther away than some sigmas nothing comes near one half."""
        return max(FAR_SIGMAS * self.sigma_mm, LEAST_SMOOTHED * max(volume.geometry.spacing))


@dataclass(frozen=True)
class Threshold(Edit):
    """Keep only voxels whose intensity (HU for CT) lies in [low, high]."""

    kind: ClassVar[str] = "threshold"
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        _require(self.low <= self.high, "low <= high", (self.low, self.high))

    def apply(self, mask: Mask, volume: Volume) -> Mask:
        """Return the mask without voxels outside the range."""
        return mask & _in_range(volume, self.low, self.high)


@dataclass(frozen=True)
class Island(Edit):
    """Take one 26-connected part away, or keep it alone: the one that a voxel (z, y, x) lies in."""

    kind: ClassVar[str] = "island"
    at: tuple[float, float, float]
    keep: bool = False

    def __post_init__(self) -> None:
        at = np.asarray(self.at, dtype=np.float64)
        _require(at.shape == (3,) and bool(np.isfinite(at).all()), "a voxel (z, y, x)", self.at)
        object.__setattr__(self, "at", tuple(at.tolist()))

    def apply(self, mask: Mask, volume: Volume) -> Mask:
        """Return the mask without that part, or with it alone; as it was where the voxel lies in none."""
        import cc3d

        at = tuple(int(v) for v in np.rint(np.clip(self.at, -1, LARGEST_INDEX)))
        inside = all(0 <= v < n for v, n in zip(at, mask.shape, strict=True))
        if not inside or not mask[at]:
            return mask.copy()
        parts = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=26)
        part = parts == parts[at]
        return np.asarray(part if self.keep else mask & ~part)


@dataclass(frozen=True)
class KeepSlices(Edit):
    """Keep the slices from ``first`` to ``last`` (both kept) of a plane and clear all others."""

    kind: ClassVar[str] = "keep slices"
    first: int
    last: int
    plane: Plane = Plane.AXIAL

    def __post_init__(self) -> None:
        object.__setattr__(self, "plane", parse_plane(self.plane))
        _require(0 <= self.first <= self.last, "0 <= first <= last", (self.first, self.last))

    def apply(self, mask: Mask, volume: Volume) -> Mask:
        """Return the mask on those slices alone."""
        edited = np.zeros_like(mask)
        where = (slice(None),) * self.plane.axis + (slice(self.first, self.last + 1),)
        edited[where] = mask[where]
        return edited


@dataclass(frozen=True)
class Interpolate(Edit):
    """Fill empty slices between slices that have a mask, by signed-distance shape interpolation (Herman 1992)."""

    kind: ClassVar[str] = "interpolate"
    plane: Plane = Plane.AXIAL

    def __post_init__(self) -> None:
        object.__setattr__(self, "plane", parse_plane(self.plane))

    def apply(self, mask: Mask, volume: Volume) -> Mask:
        """Return the mask with its gaps filled; slices that have a mask stay as they are."""
        whole = mask.copy()
        # No slice between two reaches beyond both, and the margin of a voxel holds the background that is nearest.
        edited = np.moveaxis(whole[self.works_on(mask, volume)], self.plane.axis, 0)
        spacing = volume.cut_spacing_mm(self.plane)
        present = np.flatnonzero(edited.any(axis=(1, 2)))
        for low, high in pairwise(present):
            if high - low < 2:
                continue
            below, above = (signed_distance_mm(edited[i], spacing) for i in (low, high))
            for index in range(low + 1, high):
                share = (index - low) / (high - low)
                edited[index] = (1 - share) * below + share * above > 0
        return whole


def applied(edit: Edit, mask: Mask, volume: Volume) -> Mask:
    """Return the edited mask: ``edit.apply`` as a function."""
    return edit.apply(mask, volume)


_KINDS: dict[str, type[Edit]] = {
    cls.kind: cls for cls in (Paint, FillHoles, RemoveIslands, Grow, Smooth, Threshold, Interpolate, Island, KeepSlices)
}


def edit_to_dict(edit: Edit) -> dict[str, Any]:
    """Return the edit as plain JSON types; infinite bounds are left out."""
    values = {k: v for k, v in asdict(edit).items() if v is not None and not (isinstance(v, float) and math.isinf(v))}
    return {"kind": edit.kind, **values}


def edit_from_dict(data: Mapping[str, Any]) -> Edit:
    """Return the edit that ``edit_to_dict`` wrote.

    Raises:
        PromptError: unknown kind or field, or an impossible value.
    """
    kind = data.get("kind")
    if kind not in _KINDS:
        raise PromptError(f"expected an edit ({', '.join(_KINDS)}), got {kind!r}{did_you_mean(str(kind), _KINDS)}")
    known = {item.name for item in fields(_KINDS[kind])}
    values = {key: value for key, value in data.items() if key != "kind"}
    if not set(values) <= known:
        raise PromptError(f"expected the fields {', '.join(sorted(known))} in a {kind!r} edit, got {sorted(values)}")
    try:
        return _KINDS[kind](**values)
    except (TypeError, ValueError) as exc:
        raise PromptError(f"a {kind!r} edit has a missing field or a value of the wrong kind: {exc}") from exc


def _around(box: Changed, volume: Volume, reach_mm: float) -> tuple[slice, slice, slice]:
    """Return the part of the grid within ``reach_mm`` of a half-open box, and a voxel more on every side."""
    reach = [int(min(reach_mm / mm, LARGEST_INDEX)) + 1 for mm in volume.geometry.spacing_zyx]
    z, y, x = (
        slice(max(low - far, 0), min(high + far, count))
        for low, high, far, count in zip(*box, reach, volume.shape, strict=True)
    )
    return z, y, x


def _in_range(volume: Volume, low: float, high: float) -> Mask:
    if volume.is_rgb:
        raise PromptError("expected a grey image for a range of intensities, got a colour image")
    return np.asarray((volume.array >= low) & (volume.array <= high))


def _require(condition: bool, expected: str, got: object) -> None:
    if not condition:
        raise PromptError(f"expected {expected}, got {got!r}")


def _touching_border(background: Mask, skip: int | None = None) -> Mask:
    """The 6-connected background that reaches the image's border (faces of axis ``skip`` do not count)."""
    import cc3d

    parts = cc3d.connected_components(np.ascontiguousarray(background), connectivity=6)
    faces = [np.take(parts, end, axis=axis) for axis in range(3) if axis != skip for end in (0, -1)]
    outside = np.unique(np.concatenate([face.ravel() for face in faces]))
    return np.isin(parts, outside[outside > 0])
