"""Labels: lookup by value or name, masks, volumes."""

from __future__ import annotations

import numpy as np
import pytest

from promptseg.errors import GeometryMismatchError, PromptError
from promptseg.volume import Geometry, Label, Labelmap
from promptseg.volume.labelmap import DEFAULT_COLORS, colour, find_label

GEOMETRY = Geometry((3, 4, 5), (0.5, 1.5, 6.0), (-20.0, 30.0, 140.0))


@pytest.fixture
def labelmap() -> Labelmap:
    array = np.zeros(GEOMETRY.shape, np.uint8)
    array[0, 0, :3] = 1
    array[2, 1:, 4] = 7
    array[1, 3, 0] = 9  # has no name
    return Labelmap(array, GEOMETRY, {1: Label(1, "liver", (1, 2, 3)), 7: Label(7, "kidney", (4, 5, 6))})


@pytest.mark.parametrize("key", [7, "kidney"])
def test_by_value_or_by_name(labelmap, key):
    assert labelmap.label(key) == Label(7, "kidney", (4, 5, 6))
    expected = np.zeros(GEOMETRY.shape, bool)
    expected[2, 1:, 4] = True
    mask = labelmap.mask(key)
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, expected)


def test_volume_in_millilitres(labelmap):
    assert labelmap.volume_ml("kidney") == pytest.approx(3 * 0.5 * 1.5 * 6.0 / 1000)
    assert labelmap.volume_ml(1) == pytest.approx(3 * 4.5 / 1000)


def test_a_value_without_a_name_gets_a_default(labelmap):
    assert labelmap.label(9) == Label.default(9)
    assert labelmap.mask(9).sum() == 1
    assert labelmap.volume_ml(9) == pytest.approx(4.5 / 1000)


def test_a_label_without_voxels_is_empty_not_an_error():
    empty = Labelmap(np.zeros(GEOMETRY.shape, np.uint16), GEOMETRY, {3: Label.default(3)})
    assert not empty.mask(3).any()
    assert empty.volume_ml(3) == 0


@pytest.mark.parametrize("key", ["livre", "Liver"])
def test_unknown_names_list_the_near_ones(labelmap, key):
    with pytest.raises(PromptError, match="did you mean 'liver'"):
        labelmap.label(key)


@pytest.mark.parametrize("key", [2, 0, 700])
def test_values_that_are_not_there_are_refused(labelmap, key):
    with pytest.raises(PromptError, match=f"no label {key}; known: liver, kidney"):
        labelmap.label(key)


@pytest.mark.parametrize(
    "array", [np.zeros((5, 4, 3), np.uint8), np.zeros((3, 4, 5), np.int16), np.zeros((3, 4, 5), bool), np.zeros((4, 5))]
)
def test_another_shape_or_signed_numbers_are_refused(array):
    with pytest.raises(GeometryMismatchError, match=r"expected an unsigned integer array of shape \(3, 4, 5\), got"):
        Labelmap(array, GEOMETRY)


def test_default_names_and_colours():
    labels = [Label.default(n) for n in range(1, len(DEFAULT_COLORS) + 2)]
    assert labels[1].name == "label 2"
    assert len({label.color for label in labels}) == len(DEFAULT_COLORS)
    assert labels[0].color == labels[-1].color
    assert Label.default(4, "spleen").name == "spleen"


def test_default_colours_can_be_told_apart():
    pairs = [np.subtract(a, b) for i, a in enumerate(DEFAULT_COLORS) for b in DEFAULT_COLORS[:i]]
    assert min(np.linalg.norm(p) for p in pairs) > 60


def test_the_only_label_needs_no_key(labelmap):
    one = Labelmap(labelmap.array, GEOMETRY, {7: labelmap.labels[7]})
    np.testing.assert_array_equal(one.mask(), labelmap.mask(7))
    with pytest.raises(PromptError, match="one of 2 labels"):
        labelmap.mask()


def test_a_colour_is_three_numbers_of_a_byte():
    assert colour([0, 255, 7]) == (0, 255, 7)
    for wrong in ([0, 256, 7], [-1, 0, 0], [1, 2], [1, 2, 3, 4], "red", None):
        with pytest.raises(PromptError, match="three integers from 0 to 255"):
            colour(wrong)


def test_a_value_may_be_written_out_and_a_name_goes_first():
    labels = {1: Label(1, "7", (0, 0, 0)), 7: Label(7, "liver", (0, 0, 0))}
    assert find_label(labels, "7").value == 1
    assert find_label(labels, 7).value == 7
    assert find_label(labels, "1").value == 1
