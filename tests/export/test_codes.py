"""Codes are published ones, or openly private."""

from __future__ import annotations

import pytest

from promptseg.export.codes import codes_for

SYNONYMS = {("Limb", "Extremity"), ("Pleural membrane", "Pleura")}  # one concept each, two of its names


@pytest.mark.parametrize("name", ["kidney_left", "Left kidney", "kidney-left", "KIDNEY LEFT", "left_kidney"])
def test_names_are_read_generously(name: str) -> None:
    codes = codes_for(name)
    assert (codes.kind.value, codes.kind.scheme) == ("64033007", "SCT")
    assert codes.modifier is not None
    assert codes.modifier.meaning == "Left"


def test_every_shipped_code_that_the_standard_lists_means_the_same() -> None:
    from pydicom.sr.codedict import codes

    from promptseg.export.codes import _anatomy

    known = {code.value: code.meaning for code in codes.cid7192.concepts.values()}
    shared = [item.kind for item in _anatomy().values() if item.kind.value in known]
    assert len(shared) > 60
    others = {(kind.meaning, known[kind.value]) for kind in shared if not _alike(kind.meaning, known[kind.value])}
    assert others <= SYNONYMS


def _alike(one: str, other: str) -> bool:
    return bool(set(one.lower().replace(",", "").split()) & set(other.lower().replace(",", "").split()))


def test_dictionary_and_private_names() -> None:
    assert codes_for("Edema").category.meaning == "Morphologically Abnormal Structure"
    free = codes_for("my own region")
    assert free.is_private
    assert free.kind.meaning == "my own region"
    assert len(free.kind.value) == 16
    assert codes_for("my own region 2").kind.value != free.kind.value


def test_sides_of_regions() -> None:
    cyst = codes_for("kidney_cyst_left")
    assert cyst.region is not None
    assert cyst.region.meaning == "Kidney"
    assert cyst.region_modifier is not None
    assert cyst.region_modifier.meaning == "Left"
