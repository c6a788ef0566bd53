"""What the 3D network is shown: half-open boxes and ranges, known slices, turned views."""

import numpy as np

from promptseg.models.families.builtin.volume_views import CHANNELS, draw_view, emboldened, with_previous
from promptseg.models.volume_predictor import AxisRange, KnownSlice, SliceBox, View, ViewPrompts


def test_the_predictor_draws_half_open_ranges_and_turns_the_prompted_axis_to_the_front():
    voxels = np.random.default_rng(0).random((16, 32, 48)).astype(np.float32)
    known = np.zeros((16, 48), bool)
    known[3:5, 7:20] = True
    prompts = ViewPrompts(box=SliceBox(1, 9, (2, 6, 5, 21)), span=AxisRange(1, 4, 17), known=(KnownSlice(1, 9, known),))
    maps = dict(zip(CHANNELS, draw_view(View(voxels, prompts), 1), strict=True))
    assert maps["image"].shape == (32, 16, 48)
    assert np.array_equal(np.argwhere(maps["box"]).min(0), (9, 2, 6))
    assert np.array_equal(np.argwhere(maps["box"]).max(0), (9, 4, 20))
    assert np.array_equal(np.flatnonzero((maps["range"] == 1).all((1, 2))), np.arange(4, 17))
    assert np.array_equal(maps["known"][9] == 1, known)
    assert not maps["known"][[8, 10]].any()
    assert not maps["previous"].any()


def test_the_nearest_click_or_stroke_counts_and_an_earlier_answer_is_shown_as_it_is():
    strokes = np.zeros((16, 32, 48), np.int8)
    strokes[2, 4:9, 30], strokes[12, 3, 3] = 1, -1
    prompts = ViewPrompts(
        np.array([(9.4, 20.6, 11), (99, 0, 0)], np.float32), np.array([True, False]), scribble=strokes
    )
    previous = np.random.default_rng(1).random(strokes.shape).astype(np.float32)
    view = View(np.zeros(strokes.shape, np.float32), prompts, previous)
    maps = dict(zip(CHANNELS, draw_view(view, 0), strict=True))
    marked = np.argwhere(maps["positive"] == 1)
    assert sorted(map(tuple, marked)) == [*((2, y, 30) for y in range(4, 9)), (9, 21, 11)]
    assert maps["positive"][9, 21, 16] == np.float32(np.exp(np.float32(-1)))
    assert np.array_equal(np.argwhere(maps["negative"] == 1), [(12, 3, 3)])
    np.testing.assert_allclose(maps["previous"], 2 * previous - 1)


def test_a_box_and_a_range_thinner_than_a_voxel_are_still_seen():
    prompts = ViewPrompts(box=SliceBox(0, 3, (5.1, 7.0, 5.3, 9.0)), span=AxisRange(0, 3.2, 3.3))
    maps = dict(zip(CHANNELS, draw_view(View(np.zeros((16, 16, 16), np.float32), prompts), 0), strict=True))
    assert np.array_equal(np.argwhere(maps["box"]), [(3, 5, 7), (3, 5, 8)])
    assert np.array_equal(np.flatnonzero(maps["range"][:, 0, 0] == 1), [3])


def test_an_emboldened_view_lets_clicks_reach_farther_and_may_hide_the_earlier_answer():
    prompts = ViewPrompts(np.array([(3, 20, 11), (8, 2, 40)], np.float32), np.array([True, False]))
    shape = (16, 32, 48)
    maps = draw_view(View(np.random.default_rng(4).random(shape).astype(np.float32), prompts, np.full(shape, 0.75)), 0)
    kept = maps.copy()
    for previous in (True, False):
        bold = dict(zip(CHANNELS, emboldened(maps, 12.0, previous), strict=True))
        for click, name in (((3, 20, 11), "positive"), ((8, 2, 40), "negative")):
            at = np.mgrid[:16, :32, :48] - np.reshape(click, (3, 1, 1, 1))
            np.testing.assert_allclose(bold[name], np.exp(-np.sqrt((at**2).sum(0)) / 12), rtol=1e-4)
        assert np.unique(bold["previous"]) == (0.5 if previous else 0)
        assert all(
            np.array_equal(bold[name], kept[CHANNELS.index(name)]) for name in ("image", "box", "range", "known")
        )
    other = dict(zip(CHANNELS, with_previous(maps, np.full(shape, 0.1, np.float32)), strict=True))
    np.testing.assert_allclose(other["previous"], -0.8, rtol=1e-6)
    assert np.array_equal(other["positive"], kept[CHANNELS.index("positive")])
    assert np.array_equal(maps, kept)
