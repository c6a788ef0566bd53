"""Two grids of one oblique, anisotropic, off-origin image: what a second file must be told."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from promptseg.check import Severity, compare_grids
from promptseg.volume import Geometry

OBLIQUE = (0.96, -0.28, 0.0, 0.28, 0.96, 0.0, 0.0, 0.0, 1.0)
IMAGE = Geometry((4, 5, 7), (0.7, 1.3, 2.9), (-31.5, 112.25, -640.125), OBLIQUE)


def _code(other: Geometry) -> str:
    (finding,) = compare_grids(IMAGE, other)
    return finding.code


def _moved(x: float, y: float, z: float) -> Geometry:
    """Return the image's grid moved by these voxels along its own axes."""
    origin = IMAGE.voxel_to_world((z, y, x))
    return Geometry(IMAGE.shape, IMAGE.spacing, tuple(origin.tolist()), IMAGE.direction)


def test_the_same() -> None:
    assert compare_grids(IMAGE, IMAGE)[0].severity is Severity.INFO
    assert _code(_moved(1e-4, 0, 0)) == "same-grid"


@pytest.mark.parametrize(("axes", "signs"), list(product(permutations(range(3)), product((1, -1), repeat=3))))
def test_every_other_axis_order_is_known(axes: tuple[int, ...], signs: tuple[int, ...]) -> None:
    size, matrix = np.asarray(IMAGE.shape[::-1]), np.reshape(IMAGE.direction, (3, 3))
    start = [0 if sign > 0 else int(size[axis]) - 1 for axis, sign in zip(axes, signs, strict=True)]
    voxel = np.zeros(3)
    voxel[list(axes)] = start
    other = Geometry(
        tuple(int(n) for n in size[list(axes)][::-1]),
        tuple(np.asarray(IMAGE.spacing)[list(axes)]),
        tuple(IMAGE.voxel_to_world(voxel[::-1])),
        tuple((matrix[:, list(axes)] * signs).ravel()),
    )
    plain = axes == (0, 1, 2) and signs == (1, 1, 1)
    assert _code(other) == ("same-grid" if plain else "axis-order")


def test_turned_axes_are_named() -> None:
    z, y, x = IMAGE.shape
    matrix = np.reshape(IMAGE.direction, (3, 3)) * (-1, 1, 1)
    origin = IMAGE.voxel_to_world((0, 0, x - 1))
    (finding,) = compare_grids(IMAGE, Geometry((z, y, x), IMAGE.spacing, tuple(origin), tuple(matrix.ravel())))
    assert "x axis is the image's -x" in finding
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("signs", "code"),
    [((-1, -1, 1), "lps-ras-flip"), ((-1, 1, 1), "mirrored"), ((1, -1, 1), "mirrored"), ((1, 1, -1), "mirrored")],
)
def test_negated_world_axes(signs: tuple[int, ...], code: str) -> None:
    direction = np.asarray(signs)[:, None] * np.reshape(IMAGE.direction, (3, 3))
    origin = tuple(np.asarray(signs) * IMAGE.origin)
    assert _code(Geometry(IMAGE.shape, IMAGE.spacing, origin, tuple(direction.ravel()))) == code


@pytest.mark.parametrize("shift", [(0.5, 0.5, 0.5), (-0.5, 0.5, 0), (0, 0, 0.5)])
def test_half_a_voxel(shift: tuple[float, float, float]) -> None:
    (finding,) = compare_grids(IMAGE, _moved(*shift))
    assert (finding.code, finding.severity) == ("half-voxel", Severity.ERROR)


def test_other_shifts() -> None:
    (finding,) = compare_grids(IMAGE, _moved(0, 3, 0))
    assert finding.code == "shifted"
    assert "(0.00, 3.00, 0.00) voxels (x, y, z), 3.90 mm" in finding
    assert _code(_moved(0.3, 0, 0)) == "shifted"


def test_transposed_array() -> None:
    assert _code(Geometry((7, 5, 4), IMAGE.spacing, IMAGE.origin, IMAGE.direction)) == "transposed"


def test_part_and_resolution() -> None:
    part = Geometry((2, 3, 4), IMAGE.spacing, tuple(IMAGE.voxel_to_world((1, 1, 2))), IMAGE.direction)
    assert _code(part) == "part-of-grid"
    coarse = Geometry((4, 3, 4), (1.4, 2.6, 2.9), IMAGE.origin, IMAGE.direction)
    assert _code(coarse) == "other-resolution"


def test_rotated_and_apart() -> None:
    assert _code(Geometry(IMAGE.shape, IMAGE.spacing, IMAGE.origin)) == "rotated"
    assert _code(_moved(500, 0, 0)) == "shifted"
    far = Geometry((2, 3, 4), IMAGE.spacing, (900.0, 0.0, 0.0), IMAGE.direction)
    assert _code(far) == "apart"
