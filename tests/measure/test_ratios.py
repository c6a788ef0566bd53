"""Burden, cup to disc, ejection fraction, change."""

from __future__ import annotations

import numpy as np
import pytest

from promptseg.errors import GeometryMismatchError, PromptError
from promptseg.measure import change, cup_to_disc, ejection_fraction, lesion_fraction
from promptseg.volume import Geometry


def test_lesion_fraction() -> None:
    organ = np.zeros((4, 10, 10), np.bool_)
    organ[:, 2:8, 2:7] = True  # 120 voxels
    lesion = np.zeros_like(organ)
    lesion[1, 3:6, 1:6] = True  # 15 voxels, 12 of them inside
    assert lesion_fraction(lesion, organ).value == pytest.approx(10.0)
    assert lesion_fraction(lesion, organ).unit == "%"
    assert lesion_fraction(lesion & organ, organ & ~lesion).value == pytest.approx(10.0)  # labels of one labelmap
    assert lesion_fraction(np.zeros_like(organ), organ).value == 0
    elsewhere = np.zeros_like(organ)
    elsewhere[0, 0, 0] = True
    with pytest.raises(PromptError, match="neither overlaps nor touches"):
        lesion_fraction(elsewhere, organ)
    with pytest.raises(PromptError, match="organ"):
        lesion_fraction(organ, np.zeros_like(organ))
    with pytest.raises(GeometryMismatchError):
        lesion_fraction(organ[1:], organ)


def test_cup_to_disc() -> None:
    geometry = Geometry((1, 100, 120), (0.01, 0.01, 1.0))
    disc, cup = np.zeros((2, 1, 100, 120), np.bool_)
    disc[0, 20:80, 30:80] = True  # 60 high, 50 wide
    cup[0, 40:70, 40:50] = True  # 30 high, 10 wide
    for rim_only in (False, True):
        vertical, horizontal, area = cup_to_disc(cup, disc & ~cup if rim_only else disc, geometry)
        assert (vertical.value, horizontal.value) == (0.5, 0.2)
        assert area.value == pytest.approx(300 / 3000)
    with pytest.raises(PromptError, match="empty"):
        cup_to_disc(np.zeros_like(cup), disc, geometry)
    with pytest.raises(GeometryMismatchError, match="one slice"):
        cup_to_disc(np.repeat(cup, 2, axis=0), np.repeat(disc, 2, axis=0), Geometry((2, 100, 120)))


def test_ejection_fraction_and_change() -> None:
    assert ejection_fraction(120.0, 48.0).value == pytest.approx(60.0)
    with pytest.raises(PromptError, match="swapped"):
        ejection_fraction(48.0, 120.0)
    with pytest.raises(PromptError, match="finite"):
        ejection_fraction(float("nan"), 1.0)
    with pytest.raises(PromptError, match="above 0"):
        ejection_fraction(0.0, 0.0)
    difference, percent = change(40.0, 28.0, "mm")
    assert (difference.value, difference.unit, percent.value, percent.unit) == (-12.0, "mm", -30.0, "%")
    with pytest.raises(PromptError, match="above 0"):
        change(0.0, 3.0, "ml")
