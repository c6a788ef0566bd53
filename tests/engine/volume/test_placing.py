"""Where views lie: around what was said, in mm, with every click inside."""

import numpy as np
import pytest

from promptseg.engine.volume.grid import ViewGrid
from promptseg.engine.volume.placing import Frame, around, around_box, as_deep_as_wide, closer, grown, with_clicks
from promptseg.engine.volume.told import Click, PlacedBox, Told
from promptseg.prompts import Plane

FRAME = Frame((40, 200, 300), (5.0, 0.8, 0.8), (64, 64, 64))  # z, y, x: thick slices


def sides_mm(grid):
    return [(b - a) * mm for a, b, mm in zip(grid.low, grid.high, FRAME.spacing_mm, strict=True)]


def test_a_box_with_a_range_has_room_around_it():
    grid = around_box(PlacedBox(Plane.AXIAL, 12, (50, 60, 110, 160)), (0, 6, 20), FRAME)
    assert np.allclose([a + b for a, b in zip(grid.low, grid.high, strict=True)], (26, 160, 220))
    assert np.allclose(np.subtract(grid.high, grid.low), (14 * 1.2, 60 * 1.55, 100 * 1.55))


@pytest.mark.parametrize(("plane", "axis"), [(Plane.AXIAL, 0), (Plane.CORONAL, 1), (Plane.SAGITTAL, 2)])
def test_a_flat_box_is_taken_to_be_as_deep_as_wide_in_any_plane(plane, axis):
    grid = around_box(PlacedBox(plane, 20, (4, 100, 34, 160)), None, FRAME)
    assert (grid.low[axis] + grid.high[axis]) / 2 == pytest.approx(20.5)
    across = [side for a, side in enumerate(sides_mm(grid)) if a != axis]
    assert sides_mm(grid)[axis] == pytest.approx(max(across), rel=0.01)


def test_no_view_is_much_longer_than_wide_nor_of_a_few_voxels():
    assert max(sides := sides_mm(around((0, 90, 10), (1, 92, 290), (1.3,) * 3, FRAME))) == pytest.approx(
        280 * 0.8 * 1.3
    )
    assert min(sides) >= max(sides) / 4 - 1e-6
    tiny = around((10, 90, 90), (11, 92, 92), (1.3,) * 3, FRAME)
    assert (np.subtract(tiny.high, tiny.low) >= 8).all()


def test_every_click_lies_inside():
    grid = ViewGrid.between((5, 50, 50), (15, 90, 90), (64, 64, 64))
    assert with_clicks(grid, [Click((10, 70, 70), True)]) is grid
    clicks = [Click((2, 70, 70), True), Click((10, 95, 60), False)]
    wider = with_clicks(grid, clicks)
    for click in clicks:
        assert all(1 < at < 62 for at in wider.to_cells(click.voxel))
    assert wider.low[2] == pytest.approx(50)


def test_it_grows_where_it_cuts_the_object_but_not_beyond_volume_and_range():
    grid = ViewGrid.between((5, 50, 50), (15, 90, 90), (64, 64, 64))
    mask = np.zeros((64, 64, 64), np.bool_)
    mask[20:40, 20:64, 20:40] = True
    wider = grown(grid, mask, Told(), FRAME)
    assert wider.high[1] == pytest.approx(104)
    assert wider.low == pytest.approx(grid.low)
    mask[:, 20:40, 20:40] = True
    assert grown(grid, mask, Told(span=(0, 5, 15)), FRAME).low[0] == pytest.approx(5)
    assert grown(grid, mask, Told(), FRAME).low[0] == pytest.approx(1.5)
    assert grown(grid, np.zeros_like(mask), Told(), FRAME) is None


def test_a_small_object_is_looked_at_from_nearer():
    grid = ViewGrid.between((0, 0, 0), (40, 200, 200), (64, 64, 64))
    mask = np.zeros((64, 64, 64), np.bool_)
    mask[28:36, 20:30, 40:50] = True
    near = closer(grid, mask, Told(clicks=(Click((20, 78, 140), True),)), FRAME)
    assert all(step < before for step, before in zip(near.step, grid.step, strict=True))
    low, high = near.to_cells((28 * 0.625, 20 * 3.125, 40 * 3.125)), near.to_cells((36 * 0.625, 30 * 3.125, 50 * 3.125))
    assert min(low) > 0
    assert max(high) < 63
    mask[:, :, :] = True
    assert closer(grid, mask, Told(), FRAME) is None


def test_a_flat_mask_gets_depth():
    (z0, y0, x0), (z1, y1, x1) = as_deep_as_wide(((10, 50, 60), (11, 90, 160)), FRAME)
    assert (y0, x0, y1, x1) == (50, 60, 90, 160)
    assert (z1 - z0) * 5.0 >= 40 * 0.8
    assert z0 + z1 == 21
