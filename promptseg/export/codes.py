"""Coded names for labels: SNOMED CT where a published table has the structure, else a private coding scheme.

Sources, in this order; no code is made up:

1. ``anatomy.csv``: the SNOMED CT codes that TotalSegmentator publishes for its classes
   (``totalsegmentator_snomed_mapping.csv`` of release 2.18, Apache-2.0), looked up by the label's name.
2. The context groups of DICOM PS3.16 for segmented properties (CID 7192 anatomical structures, 7194 morphologically
   abnormal structures, 7191 tissues), as pydicom's dictionaries hold them, when a meaning equals the label's name.
3. Otherwise the private scheme ``99PROMPTSEG``: the name itself is the meaning, and the value is a hash of it.
"""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["PRIVATE_SCHEME", "Concept", "SegmentCodes", "codes_for"]

PRIVATE_SCHEME = "99PROMPTSEG"  # private designators start with 99 (PS3.16 section 8.2)
MEANING_LENGTH = 64  # characters of a code's meaning: VR LO
VALUE_LENGTH = 16  # characters of a code's value: VR SH
# PS3.16 CID 7150, by the words that anatomy.csv uses; its "Anatomical Structure" is 91723000 since PS3.16 2019a.
CATEGORIES = {
    "anatomical structure": ("91723000", "Anatomical Structure"),
    "morphologically altered structure": ("49755003", "Morphologically Abnormal Structure"),
    "tissue": ("85756007", "Tissue"),
    "physical object": ("260787004", "Physical object"),
}
PROPERTY_GROUPS = (
    (7192, "anatomical structure"),
    (7194, "morphologically altered structure"),
    (7191, "tissue"),
)
SIDES = ("left", "right")


@dataclass(frozen=True)
class Concept:
    """A code: ``value`` in the coding ``scheme``, and its ``meaning`` for people."""

    value: str
    meaning: str
    scheme: str = "SCT"


@dataclass(frozen=True)
class SegmentCodes:
    """What a segment is, as the Segment Description macro wants it (PS3.3 table C.8.20-4).

    Attributes:
        category: e.g. anatomical structure.
        kind: the segmented property type, e.g. kidney.
        modifier: the side, None where there is none.
        region: where it is found, None where ``kind`` says it.
        region_modifier: the side of the region.
    """

    category: Concept
    kind: Concept
    modifier: Concept | None = None
    region: Concept | None = None
    region_modifier: Concept | None = None

    @property
    def is_private(self) -> bool:
        """True when no published code was found."""
        return self.kind.scheme == PRIVATE_SCHEME


def codes_for(name: str) -> SegmentCodes:
    """Return the codes of a label's name.

    Case, spaces, hyphens and the place of "left" and "right" do not matter: "Left kidney" is ``kidney_left``.
    """
    slug = _slug(name)
    for candidate in dict.fromkeys((slug, _side_last(slug))):
        if candidate in _anatomy():
            return _anatomy()[candidate]
    return _from_dictionary(slug) or _private(name)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _side_last(slug: str) -> str:
    """Return "left_kidney" as "kidney_left"."""
    words = slug.split("_")
    side = next((word for word in words if word in SIDES), None)
    return slug if side is None else "_".join([*(word for word in words if word != side), side])


def _category(words: str) -> Concept:
    return Concept(*CATEGORIES[words.lower()])


@cache
def _anatomy() -> dict[str, SegmentCodes]:
    text = files("promptseg.export").joinpath("anatomy.csv").read_text(encoding="utf-8")
    return {row["name"].lower(): _row_codes(row) for row in csv.DictReader(text.splitlines())}


def _row_codes(row: dict[str, str]) -> SegmentCodes:
    return SegmentCodes(
        _category(row["category"]),
        Concept(row["type"], row["meaning"]),
        *(
            Concept(row[column], row[f"{column}_meaning"]) if row[column] else None
            for column in ("modifier", "region", "region_modifier")
        ),
    )


@cache
def _dictionary() -> dict[str, SegmentCodes]:
    from pydicom.sr.codedict import codes

    found: dict[str, SegmentCodes] = {}
    for group, category in PROPERTY_GROUPS:
        for code in getattr(codes, f"cid{group}").concepts.values():
            if code.scheme_designator == "SCT":
                codes_of = SegmentCodes(_category(category), Concept(code.value, code.meaning))
                found.setdefault(_slug(code.meaning), codes_of)
    return found


def _from_dictionary(slug: str) -> SegmentCodes | None:
    return _dictionary().get(slug)


def _private(name: str) -> SegmentCodes:
    value = hashlib.sha256(name.encode("utf-8")).hexdigest()[:VALUE_LENGTH]
    return SegmentCodes(_category("tissue"), Concept(value, name[:MEANING_LENGTH], PRIVATE_SCHEME))
