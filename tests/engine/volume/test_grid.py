"""A view's cells and the volume's voxels: compared with SimpleITK's resampling, and there and back."""

import numpy as np
import pytest
import SimpleITK as sitk

from promptseg.engine.volume.grid import ViewGrid, moved, sample, spread

SHAPE = (9, 31, 22)  # z, y, x


def smooth(seed=0, shape=SHAPE):
    image = sitk.GetImageFromArray(np.random.default_rng(seed).normal(size=shape).astype(np.float32))
    return sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(image, 2.0))


def resampled(array, grid):
    """The values at the cells' centres, by ITK: a voxel's centre is at its index."""
    image = sitk.GetImageFromArray(array)
    reference = sitk.Image(*(int(n) for n in grid.shape[::-1]), sitk.sitkFloat32)
    reference.SetSpacing([float(s) for s in grid.step[::-1]])
    reference.SetOrigin([a + s / 2 - 0.5 for a, s in zip(grid.low[::-1], grid.step[::-1], strict=True)])
    return sitk.GetArrayFromImage(sitk.Resample(image, reference, sitk.Transform(), sitk.sitkLinear))


def test_a_fine_view_is_interpolated_linearly():
    array = smooth()
    grid = ViewGrid((2.0, 5.5, 3.25), (0.5, 0.75, 1.0), (10, 24, 14))
    assert np.allclose(sample(lambda part: array[part], SHAPE, grid), resampled(array, grid), atol=1e-5)


def test_a_coarse_cell_is_the_mean_of_its_voxels():
    array = smooth(1, (12, 30, 20))
    grid = ViewGrid((0.0, 0.0, 0.0), (2.0, 3.0, 2.0), (6, 10, 10))
    means = array.reshape(6, 2, 10, 3, 10, 2).mean(axis=(1, 3, 5))
    assert np.allclose(sample(lambda part: array[part], array.shape, grid), means, atol=1e-5)


def test_where_cells_hold_many_voxels_only_some_are_read():
    read = []

    def values(part):
        read.append(part)
        z, y, x = (np.arange(300)[cut] for cut in part)
        return (z[:, None, None] + 2 * y[None, :, None] - x[None, None, :]).astype(np.float32)

    grid = ViewGrid((0.0, 0.0, 0.0), (10.0, 10.0, 10.0), (30, 30, 30))
    found = sample(values, (300, 300, 300), grid)
    at = np.arange(30) * 10 + 4.5
    expected = at[:, None, None] + 2 * at[None, :, None] - at[None, None, :]
    assert np.abs(found - expected)[1:-1, 1:-1, 1:-1].max() < 0.6
    assert all(cut.step == 5 for part in read for cut in part)


def test_beyond_the_border_the_nearest_voxel_goes_on():
    array = smooth(2)
    grid = ViewGrid((-20.0, -8.0, 15.0), (1.0, 1.0, 1.0), (12, 20, 20))
    found = sample(lambda part: array[part], SHAPE, grid)
    assert np.allclose(found[:, 8:, :7], array[0, :12, 15:22], atol=1e-6)
    assert np.allclose(found[0, 8:, 7:], array[0, :12, 21:], atol=1e-6)
    assert not grid.inside(SHAPE).any()


@pytest.mark.parametrize(
    ("step", "off"),
    [((0.5, 0.5, 0.5), 1e-3), ((1.0, 1.0, 1.0), 1e-3), ((1.7, 2.6, 1.3), 0.5)],  # a mean of 1.7 voxels is off by parts
)
def test_what_is_linear_comes_back_as_it_was(step, off):
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(np.float32)
    array = 3 * z - 2 * y + x
    cells = tuple(int(np.ceil((n + 8) / s)) for n, s in zip(SHAPE, step, strict=True))
    grid = ViewGrid((-4.0, -4.0, -4.0), step, cells)
    region = grid.region(SHAPE)
    assert region == tuple(slice(0, n) for n in SHAPE)
    values = sample(lambda part: array[part], SHAPE, grid)
    back = np.stack([plane for _, plane in spread(values, grid, region)])
    inner = (slice(3, -3),) * 3
    assert np.abs(back - array)[inner].max() < off


def test_a_region_holds_the_voxels_whose_centres_lie_in_the_view():
    grid = ViewGrid((1.6, -3.0, 10.5), (1.0, 1.0, 1.0), (3, 10, 40))
    assert grid.region(SHAPE) == (slice(2, 5), slice(0, 7), slice(10, 22))


def test_positions_in_cells_and_moving_between_views():
    grid = ViewGrid((2.0, 4.0, 6.0), (2.0, 0.5, 1.0), (4, 8, 8))
    assert grid.to_cells((2.5, 4.0, 6.0)) == (0.0, 0.5, 0.0)
    assert grid.edge_to_cells(1, 5.0) == 2.0
    values = np.arange(4 * 8 * 8, dtype=np.float32).reshape(4, 8, 8)
    shifted = ViewGrid((4.0, 5.0, 6.0), (2.0, 0.5, 1.0), (4, 8, 8))
    found = moved(values, grid, shifted)
    assert np.allclose(found[:3, :6], values[1:, 2:])
    assert not found[3].any()
    assert not found[:, 6:].any()
