"""Tilted and uneven series, written by the test, read onto a regular grid; their masks go back to the slices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from promptseg.errors import ReadError
from promptseg.io import read_labelmap, read_volume, write_labelmap
from promptseg.io.regrid import read_regridded, read_slices, slices_path, write_mask_slices, write_slices
from promptseg.volume import Geometry, Labelmap

Series = Callable[..., list[Path]]
SHAPE = (8, 20, 24)
TILT = np.radians(18)
LEANING = Geometry(SHAPE, (0.9, 0.7, 3.0), (-10.0, 4.0, 100.0), (1, 0, 0, 0, np.cos(TILT), np.sin(TILT),
                                                                0, -np.sin(TILT), np.cos(TILT)))  # fmt: skip


def _field(world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intensity that is linear in space, so that linear interpolation gives it back without error."""
    return np.asarray(world @ np.array([7.0, -5.0, 9.0]) - 900)


def _tilted(write_series: Series, heights: list[float], **options: Any) -> list[Path]:
    """Slices with a leaning normal, whose table moves along z to these heights: values of ``_field``."""
    rows, columns = np.indices(SHAPE[1:])
    axes = np.reshape(LEANING.direction, (3, 3))
    origins = [np.add(LEANING.origin, (0, 0, h)) for h in heights]
    place = rows[..., None] * 0.7 * axes[:, 1] + columns[..., None] * 0.9 * axes[:, 0]
    array = np.stack([np.rint(_field(origin + place)) for origin in origins]).astype(np.int16)
    return write_series(
        array, LEANING, each=lambda z: {"ImagePositionPatient": [f"{v:.8g}" for v in origins[z]]}, **options
    )


EVEN = [3.0 * z for z in range(8)]
UNEVEN = [0.0, 4.0, 8.0, 9.1, 16.0, 23.0, 30.0, 37.0]


@pytest.mark.parametrize("heights", [EVEN, UNEVEN])
def test_values_stand_where_they_were(write_series: Series, heights: list[float]) -> None:
    files = _tilted(write_series, heights)
    with pytest.raises(ReadError, match=r"tilted by 18\.0 degrees.*--fix"):
        read_volume(files)
    made = read_regridded(files)
    volume, slices = made.volume, made.slices
    index = np.indices(volume.shape).reshape(3, -1).T
    world = volume.geometry.voxel_to_world(index)
    # inside all slices: half a pixel or more from their edges, and between the first and the last
    local = (world[:, None] - np.asarray(slices.positions)) @ np.reshape(LEANING.direction, (3, 3))
    inside = (local[..., 0] >= 0) & (local[..., 0] <= 0.9 * 23) & (local[..., 1] >= 0) & (local[..., 1] <= 0.7 * 19)
    sure = inside.all(axis=1)
    assert sure.sum() > 500
    assert np.abs(volume.array.ravel()[sure] - _field(world[sure])).max() <= 1.5  # stored and returned as integers
    codes = [finding.code for finding in volume.findings]
    assert codes == (["gantry-tilt"] if heights is EVEN else ["gantry-tilt", "uneven-gaps"])
    assert all(finding.done == "resampled" for finding in volume.findings)


def test_read_volume_fixes_on_request(write_series: Series) -> None:
    files = _tilted(write_series, UNEVEN)
    fixed = read_volume(files[0].parent, fix=True)
    np.testing.assert_array_equal(fixed.array, read_regridded(files).volume.array)
    assert fixed.modality == "CT"


def test_a_mask_drawn_on_the_grid_goes_back_to_the_slices(write_series: Series, tmp_path: Path) -> None:
    files = _tilted(write_series, UNEVEN)
    made = read_regridded(files)
    mask = (made.volume.array > 150).astype(np.uint8)
    assert 0.1 < mask.mean() < 0.9
    write_labelmap(Labelmap(mask, made.volume.geometry), tmp_path / "mask.nii.gz")
    write_slices(made.slices, slices_path(tmp_path / "fixed.nii.gz"))

    slices = read_slices(tmp_path / "fixed.nii.gz")
    written = write_mask_slices(slices, read_labelmap(tmp_path / "mask.nii.gz"), tmp_path / "back")
    assert [file.name for file in written] == [f"slice_{n:04d}.seg.nrrd" for n in range(1, 9)]
    originals = sorted((read_volume(file) for file in files), key=lambda image: image.geometry.origin[2])
    # how much the field changes over the largest shift, and what rounding to integers adds
    step = np.linalg.norm([7.0, -5.0, 9.0]) * slices.largest_shift_mm + 1.5
    for file, original in zip(written, originals, strict=True):
        part = read_labelmap(file)
        np.testing.assert_allclose(part.geometry.affine[:3, :2], original.geometry.affine[:3, :2], atol=1e-4)
        np.testing.assert_allclose(part.geometry.origin, original.geometry.origin, atol=1e-3)
        sure = np.abs(original.array - 150.0) > step
        np.testing.assert_array_equal(part.array[sure], (original.array > 150)[sure])


def test_labels_drawn_on_the_slices_return_bit_for_bit(write_series: Series) -> None:
    slices = read_regridded(_tilted(write_series, UNEVEN)).slices
    labels = np.random.default_rng(1).integers(0, 4, SHAPE, dtype=np.uint8)
    np.testing.assert_array_equal(slices.to_slices(slices.to_grid(labels)), labels)


def test_missing_slices_are_filled_between(
    write_series: Series, lettered: NDArray[np.int16], oblique: Geometry
) -> None:
    files = write_series(lettered, oblique)
    import pydicom

    kept = [file for file in files if pydicom.dcmread(file).InstanceNumber != 2]
    made = read_regridded(kept)
    assert made.volume.shape == (4, 5, 7)
    np.testing.assert_array_equal(made.volume.array[[0, 2, 3]], lettered[[0, 2, 3]])
    np.testing.assert_allclose(made.volume.array[1], (lettered[0].astype(float) + lettered[2]) / 2, atol=0.5)
    np.testing.assert_allclose(made.volume.geometry.affine, oblique.affine, atol=1e-3)
    assert [finding.code for finding in made.volume.findings] == ["missing-slices"]


def test_a_regular_series_keeps_its_voxels(
    write_series: Series, lettered: NDArray[np.int16], oblique: Geometry
) -> None:
    made = read_regridded(write_series(lettered, oblique))
    np.testing.assert_array_equal(made.volume.array, lettered)
    assert [finding.code for finding in made.volume.findings] == ["regular"]


def test_repeated_images_are_left_out(write_series: Series, lettered: NDArray[np.int16], oblique: Geometry) -> None:
    files = write_series(lettered, oblique) + write_series(
        lettered[:1], oblique, folder="again", tags={"SOPInstanceUID": "1.2.3.99"}
    )
    made = read_regridded(files)
    np.testing.assert_array_equal(made.volume.array, lettered)
    assert "1 image(s) repeat another one" in made.volume.findings[0]
    other = write_series(lettered[:1] + 1, oblique, folder="changed")
    with pytest.raises(ReadError, match="5 images lie at only 4 positions"):
        read_regridded(files[:4] + other)


def test_colours(write_series: Series) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    heights = np.cumsum([0, 3, 3, 6, 3, 3, 3, 3])
    files = write_series(
        colours, Geometry(SHAPE, (0.9, 0.7, 3.0)), each=lambda z: {"ImagePositionPatient": [0, 0, int(heights[z])]}
    )
    made = read_regridded(files)
    np.testing.assert_array_equal(made.volume.array[made.slices.corners[:2, 0]], colours[:2])


def test_what_cannot_be_resampled_says_so(
    write_series: Series, lettered: NDArray[np.int16], oblique: Geometry, tmp_path: Path
) -> None:
    one = write_series(lettered[:1], oblique, folder="one")
    with pytest.raises(ReadError, match="two places at least"):
        read_regridded(one[0])
    with pytest.raises(ReadError, match=r"fixed\.slices\.json: it should tell"):
        read_slices(tmp_path / "fixed.nii.gz")
    (tmp_path / "bad.slices.json").write_text('{"format": 1')
    with pytest.raises(ReadError, match="no JSON file"):
        read_slices(tmp_path / "bad.slices.json")
    (tmp_path / "bad.slices.json").write_text("[]")
    with pytest.raises(ReadError, match="'promptseg slices'"):
        read_slices(tmp_path / "bad.slices.json")


def test_real_tilted_uneven_series(shared_data: Path) -> None:
    made = read_regridded(shared_data / "robustness" / "ct_ge_gantrytilt_uneven_gap")
    slices = made.slices
    assert [finding.code for finding in made.volume.findings] == ["gantry-tilt", "uneven-gaps"]
    assert made.volume.geometry.spacing[2] <= 1.0811  # the smallest gap of its headers
    labels = np.random.default_rng(5).integers(0, 3, (10, 512, 512), dtype=np.uint8)
    np.testing.assert_array_equal(slices.to_slices(slices.to_grid(labels)), labels)
    assert slices.largest_shift_mm < 0.5 * np.linalg.norm(made.volume.geometry.spacing)
