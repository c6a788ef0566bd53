"""Phantoms whose every voxel has its own value, and DICOM series of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_phantoms import slice_dataset, write_dicom
from numpy.typing import NDArray

from promptseg.volume import Geometry

Series = Callable[..., list[Path]]


def rotation(x_degrees: float, y_degrees: float, z_degrees: float) -> NDArray[np.float64]:
    """Return Rz @ Ry @ Rx."""
    matrices = []
    for axis, degrees in enumerate((x_degrees, y_degrees, z_degrees)):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        matrix = np.eye(3)
        a, b = [i for i in range(3) if i != axis]
        matrix[[a, a, b, b], [a, b, a, b]] = (c, -s, s, c) if axis != 1 else (c, s, -s, c)
        matrices.append(matrix)
    return np.asarray(matrices[2] @ matrices[1] @ matrices[0])


@pytest.fixture
def lettered() -> NDArray[np.int16]:
    """(4, 5, 7), every voxel another value: no flip, swap or shift leaves it the same."""
    return (np.arange(4 * 5 * 7, dtype=np.int16) * 7 - 300).reshape(4, 5, 7)


@pytest.fixture
def oblique() -> Geometry:
    """Anisotropic, oblique and off-origin."""
    return Geometry((4, 5, 7), (0.7, 1.3, 2.9), (-31.5, 112.25, -640.125), tuple(rotation(12, -25, 40).ravel()))


@pytest.fixture
def write_series(tmp_path: Path) -> Series:
    """``write_dicom`` into ``folder`` (by name) of this test's own place."""

    def write(array: NDArray[Any], geometry: Geometry, *, folder: str = "series", **options: Any) -> list[Path]:
        return write_dicom(tmp_path / folder, array, geometry, **options)

    return write


@pytest.fixture
def new_slice() -> Callable[..., Any]:
    """Make a single slice to be changed and saved; see ``slice_dataset``."""
    return slice_dataset
