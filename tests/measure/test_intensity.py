"""Values inside a mask."""

from __future__ import annotations

import numpy as np
import pytest

from promptseg.errors import GeometryMismatchError, PromptError
from promptseg.measure import measure_intensity
from promptseg.volume import Geometry, Volume


def test_only_voxels_inside_count() -> None:
    array = np.full((2, 3, 4), -1000, np.int16)
    array[1, 1, 1:4] = (10, 20, 60)
    image = Volume.from_array(array, Geometry((2, 3, 4), (1, 2, 3)), modality="CT")
    found = measure_intensity(array > -1000, image)
    assert (found.unit, found.mean, found.minimum, found.median, found.maximum) == ("HU", 30.0, 10.0, 20.0, 60.0)
    assert found.std == pytest.approx(np.sqrt((400 + 100 + 900) / 3))
    assert found.p90 == pytest.approx(20 + 0.8 * 40)
    assert {quantity.unit for quantity in found.quantities()} == {"HU"}


def test_mr_has_no_unit_and_large_values_do_not_overflow() -> None:
    image = Volume.from_array(np.full((1, 300, 300), 65535, np.uint16), modality="MR")
    found = measure_intensity(np.ones((1, 300, 300), np.bool_), image)
    assert (found.unit, found.mean, found.std) == ("", 65535.0, 0.0)


def test_refusals() -> None:
    image = Volume.from_array(np.zeros((2, 3, 4), np.int16))
    with pytest.raises(PromptError, match="nothing to measure"):
        measure_intensity(np.zeros((2, 3, 4), np.bool_), image)
    with pytest.raises(GeometryMismatchError):
        measure_intensity(np.zeros((2, 3, 5), np.bool_), image)
    with pytest.raises(PromptError, match="RGB"):
        measure_intensity(np.ones((1, 3, 4), np.bool_), Volume.from_array(np.zeros((3, 4, 3), np.uint8)))
