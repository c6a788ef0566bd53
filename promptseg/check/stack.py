"""Do slices lie on a regular grid? From their positions to distances, tilt and drift, and to findings about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptseg.check.finding import Finding, Severity

__all__ = ["SAME_PLACE_MM", "StackFacts", "measure_stack", "stack_findings", "thickness_findings"]

SAME_PLACE_MM = 1e-3  # positions nearer than this are one; DICOM writes at least three decimals
EVEN_GAP = 0.05  # of the median gap: a larger difference is refused; decimals in headers stay below 1e-3
EVEN_PLACE = 0.1  # of the median gap: how far a slice may lie from the regular grid
DRIFT_REFUSED = 0.5  # of a pixel: in-plane drift of a slice against the first, beyond which a stack is sheared
DRIFT_TOLD = 0.1  # of a pixel
GAP_TOLD = 1.5  # of the slice thickness: a larger distance leaves tissue between slices that nobody has seen


@dataclass(frozen=True)
class StackFacts:
    """How the slices of a stack lie, sorted along the normal.

    Attributes:
        slices: how many, at least 2.
        gaps_mm: distances between neighbours along the normal, ``slices - 1`` numbers.
        off_grid_mm: largest distance of a slice from the even grid through the first and the last.
        drift_mm: largest sideways (in-plane) shift of a slice against the first.
        tilt_degrees: angle between the normal and the line from the first slice to the last.
        pixel_mm: the smaller pixel spacing, what drift is compared with.
    """

    slices: int
    gaps_mm: NDArray[np.float64]
    off_grid_mm: float
    drift_mm: float
    tilt_degrees: float
    pixel_mm: float

    @property
    def step_mm(self) -> float:
        """Mean distance between slices."""
        return float(self.gaps_mm.mean())

    @property
    def is_tilted(self) -> bool:
        """True where slices shift sideways too far for a rectangular grid."""
        return self.drift_mm > DRIFT_REFUSED * self.pixel_mm

    @property
    def is_uneven(self) -> bool:
        """True where slices lie too far from an even grid."""
        middle = float(np.median(self.gaps_mm))
        return float(np.abs(self.gaps_mm - middle).max()) > EVEN_GAP * middle or self.off_grid_mm > EVEN_PLACE * middle

    @property
    def missing(self) -> int:
        """How many slices are missing, where all gaps are whole multiples of the smallest; else 0."""
        ratios = self.gaps_mm / self.gaps_mm.min()
        whole = np.rint(ratios)
        if not self.is_uneven or float(np.abs(ratios - whole).max()) > EVEN_GAP:
            return 0
        return int((whole - 1).sum())


def measure_stack(points: NDArray[np.float64], normal: NDArray[np.float64], pixel_mm: float) -> StackFacts:
    """Measure how slices lie.

    Args:
        points: (n, 3) LPS mm of the slices' first pixels, n >= 2, sorted along ``normal``, no two at one place.
        normal: unit normal of the slices.
        pixel_mm: the smaller in-plane spacing.
    """
    steps = points @ normal
    travel = points[-1] - points[0]
    sideways = points - points[0] - np.outer(steps - steps[0], normal)
    even = (steps[-1] - steps[0]) / (len(steps) - 1)
    cosine = np.clip(abs(travel @ normal) / np.linalg.norm(travel), -1, 1)
    return StackFacts(
        slices=len(points),
        gaps_mm=np.diff(steps),
        off_grid_mm=float(np.abs(steps - steps[0] - even * np.arange(len(steps))).max()),
        drift_mm=float(np.linalg.norm(sideways, axis=1).max()),
        tilt_degrees=float(np.degrees(np.arccos(cosine))),
        pixel_mm=pixel_mm,
    )


def stack_findings(facts: StackFacts) -> list[Finding]:
    """Return tilt, uneven gaps and missing slices (errors); drift small enough to be ignored is a warning."""
    found = []
    if facts.is_tilted:
        sentence = (
            f"its slices are tilted by {facts.tilt_degrees:.1f} degrees against their stacking direction "
            f"(gantry tilt: they shift sideways by {facts.drift_mm:.2f} mm)"
        )
        found.append(Finding(sentence, "gantry-tilt", Severity.ERROR, "refused"))
    if facts.is_uneven:
        gaps = facts.gaps_mm
        span = f"from {gaps.min():.2f} to {gaps.max():.2f} mm (median {np.median(gaps):.2f} mm"
        why = f"; slices missing: {facts.missing})" if facts.missing else "; a slice may be missing)"
        sentence = f"the gaps between its {facts.slices} slices are uneven, {span}{why}"
        code = "missing-slices" if facts.missing else "uneven-gaps"
        found.append(Finding(sentence, code, Severity.ERROR, "refused"))
    if not found and facts.drift_mm > DRIFT_TOLD * facts.pixel_mm:
        sentence = f"slices drift sideways by up to {facts.drift_mm:.2f} mm against a straight stack; this was ignored"
        found.append(Finding(sentence, "sideways-drift", Severity.WARNING, "ignored"))
    return found


def thickness_findings(step_mm: float, thickness_mm: float | None) -> list[Finding]:
    """Return a finding where slices are much further apart than they are thick."""
    if not thickness_mm or step_mm <= GAP_TOLD * thickness_mm:
        return []
    sentence = f"slices are {step_mm:.3g} mm apart but only {thickness_mm:.3g} mm thick: there are gaps between them"
    return [Finding(sentence, "gaps-between-slices", Severity.INFO)]
