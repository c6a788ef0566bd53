"""Surfaces on disk: where they lie, how large they are, which way they face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from promptseg.errors import PromptError, WriteError
from promptseg.export import write_mesh
from promptseg.volume import Geometry, Label, Labelmap

CENTER = np.array([-12.0, 140.0, -630.0])
AXES_MM = np.array([9.0, 14.0, 11.0])


@pytest.fixture(params=["right-handed", "left-handed"])
def ellipsoid(request: pytest.FixtureRequest, oblique: Geometry) -> Labelmap:
    """An ellipsoid given in LPS mm, on a fine oblique grid; its axes are the patient's."""
    direction = np.asarray(oblique.direction).reshape(3, 3)
    if request.param == "left-handed":
        direction = direction * [1, 1, -1]
    shape, spacing = (34, 50, 70), (0.6, 0.8, 1.1)
    middle = direction @ (np.array(spacing) * (np.array(shape[::-1]) - 1) / 2)
    geometry = Geometry(shape, spacing, tuple(CENTER - middle), tuple(direction.ravel()))
    places = geometry.voxel_to_world(np.moveaxis(np.indices(shape), 0, -1))
    inside = (((places - CENTER) / AXES_MM) ** 2).sum(axis=-1) <= 1
    array = np.where(inside, np.uint8(3), np.uint8(0))
    return Labelmap(array, geometry, {3: Label(3, "egg", (10, 20, 30))})


def test_stl(ellipsoid: Labelmap, tmp_path: Path) -> None:
    (path,) = write_mesh(ellipsoid, tmp_path / "egg.stl")
    assert b"SPACE=LPS" in path.read_bytes()[:80]
    assert not path.read_bytes().startswith(b"solid")
    normals, corners = read_stl(path)
    check_surface(corners)
    outward = ((corners.mean(axis=1) - CENTER) / AXES_MM**2 * normals).sum(axis=1)
    assert (outward > 0).mean() > 0.99  # normals point away from the middle


def test_obj(ellipsoid: Labelmap, tmp_path: Path) -> None:
    two = ellipsoid.array.copy()
    two[:2, :2, :2] = 1
    path, materials = write_mesh(Labelmap(two, ellipsoid.geometry, ellipsoid.labels), tmp_path / "egg.obj")
    objects = read_obj(path)
    assert list(objects) == ["label_1_1", "egg_3"]
    check_surface(objects["egg_3"])
    assert "newmtl egg_3\nKd 0.0392 0.0784 0.1176" in materials.read_text()


def test_what_cannot_be_written(ellipsoid: Labelmap, tmp_path: Path) -> None:
    two = ellipsoid.array.copy()
    two[:2, :2, :2] = 1
    both = Labelmap(two, ellipsoid.geometry, ellipsoid.labels)
    with pytest.raises(WriteError, match="STL holds one object"):
        write_mesh(both, tmp_path / "a.stl")
    write_mesh(both, tmp_path / "a.stl", labels=["egg"])
    with pytest.raises(PromptError, match="no label"):
        write_mesh(both, tmp_path / "b.stl", labels=["eg"])
    with pytest.raises(WriteError, match=r"\.stl or \.obj"):
        write_mesh(both, tmp_path / "b.ply")
    with pytest.raises(WriteError, match="no voxel"):
        write_mesh(Labelmap(np.zeros_like(two), both.geometry), tmp_path / "b.stl")


def check_surface(corners: NDArray[np.float64]) -> None:
    """Compare a surface with the ellipsoid: volume by the divergence theorem, place and extent from its points."""
    a, b, c = np.moveaxis(corners - CENTER, 1, 0)
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert volume == pytest.approx(4 / 3 * np.pi * AXES_MM.prod(), rel=0.02)
    points = corners.reshape(-1, 3)
    assert np.abs(points.max(axis=0) - CENTER - AXES_MM).max() < 0.8
    assert np.abs(points.min(axis=0) - CENTER + AXES_MM).max() < 0.8


def read_stl(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return normals (n, 3) and corners (n, 3, 3) of a binary STL, by the format's own description."""
    data = path.read_bytes()
    count = int.from_bytes(data[80:84], "little")
    assert len(data) == 84 + 50 * count
    raw = np.frombuffer(data[84:], np.uint8).reshape(count, 50)[:, :48].copy().view("<f4").reshape(count, 4, 3)
    return raw[:, 0].astype(float), raw[:, 1:].astype(float)


def read_obj(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return corners (n, 3, 3) of each object of an OBJ."""
    points: list[list[float]] = []
    faces: dict[str, list[list[int]]] = {}
    name = ""
    for line in path.read_text().splitlines():
        key, *values = line.split()
        if key == "o":
            name = values[0]
            faces[name] = []
        elif key == "v":
            points.append([float(v) for v in values])
        elif key == "f":
            faces[name].append([int(v) - 1 for v in values])
    return {name: np.asarray(points)[np.asarray(items)] for name, items in faces.items()}
