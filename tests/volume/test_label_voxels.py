"""The voxels of labels: who may take what from whom, and changes that can be laid down and taken up."""

import hashlib
import zlib

import numpy as np
import pytest

from promptseg.volume.label_voxels import SHARED, Layers, as_slices, bounds, make_patch, union

SHAPE = (4, 6, 9)
EVERYWHERE = (slice(None),) * 3


def block(*spans):
    """bool (z, y, x): True inside half-open spans."""
    mask = np.zeros(SHAPE, np.bool_)
    mask[tuple(slice(a, b) for a, b in spans)] = True
    return mask


ONE = block((1, 3), (1, 4), (2, 6))
TWO = block((2, 4), (2, 6), (4, 9))  # overlaps ONE in (2, 2..3, 4..5)
BOTH = ONE & TWO


def layers_with(overlap, *masks):
    """Layers in which label 1, 2, ... were drawn one after the other."""
    layers = Layers(SHAPE, overlap)
    for value, mask in enumerate(masks, start=1):
        draw(layers, value, mask)
    return layers


def draw(layers, value, mask, locked=()):
    patch = layers.patch_to(value, mask, locked)
    if patch is not None:
        layers.lay(patch, after=True)
    return patch


def test_bounds_are_the_smallest_half_open_box():
    assert bounds(ONE) == ((1, 1, 2), (3, 4, 6))
    assert bounds(block((3, 4), (5, 6), (8, 9))) == ((3, 5, 8), (4, 6, 9))
    assert bounds(block((0, 1), (0, 1), (0, 1))) == ((0, 0, 0), (1, 1, 1))
    assert bounds(np.zeros(SHAPE, np.bool_)) is None
    assert all(type(n) is int for corner in bounds(ONE) for n in corner)


def test_a_union_holds_all_boxes():
    assert union([((1, 5, 2), (3, 6, 6))]) == ((1, 5, 2), (3, 6, 6))
    assert union([((1, 5, 2), (3, 6, 6)), ((0, 7, 4), (2, 8, 5))]) == ((0, 5, 2), (3, 8, 6))


def test_a_box_cuts_what_its_bounds_hold():
    assert as_slices(((1, 1, 2), (3, 4, 6))) == (slice(1, 3), slice(1, 4), slice(2, 6))


def test_a_patch_is_shrunk_to_what_differs_and_knows_both_sides():
    box = ((1, 2, 3), (4, 6, 9))
    before = np.zeros((3, 4, 6), np.uint8)
    after = before.copy()
    after[1, 2:4, 1:3] = [[5, 6], [7, 8]]
    patch = make_patch(7, box, before, after)
    assert (patch.layer, patch.box) == (7, ((2, 4, 4), (3, 6, 6)))
    assert zlib.decompress(patch.after) == bytes([5, 6, 7, 8])
    assert zlib.decompress(patch.before) == bytes(4)
    assert patch.digest == hashlib.sha256(bytes([5, 6, 7, 8])).hexdigest()
    assert make_patch(7, box, before, before.copy()) is None


def test_what_is_laid_down_can_be_taken_up():
    layers = layers_with("overwrite", ONE)
    before = layers.flat()
    patch = draw(layers, 2, TWO)
    assert np.array_equal(layers.mask(2), TWO)
    assert np.array_equal(layers.mask(1), ONE & ~TWO)
    layers.lay(patch, after=False)
    assert np.array_equal(layers.flat(), before)
    layers.lay(patch, after=True)
    assert np.array_equal(layers.mask(2), TWO)


@pytest.mark.parametrize(
    ("overlap", "locked", "one", "two"),
    [
        ("overwrite", (), ONE & ~TWO, TWO),
        ("overwrite", (1,), ONE, TWO & ~ONE),
        ("overwrite", (2,), ONE & ~TWO, TWO),  # its own lock is no obstacle here
        ("allow", (), ONE, TWO),
        ("allow", (1,), ONE, TWO & ~ONE),
        ("allow", (2,), ONE, TWO),
    ],
)
def test_who_may_take_what(overlap, locked, one, two):
    layers = layers_with(overlap, ONE)
    draw(layers, 2, TWO, locked)
    assert np.array_equal(layers.mask(1), one)
    assert np.array_equal(layers.mask(2), two)
    assert layers.patch_to(2, two, locked) is None


@pytest.mark.parametrize("overlap", ["overwrite", "allow"])
def test_a_label_gives_up_what_is_not_wanted(overlap):
    layers = layers_with(overlap, ONE)
    smaller = ONE & block((1, 3), (1, 4), (3, 6))
    draw(layers, 1, smaller)
    assert np.array_equal(layers.mask(1), smaller)
    assert not layers.flat()[ONE & ~smaller].any()


def test_what_is_refused_is_what_others_hold():
    where = as_slices(((1, 1, 2), (4, 6, 9)))
    shared = layers_with("overwrite", ONE, TWO)
    assert shared.refused(1, (), where) is None
    assert shared.refused(1, (1,), where) is None
    assert np.array_equal(shared.refused(1, (1, 2), where), TWO[where])
    assert np.array_equal(shared.refused(3, (1, 2), where), (ONE | TWO)[where])
    apart = layers_with("allow", ONE, TWO)
    assert apart.refused(1, (), where) is None
    assert apart.refused(1, (1,), where) is None
    assert np.array_equal(apart.refused(3, (1, 2), where), (ONE | TWO)[where])


def test_where_labels_overlap_the_higher_value_lies_on_top():
    layers = layers_with("allow", TWO, ONE)  # 1 is TWO, 2 is ONE
    expected = np.where(ONE, 2, np.where(TWO, 1, 0))
    assert np.array_equal(layers.flat(), expected)
    box = as_slices(((2, 2, 3), (4, 5, 8)))
    assert np.array_equal(layers.flat(box), expected[box])
    staged = np.full((2, 3, 5), 0, np.uint8)
    assert np.array_equal(layers.flat(box, {2: staged}), np.where(TWO, 1, 0)[box])
    layers.flat()[...] = 9  # a copy
    assert np.array_equal(layers.flat(), expected)


def test_without_labels_there_is_nothing():
    for overlap in ("overwrite", "allow"):
        layers = Layers(SHAPE, overlap)
        assert layers.flat().shape == SHAPE
        assert not layers.flat().any()
        assert layers.flat(as_slices(((0, 1, 2), (2, 4, 9)))).shape == (2, 3, 7)
        assert not layers.mask(3).any()
        assert not layers.has(3, EVERYWHERE)
        assert layers.merge_patches(1, 2) == ()


def test_layers_are_one_or_one_per_label():
    assert [Layers(SHAPE, overlap).key(5) for overlap in ("overwrite", "keep", "allow")] == [SHARED, SHARED, 5]


def test_has_looks_where_it_is_asked_to():
    layers = layers_with("overwrite", ONE)
    assert layers.has(1, (1,))
    assert not layers.has(1, (0,))
    assert not layers.has(2, (1,))


@pytest.mark.parametrize("overlap", ["overwrite", "allow"])
def test_a_merged_label_has_both(overlap):
    layers = layers_with(overlap, ONE, TWO)
    first, second = layers.mask(1), layers.mask(2)
    patches = layers.merge_patches(1, 2)
    for patch in patches:
        layers.lay(patch, after=True)
    assert not layers.mask(1).any()
    assert np.array_equal(layers.mask(2), first | second)
    for patch in reversed(patches):
        layers.lay(patch, after=False)
    assert np.array_equal(layers.mask(1), first)
    assert np.array_equal(layers.mask(2), second)


@pytest.mark.parametrize(
    ("overlap", "locked", "old"),
    [
        ("overwrite", (), ONE & ~TWO),
        ("overwrite", (1,), ONE),
        ("allow", (), ONE),
        ("allow", (1,), ONE),
    ],
)
def test_imported_labels_take_what_they_may(overlap, locked, old):
    layers = layers_with(overlap, ONE)
    third = block((0, 1), (0, 2), (0, 3))
    array = np.where(TWO, 2, 0) + np.where(third, 4, 0)
    for patch in layers.import_patches(array.astype(np.int32), locked):
        layers.lay(patch, after=True)
    taken = TWO if overlap == "allow" and not locked else TWO & ~(old & ONE)
    assert np.array_equal(layers.mask(1), old)
    assert np.array_equal(layers.mask(2), taken)
    assert np.array_equal(layers.mask(4), third)
    assert not layers.mask(3).any()


def test_nothing_to_import_is_no_change():
    assert layers_with("overwrite", ONE).import_patches(np.zeros(SHAPE, np.uint8), ()) == ()
    assert layers_with("allow").import_patches(np.zeros(SHAPE, np.uint8), ()) == ()


def test_layers_are_copied_and_replaced_whole():
    layers = layers_with("allow", ONE, TWO)
    copies = layers.copies()
    draw(layers, 1, np.zeros(SHAPE, np.bool_))
    assert np.array_equal(copies[1] == 1, ONE)
    layers.replace(copies)
    assert np.array_equal(layers.mask(1), ONE)
    assert np.array_equal(layers.mask(2), TWO)
