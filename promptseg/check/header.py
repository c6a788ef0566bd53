"""What tags say against each other: modality and stored kind, burned-in text; and spacings that cannot be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptseg.check.finding import Finding, Severity
from promptseg.volume.geometry import Geometry

__all__ = [
    "burned_in_findings",
    "is_assumed",
    "modality_findings",
    "padding_findings",
    "spacing_findings",
    "states_depth",
    "states_size",
    "unit_findings",
]

# Storage SOP classes (PS3.4 B.5) that belong to one modality (PS3.3 C.7.3.1.1.1), without the common beginning.
STORAGE = "1.2.840.10008.5.1.4.1.1."
MODALITY_OF = {
    "1": "CR",
    "1.1": "DX",
    "1.2": "MG",
    "2": "CT",
    "2.1": "CT",
    "2.2": "CT",
    "3.1": "US",
    "4": "MR",
    "4.1": "MR",
    "4.3": "MR",
    "4.4": "MR",
    "6.1": "US",
    "20": "NM",
    "128": "PT",
    "130": "PT",
    "481.2": "RTDOSE",
}
SECONDARY_CAPTURE = f"{STORAGE}7"
SMALLEST_MM, LARGEST_MM = 0.02, 60.0  # spacing; finer is microscopy, coarser than any scan's slices
LARGEST_EXTENT_MM = 3000.0  # no scanner's field is longer
HU_WATER_ABOVE = 200.0  # a CT that reaches this and has nothing below 0 holds no Hounsfield units


def modality_findings(modality: str | None, sop_class: str) -> list[Finding]:
    """Compare Modality (0008,0060) with the kind of image that SOPClassUID (0008,0016) names."""
    stored = MODALITY_OF.get(sop_class.removeprefix(STORAGE)) if sop_class.startswith(STORAGE) else None
    if modality is None:
        kind = f"; the file is stored as {stored}" if stored else ""
        sentence = f"Modality (0008,0060) is missing or no defined term{kind}: no default window for it was used"
        return [Finding(sentence, "modality-missing", Severity.WARNING)]
    if stored is None or stored == modality:
        return []
    sentence = (
        f"Modality (0008,0060) says {modality}, but the file is stored as {stored} (SOPClassUID); {modality} was taken"
    )
    return [Finding(sentence, "modality-conflict", Severity.WARNING)]


def burned_in_findings(burned_in: str, modality: str | None, sop_class: str) -> list[Finding]:
    """Warn of text in the pixels: said by BurnedInAnnotation (0028,0301), or usual for this kind of image.

    Args:
        burned_in: the tag's value, "" where it is missing.
        modality: see ``modality_findings``.
        sop_class: SOPClassUID.
    """
    if burned_in == "NO":
        return []
    secondary = sop_class.startswith(SECONDARY_CAPTURE)
    if burned_in == "YES":
        why = "BurnedInAnnotation (0028,0301) says that text is burned into the pixels"
    elif modality == "US" or secondary:
        kind = "secondary captures" if secondary else "ultrasound images"
        why = f"{kind} often hold text burned into the pixels, and BurnedInAnnotation (0028,0301) does not deny it"
    else:
        return []
    sentence = f"{why}: it may name the patient; look before sharing"
    return [Finding(sentence, "burned-in-text", Severity.WARNING)]


def spacing_findings(geometry: Geometry) -> list[Finding]:
    """Warn of spacings and extents that no scanner makes (metres or microns taken for millimetres, damaged headers)."""
    wrong = [f"{name} {value:g} mm" for name, value in zip("xyz", geometry.spacing, strict=True)
             if not SMALLEST_MM <= value <= LARGEST_MM]  # fmt: skip
    if wrong:
        sentence = (
            f"absurd voxel spacing ({', '.join(wrong)}): sizes and volumes will be wrong; check the header's units"
        )
        return [Finding(sentence, "absurd-spacing", Severity.WARNING)]
    sizes = [n * s for n, s in zip(geometry.shape[::-1], geometry.spacing, strict=True)]
    if max(sizes) > LARGEST_EXTENT_MM:
        sentence = f"the image would be {max(sizes) / 1000:.1f} m long: its spacing cannot be right"
        return [Finding(sentence, "absurd-spacing", Severity.WARNING)]
    return []


def unit_findings(modality: str | None, lowest: float, highest: float) -> list[Finding]:
    """Warn of a CT without a value below 0: the rescale to Hounsfield units is missing, or it is no CT."""
    if modality != "CT" or lowest < 0 or highest < HU_WATER_ABOVE:
        return []
    sentence = (
        f"a CT whose values run from {lowest:g} to {highest:g}, none below 0: they are probably no Hounsfield units "
        "(RescaleIntercept missing, or Modality wrong)"
    )
    return [Finding(sentence, "not-hounsfield", Severity.WARNING)]


def padding_findings(array: NDArray[Any], padding: tuple[float, float] | None) -> list[Finding]:
    """Say how many voxels hold padding (PixelPaddingValue): what lies outside the field of view."""
    if padding is None or array.ndim != 3:
        return []
    count = int(np.count_nonzero((array >= padding[0]) & (array <= padding[1])))
    if not count:
        return []
    values = f"{padding[0]:g}" if padding[0] == padding[1] else f"{padding[0]:g} to {padding[1]:g}"
    sentence = f"{count} voxels hold padding ({values}, PixelPaddingValue): they are left out of measured intensities"
    return [Finding(sentence, "padding", Severity.INFO, "left out of measurements")]


def states_size(findings: Iterable[str]) -> bool:
    """Return False where a reader found no pixel size: what it calls 1 mm is a pixel."""
    unknown = ("assumed-pixel-spacing", "no-geometry")
    return not any(isinstance(finding, Finding) and finding.code in unknown for finding in findings)


def states_depth(findings: Iterable[str]) -> bool:
    """Return False where a reader assumed the distance of slices, or a slice's thickness."""
    assumed = ("assumed-thickness", "print-resolution", "stacked-pictures")
    return not any(isinstance(finding, Finding) and finding.code in assumed for finding in findings)


def is_assumed(findings: Iterable[str]) -> bool:
    """Return True where the spacing was assumed or is a picture's own, so that judging it says nothing."""
    assumed = ("assumed-pixel-spacing", "no-geometry", "assumed-orientation", "print-resolution")
    return any(isinstance(finding, Finding) and finding.code in assumed for finding in findings)
