"""Masks put together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from promptseg.errors import GeometryMismatchError, PromptError, UnknownNameError
from promptseg.volume import Geometry, Label, Labelmap
from promptseg.volume.combining import combine

GRID = Geometry((4, 5, 6), (0.8, 1.2, 2.5), (-20.0, 30.0, -400.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))


def mask(*voxels: tuple[int, int, int], value: int = 1, names: dict[int, str] | None = None) -> Labelmap:
    array = np.zeros(GRID.shape, np.uint8)
    for voxel in voxels:
        array[voxel] = value
    return Labelmap(array, GRID, {v: Label.default(v, name) for v, name in (names or {}).items()})


def test_files_of_one_class_each_keep_their_names_and_places() -> None:
    parts = [("liver", mask((1, 2, 3))), ("spleen", mask((3, 0, 5), value=255))]
    made = combine(iter(parts))
    assert {value: label.name for value, label in made.labels.items()} == {1: "liver", 2: "spleen"}
    assert np.argwhere(made.array == 1).tolist() == [[1, 2, 3]]
    assert np.argwhere(made.array == 2).tolist() == [[3, 0, 5]]
    assert made.geometry.same_as(GRID)


def test_one_mask_is_looked_at_at_a_time() -> None:
    alive = 0

    def parts() -> Iterator[tuple[str, Labelmap]]:
        nonlocal alive
        for n in range(3):
            alive += 1
            yield f"part{n}", mask((n, 0, 0))

    assert len(combine(parts()).labels) == alive == 3


def test_classes_under_one_name_by_pattern() -> None:
    array = np.zeros(GRID.shape, np.uint8)
    array[0, 0, :4] = [1, 2, 3, 7]
    names = {1: "lung_left", 2: "lung_right", 3: "heart"}
    whole = Labelmap(array, GRID, {v: Label.default(v, name) for v, name in names.items()})
    made = combine([("all", whole)], {"lung": ["lung_*"], "rest": ["label 7", "none"]})
    assert made.array[0, 0, :5].tolist() == [1, 1, 0, 2, 0]
    with pytest.raises(UnknownNameError, match="lungs") as caught:
        combine([("all", whole)], {"lung": ["lungs"]})
    assert "heart" in caught.value.choices


@pytest.mark.parametrize(("overlap", "winner"), [("first", 1), ("last", 2)])
def test_a_voxel_of_two(overlap: str, winner: int) -> None:
    parts = [("a", mask((1, 1, 1), (1, 1, 2))), ("b", mask((1, 1, 1)))]
    assert combine(parts, overlap=overlap).array[1, 1, 1:3].tolist() == [winner, 1]
    with pytest.raises(PromptError, match="1 voxels belong to 'a' and to 'b'"):
        combine(parts)


def test_what_cannot_be_put_together() -> None:
    moved = Geometry(GRID.shape, GRID.spacing, (0.0, 0.0, 0.0), GRID.direction)
    other = Labelmap(np.zeros(GRID.shape, np.uint8), moved, {})
    with pytest.raises(GeometryMismatchError):
        combine([("a", mask((0, 0, 0))), ("b", other)])
    with pytest.raises(PromptError, match="got none"):
        combine([])
    with pytest.raises(PromptError, match="refuse, first, last"):
        combine([], overlap="both")


def test_more_labels_than_a_byte_holds() -> None:
    parts = [(f"n{n}", mask((n // 30, n // 6 % 5, n % 6))) for n in range(120)]
    many = {f"m{n}": [f"n{n % 120}"] for n in range(300)}
    made = combine(parts, many, overlap="last")
    assert made.array.dtype == np.uint16
    assert len(made.labels) == 300
