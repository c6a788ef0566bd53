"""What a report says, as plain values: the pages and tables are made from these and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from promptseg.measure.quantity import Quantity

__all__ = ["RESEARCH_ONLY", "Report", "ReviewNote", "Structure", "Thumbnail"]

RESEARCH_ONLY = "Research use only. Not a medical device."
SHOWN_NOTES = 3  # of a structure's slices, the least certain ones


@dataclass(frozen=True)
class Thumbnail:
    """A picture: PNG bytes, its size (width, height) in pixels, a title and what it shows in words."""

    title: str
    words: str
    png: bytes = field(repr=False)
    size: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class ReviewNote:
    """A slice to look at: ``where`` ("axial slice 12"), its ``confidence`` (0 to 1) and what was noticed."""

    where: str
    confidence: float
    reason: str

    def text(self) -> str:
        """Return the note in one line."""
        return f"{self.where}: {self.confidence:.2f}" + (f", {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class Structure:
    """One label.

    Attributes:
        value, name, color: as in the labelmap.
        quantities: all measures; () for a label without a voxel.
        thumbnails: the planes through it, near.
        prompts: e.g. ``("1 box", "2 points (1 negative)")``; () where the way it was made is not known.
        confidence: of its least certain slice, 0 to 1; None where the engine judged none.
        review: slices to look at, least certain first.
    """

    value: int
    name: str
    color: tuple[int, int, int]
    quantities: tuple[Quantity, ...]
    thumbnails: tuple[Thumbnail, ...] = ()
    prompts: tuple[str, ...] = ()
    confidence: float | None = None
    review: tuple[ReviewNote, ...] = ()

    def quantity(self, name: str) -> Quantity | None:
        """Return the measure of this name, None where there is none."""
        return next((found for found in self.quantities if found.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but pictures, as plain JSON types."""
        return {
            "value": self.value,
            "name": self.name,
            "color": list(self.color),
            "measurements": [quantity.to_dict() for quantity in self.quantities],
            "prompts": list(self.prompts),
            "lowest_confidence": self.confidence,
            "review": [vars(note) for note in self.review],
        }


@dataclass(frozen=True)
class Report:
    """A study's page.

    Attributes:
        image: facts of the image by name: size, spacing, modality, window.
        made: how the masks were made by name: model, weights, prompt log.
        structures: in order of label value.
        overview: the whole image in three planes with all structures.
        findings: ``{"code", "severity", "sentence", "done"}`` of the image's geometry and tags.
        identity: name, id and dates of the patient; empty unless asked for.
        created: day and time of the report, UTC.
    """

    image: Mapping[str, str]
    made: Mapping[str, str]
    structures: tuple[Structure, ...]
    overview: tuple[Thumbnail, ...]
    findings: tuple[Mapping[str, str], ...] = ()
    identity: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return everything but pictures, as plain JSON types."""
        return {
            "format": "promptseg report",
            "version": 1,
            "notice": RESEARCH_ONLY,
            "created": self.created,
            **({"identity": dict(self.identity)} if self.identity else {}),
            "image": dict(self.image),
            "made": dict(self.made),
            "structures": [structure.to_dict() for structure in self.structures],
            "findings": [dict(finding) for finding in self.findings],
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per label and measure, with the confidence as one more; see ``write_table``."""
        rows = []
        for structure in self.structures:
            found = list(structure.quantities)
            if structure.confidence is not None:
                found.append(Quantity("lowest_confidence", structure.confidence, "", "of the least certain slice"))
            rows += [{"label": structure.name, **quantity.to_dict()} for quantity in found]
        return rows
