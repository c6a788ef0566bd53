"""The engine's numbers, in one frozen object that is recorded with every result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from promptseg.errors import SettingsError, did_you_mean

__all__ = ["FUSE_RULES", "MODES", "OVERLAP_RULES", "EngineOptions"]

OVERLAP_RULES = ("overwrite", "keep", "allow")
FUSE_RULES = ("off", "auto")
MODES = ("auto", "volume", "slices")
CHOICES = {"overlap": OVERLAP_RULES, "fuse": FUSE_RULES, "mode": MODES}


@dataclass(frozen=True)
class EngineOptions:
    """How prompts become masks, and the limits of the slice-to-slice walk. Lengths are in mm.

    Attributes:
        range_mm: how far from its anchor a mask may be carried.
        growth_base_mm: how far a border may move outward per slice, plus ...
        growth_per_mm: ... this much per mm of distance between the slices (1.5 is a surface 56° off the normal).
        max_area_ratio: a larger jump of the area from one slice to the next is a leak.
        min_overlap: smallest IoU with the neighbour's mask, after moving both centroids onto each other, as a share of
            the largest that two masks of these areas can have: what thins out is no other shape.
        min_score: smallest predicted quality.
        max_intensity_shift: largest change of the mean windowed intensity against the anchor's, in units of the
            anchor's own standard deviation (at least 0.05 of the window).
        min_similarity: smallest Bhattacharyya coefficient between the intensity distributions here and on the anchor.
            Both limits together fire on 0.6 % of 1,613 slices of true masks of 64 objects in CT and MR, and on 63 % of
            masks laid on the first slice beyond the object's end (benchmarks/ends_by_intensity.py); chosen on those.
        max_empty: so many empty slices in a row end the walk.
        correction_margin_mm: a correction may change what lies this near to the change on the neighbouring slice.
        overlap: what happens where a label's new voxels belong to another label: ``"keep"`` leaves them,
            ``"overwrite"`` takes them (``Session.set_overlap`` changes between these two), ``"allow"`` lets both have
            them. Locked labels keep theirs in every case; a brush takes from all others.
        fuse: ``"off"``: an object is walked in the planes of its prompts. ``"auto"``: its first walk is made in every
            plane whose pixels are fine enough, and the planes vote, weighted by their spacing; corrections are walked
            in their own plane.
        mode: ``"volume"``: a native-3D network answers and corrects objects as a whole. ``"slices"``: masks are walked
            from slice to slice. ``"auto"``: the first where the model has a 3D network and the volume at least three
            slices in every direction, unless planes are fused, else the second.
    """

    range_mm: float = 1000.0
    growth_base_mm: float = 3.0
    growth_per_mm: float = 1.5
    max_area_ratio: float = 3.0
    min_overlap: float = 0.1
    min_score: float = 0.1
    max_intensity_shift: float = 2.0
    min_similarity: float = 0.6
    max_empty: int = 2
    correction_margin_mm: float = 5.0
    overlap: str = "keep"
    fuse: str = "off"
    mode: str = "auto"

    def __post_init__(self) -> None:
        for name, rules in CHOICES.items():
            if getattr(self, name) not in rules:
                raise SettingsError(
                    f"expected {name} as one of {', '.join(rules)}, got {getattr(self, name)!r}"
                    f"{did_you_mean(str(getattr(self, name)), rules)}"
                )
        for item in fields(self):
            if item.name not in CHOICES and not getattr(self, item.name) > 0:
                raise SettingsError(f"expected {item.name} > 0, got {getattr(self, item.name)!r}")

    @staticmethod
    def from_log(logged: Mapping[str, Any]) -> EngineOptions:
        """Return the options of a log. One without a mode is older than the modes: it was made slice by slice."""
        return EngineOptions(**{"mode": "slices", "overlap": "overwrite", **logged})

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, for the prompt log."""
        return asdict(self)
