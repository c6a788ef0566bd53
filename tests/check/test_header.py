"""Tags that disagree, text in pixels, sizes that cannot be."""

from __future__ import annotations

import pytest

from promptseg.check.header import burned_in_findings, modality_findings, spacing_findings, unit_findings
from promptseg.volume import Geometry

CT, MR, US = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "6.1"))  # PS3.4 B.5
SCREEN = "1.2.840.10008.5.1.4.1.1.7"


@pytest.mark.parametrize(
    ("modality", "sop_class", "code"),
    [
        ("CT", CT, None),
        ("MR", CT, "modality-conflict"),
        ("CT", MR, "modality-conflict"),
        (None, CT, "modality-missing"),
        ("CT", SCREEN, None),  # a screen shot of a CT may say CT
        ("CT", "", None),
    ],
)
def test_modality(modality: str | None, sop_class: str, code: str | None) -> None:
    assert [finding.code for finding in modality_findings(modality, sop_class)] == ([code] if code else [])


@pytest.mark.parametrize(
    ("tag", "modality", "sop_class", "warned"),
    [
        ("YES", "CT", CT, True),
        ("NO", "US", US, False),
        ("", "US", US, True),
        ("", "OT", SCREEN, True),
        ("", "OT", f"{SCREEN}.4", True),
        ("", "CT", CT, False),
    ],
)
def test_burned_in(tag: str, modality: str, sop_class: str, warned: bool) -> None:
    assert bool(burned_in_findings(tag, modality, sop_class)) is warned


@pytest.mark.parametrize(
    ("shape", "spacing", "warned"),
    [
        ((30, 512, 512), (0.5, 0.5, 5.0), False),
        ((15, 10, 10), (10.0, 10.0, 5.0), False),
        ((30, 64, 64), (0.001, 0.001, 0.005), True),  # metres taken for millimetres
        ((30, 64, 64), (500.0, 500.0, 5000.0), True),  # microns
        ((4, 2000, 4), (1.0, 2.0, 1.0), True),  # four metres
    ],
)
def test_spacing(shape: tuple[int, int, int], spacing: tuple[float, float, float], warned: bool) -> None:
    assert bool(spacing_findings(Geometry(shape, spacing))) is warned


def test_hounsfield_units() -> None:
    assert unit_findings("CT", -1024, 3000) == []
    assert unit_findings("MR", 0, 3000) == []
    assert unit_findings("CT", 20, 60) == []  # a crop inside an organ
    assert [finding.code for finding in unit_findings("CT", 0, 4095)] == ["not-hounsfield"]
