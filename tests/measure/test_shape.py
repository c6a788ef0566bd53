"""Volume, surface, diameters and sphericity against analytic bodies and published reference values.

The digital phantom and its values are those of the Image Biomarker Standardisation Initiative (reference manual,
arXiv:1612.07003, section 5.1 and the tables of chapter 3).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from promptseg.errors import GeometryMismatchError, PromptError
from promptseg.io import read_labelmap
from promptseg.measure import measure_intensity, measure_shape, surface_mesh
from promptseg.volume import Geometry, Volume

CENTER = np.array([31.0, -52.5, 410.0])
VOXEL_MM = 1.6  # the longest edge of a voxel below: how far a surface can lie beside the body's

# 4 slices of 4 rows of 5 columns, voxels of 2 mm; x is outside the region.
IBSI_PHANTOM = """
1 4 4 1 1  1 4 6 1 1  4 1 6 4 1  4 4 6 4 1
1 4 4 1 1  1 1 6 1 1  x 1 3 1 1  4 4 6 1 1
1 4 4 x x  1 1 1 1 1  1 1 x 1 1  1 1 6 1 1
1 4 4 x x  1 1 1 1 1  1 1 1 1 1  1 1 6 1 1
"""


@pytest.fixture
def oblique() -> Geometry:
    """Anisotropic voxels, turned by 25 degrees about x and -15 about z; ``CENTER`` is in the middle."""
    shape, spacing = (40, 96, 84), (0.7, 0.6, 1.6)
    a, b = np.radians([25.0, -15.0])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    direction = about_z @ about_x
    middle = direction @ (np.array(spacing) * (np.array(shape[::-1]) - 1) / 2)
    return Geometry(shape, spacing, tuple(CENTER - middle), tuple(direction.ravel()))


def ellipsoid(geometry: Geometry, axes_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Return an ellipsoid around ``CENTER`` whose half axes lie along the grid's x, y, z."""
    offset = (np.moveaxis(np.indices(geometry.shape), 0, -1) - geometry.world_to_voxel(CENTER)) * geometry.spacing_zyx
    inside = ((offset / axes_mm[::-1]) ** 2).sum(axis=-1) <= 1
    return np.asarray(inside)


def test_ball(oblique: Geometry) -> None:
    radius = 21.0
    found = measure_shape(ellipsoid(oblique, (radius,) * 3), oblique)
    volume = 4 / 3 * np.pi * radius**3 / 1000
    assert found.volume_ml == pytest.approx(volume, rel=0.005)
    assert found.mesh_volume_ml == pytest.approx(volume, rel=0.01)
    assert found.diameter_3d.length_mm == pytest.approx(2 * radius, abs=VOXEL_MM)
    assert found.axial.long.length_mm == pytest.approx(2 * radius, abs=0.8)
    assert found.axial.short.length_mm == pytest.approx(2 * radius, abs=0.8)
    assert np.allclose(found.center, CENTER, atol=0.05)
    # Marching cubes of a binary mask makes stairs, the more so the longer its voxels: too much area, never too little.
    assert 1.0 <= found.surface_mm2 / (4 * np.pi * radius**2) < 1.2
    assert 1 / 1.2 < found.sphericity < 1.0


def test_ellipsoid_diameters_lie_along_its_axes(oblique: Geometry) -> None:
    axes = (12.0, 24.0, 17.0)
    found = measure_shape(ellipsoid(oblique, axes), oblique)
    direction = np.asarray(oblique.direction).reshape(3, 3)
    # Chords beside the shortest axis' middle are nearly as long: 6 mm away they are 0.7 mm, a pixel, shorter.
    for line, column, half, off in (
        (found.diameter_3d, 1, 24.0, VOXEL_MM),
        (found.axial.long, 1, 24.0, VOXEL_MM),
        (found.axial.short, 0, 12.0, 6.0),
    ):
        assert line.length_mm == pytest.approx(2 * half, abs=VOXEL_MM)
        along = np.subtract(line.end, line.start) / line.length_mm
        assert abs(along @ direction[:, column]) > 0.99
        assert np.allclose(np.add(line.start, line.end) / 2, CENTER, atol=off)
        assert np.allclose(oblique.voxel_to_world([line.start_voxel, line.end_voxel]), [line.start, line.end])
    across = np.subtract(found.axial.long.end, found.axial.long.start) @ np.subtract(
        found.axial.short.end, found.axial.short.start
    )
    assert abs(across) < 1e-6
    assert found.axial.axis == 0
    assert abs(found.axial.index - oblique.world_to_voxel(CENTER)[0]) <= 1


def test_brick_on_the_grid(oblique: Geometry) -> None:
    mask = np.zeros(oblique.shape, np.bool_)
    mask[10:20, 30:60, 40:70] = True
    found = measure_shape(mask, oblique)
    size_zyx = np.array([10 * 1.6, 30 * 0.6, 30 * 0.7])
    assert found.voxels == 9000
    assert found.volume_ml == pytest.approx(size_zyx.prod() / 1000)
    assert found.box == ((10, 30, 40), (20, 60, 70))
    assert np.allclose(found.box_mm, size_zyx)
    area = 2 * (size_zyx[0] * size_zyx[1] + size_zyx[0] * size_zyx[2] + size_zyx[1] * size_zyx[2])
    assert found.surface_mm2 == pytest.approx(area, rel=0.03)  # edges are cut off by half a voxel
    assert found.axial.long.length_mm == pytest.approx(np.hypot(size_zyx[1], size_zyx[2]), abs=0.6)
    assert found.diameter_3d.length_mm == pytest.approx(np.linalg.norm(size_zyx), abs=1.2)


def test_the_perpendicular_stays_inside() -> None:
    """A U: a line across both arms leaves the mask, so the widest chord lies within one part."""
    geometry = Geometry((1, 60, 60), (0.5, 0.5, 3.0))
    mask = np.zeros(geometry.shape, np.bool_)
    mask[0, 5:55, 10:16] = mask[0, 5:55, 44:50] = True
    mask[0, 49:55, 10:50] = True
    axial = measure_shape(mask, geometry).axial
    assert axial.long.length_mm == pytest.approx(np.hypot(50 * 0.5, 40 * 0.5), abs=0.5)
    assert axial.short.length_mm < 14  # the hull's width would be about 25 mm
    assert abs(np.subtract(axial.long.end, axial.long.start) @ np.subtract(axial.short.end, axial.short.start)) < 1e-6


def test_parts_of_a_slice_are_measured_one_by_one() -> None:
    geometry = Geometry((1, 40, 60), (1.0, 1.0, 3.0))
    mask = np.zeros(geometry.shape, np.bool_)
    mask[0, 5:9, 2:12] = mask[0, 5:9, 40:58] = True
    assert measure_shape(mask, geometry).axial.long.length_mm == pytest.approx(np.hypot(18, 4), abs=0.6)


def test_axial_means_across_the_body(oblique: Geometry) -> None:
    """A stack of coronal slices: array axis 1 runs from head to feet, and axial cuts go through the stack."""
    coronal = Geometry((20, 40, 30), (1.0, 1.5, 2.0), (0, 0, 0), (1, 0, 0, 0, 0, 1, 0, -1, 0))
    mask = np.zeros(coronal.shape, np.bool_)
    mask[5:15, 3:37, 12:18] = True  # 20 mm front to back, 51 mm head to feet, 6 mm right to left
    axial = measure_shape(mask, coronal).axial
    assert axial.axis == 1
    assert axial.long.length_mm == pytest.approx(np.hypot(20, 6), abs=1.2)
    assert axial.long.start[2] == pytest.approx(axial.long.end[2])  # one height


def test_a_single_voxel_and_none(oblique: Geometry) -> None:
    mask = np.zeros(oblique.shape, np.bool_)
    with pytest.raises(PromptError, match="nothing to measure"):
        measure_shape(mask, oblique)
    mask[0, 0, 0] = True  # at the border of the grid
    found = measure_shape(mask, oblique)
    assert found.volume_ml == pytest.approx(0.7 * 0.6 * 1.6 / 1000)
    assert found.diameter_3d.length_mm == pytest.approx(1.6)
    assert found.axial.long.length_mm == pytest.approx(0.7)
    assert found.axial.short.length_mm == pytest.approx(0.6)
    with pytest.raises(GeometryMismatchError):
        measure_shape(mask[1:], oblique)
    with pytest.raises(GeometryMismatchError):
        measure_shape(mask.astype(np.uint8), oblique)  # type: ignore[arg-type]


@pytest.mark.parametrize("mirror", [1, -1])
def test_surface_faces_outward_on_left_handed_grids_too(mirror: int) -> None:
    geometry = Geometry((6, 7, 8), (1.0, 2.0, 0.5), (3, 4, 5), (mirror, 0, 0, 0, 1, 0, 0, 0, 1))
    mask = np.zeros(geometry.shape, np.bool_)
    mask[2:4, 2:5, 2:6] = True
    mesh = surface_mesh(mask, geometry)
    a, b, c = np.moveaxis(mesh.corners, 1, 0)
    middle = geometry.voxel_to_world((2.5, 3.0, 3.5))
    outward = np.einsum("ij,ij->i", np.cross(b - a, c - a), (a + b + c) / 3 - middle)
    assert (outward > 0).all()
    assert mesh.volume_mm3 > 0


def test_ibsi_digital_phantom() -> None:
    values = np.array(IBSI_PHANTOM.replace("x", "0").split(), np.int16).reshape(4, 4, 5)
    image = Volume.from_array(values, Geometry((4, 4, 5), (2.0, 2.0, 2.0)))
    mask = values > 0
    shape = measure_shape(mask, image.geometry)
    assert round(shape.mesh_volume_ml * 1000) == 556
    assert shape.volume_ml * 1000 == pytest.approx(592)
    assert round(shape.surface_mm2) == 388
    assert round(shape.sphericity, 3) == 0.843
    assert round(shape.diameter_3d.length_mm, 1) == 13.1
    intensity = measure_intensity(mask, image)
    assert (round(intensity.mean, 2), round(intensity.std**2, 2)) == (2.15, 3.05)
    assert (intensity.minimum, intensity.p10, intensity.median, intensity.p90, intensity.maximum) == (1, 1, 1, 4, 6)


def test_every_quantity_has_a_definition(oblique: Geometry) -> None:
    for quantity in measure_shape(ellipsoid(oblique, (5, 6, 7)), oblique).quantities():
        assert quantity.definition
        assert quantity.text()
        assert quantity.to_dict()["name"] == quantity.name


def test_surface_area_of_pyradiomics(shared_data: Path) -> None:
    """pyradiomics' own published baseline (data/baseline/baseline_shape.csv), where definitions agree."""
    lesion = read_labelmap(shared_data / "mr_pyradiomics_breast1_nrrd" / "label.nrrd")
    found = measure_shape(lesion.array == 1, lesion.geometry)
    assert found.surface_mm2 == pytest.approx(172.88707947619218, rel=1e-9)
    assert found.volume_ml * 1000 == pytest.approx(132.4257954551532, rel=1e-6)
