"""One window per volume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptseg.errors import SettingsError
from promptseg.volume import CT_PRESETS, Volume, Window, choose_window, parse_window


def test_apply_maps_low_to_0_the_level_to_a_half_and_high_to_1():
    window = Window.from_level_width(40.0, 400.0)
    assert (window.low, window.high, window.level, window.width) == (-160.0, 240.0, 40.0, 400.0)
    mapped = window.apply(np.array([-1000, -160, 40, 240, 3000], np.int16))
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, [0, 0, 0.5, 1, 1], atol=1e-6)


def test_apply_turns_nan_into_0_and_keeps_infinities_at_the_ends():
    mapped = Window(0.0, 10.0).apply(np.array([np.nan, -np.inf, np.inf, 5.0]))
    np.testing.assert_allclose(mapped, [0, 0, 1, 0.5])


@given(st.floats(-1e4, 1e4), st.floats(0.1, 1e4), st.lists(st.floats(-2e4, 2e4), min_size=2, max_size=20))
def test_apply_keeps_order_and_range(low, width, values):
    mapped = Window(low, low + width).apply(np.sort(values))
    assert (mapped >= 0).all()
    assert (mapped <= 1).all()
    assert (np.diff(mapped) >= 0).all()


@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_impossible_windows_are_refused(ends):
    with pytest.raises(SettingsError, match="low < high, got"):
        Window(*ends)


# Level and width as printed on radiopaedia.org, "Windowing (CT)".
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("soft-tissue", -160, 240), ("lung", -1350, 150), ("bone", -500, 1300), ("brain", 0, 80), ("liver", -45, 105)],
)
def test_presets(name, low, high):
    window = parse_window(name)
    assert (window.low, window.high, window.source) == (low, high, f"preset:{name}")


def test_level_and_width_by_hand():
    assert parse_window("30, 150") == Window(-45.0, 105.0, "user")


@pytest.mark.parametrize("text", ["softtissue", "1,2,3", "a,b", "", "40"])
def test_an_unknown_window_lists_what_there_is(text):
    with pytest.raises(SettingsError) as caught:
        parse_window(text)
    assert all(name in str(caught.value) for name in CT_PRESETS)
    assert repr(text) in str(caught.value)


def test_a_near_preset_is_suggested():
    with pytest.raises(SettingsError, match="did you mean 'soft-tissue'"):
        parse_window("soft-tisue")


@pytest.mark.parametrize("text", ["40,0", "40,-400", "nan,400", "40,inf"])
def test_a_width_that_is_not_positive_is_refused(text):
    with pytest.raises(SettingsError, match="low < high"):
        parse_window(text)


def values(low: float, high: float, dtype: type = np.int16) -> np.ndarray:
    ramp = np.random.default_rng(5).uniform(low, high, size=(6, 9, 11))
    ramp.flat[0], ramp.flat[-1] = low, high
    return ramp.astype(dtype)


def test_the_files_own_window_comes_first():
    own = Window(3.0, 4.0, "dicom")
    assert choose_window(values(-1000, 1000), modality="CT", dicom=own) is own


@pytest.mark.parametrize(
    ("array", "modality", "is_ct"),
    [
        (values(-1024, 1500), None, True),  # air to bone: HU
        (values(-1000, 3071), "CT", True),
        (values(0, 255), "CT", True),  # the file says so
        (values(-1000, 1500), "MR", False),  # the file says otherwise
        (values(-800, 1500), None, False),
        (values(0, 4095), None, False),
        (values(-1000, 30000), None, False),
        (values(-1000, -950), None, False),  # nothing but padding
    ],
)
def test_hounsfield_units_are_recognised(array, modality, is_ct):
    assert (choose_window(array, modality=modality).source == "preset:soft-tissue") == is_ct


def test_8_bit_pictures_keep_their_full_range():
    dull = np.full((4, 5, 6), 7, np.uint8)
    assert choose_window(dull) == Window(0.0, 255.0, "full range")


def test_percentiles_are_robust_against_a_few_hot_voxels():
    array = np.random.default_rng(7).normal(500, 50, size=(10, 40, 50)).astype(np.float32)
    expected = np.percentile(array, (0.5, 99.5))
    array[0, 0, :5] = 1e6
    window = choose_window(array)
    assert window.source == "percentiles"
    np.testing.assert_allclose((window.low, window.high), expected, rtol=0.03)


def test_a_background_of_one_value_does_not_rule_the_percentiles():
    rng = np.random.default_rng(8)
    tissue = rng.normal(500, 50, size=(10, 20, 20))
    array = np.zeros((10, 60, 60))
    array[:, 20:40, 20:40] = tissue
    np.testing.assert_allclose(
        (choose_window(array).low, choose_window(array).high), np.percentile(tissue, (0.5, 99.5)), rtol=0.02
    )


@pytest.mark.parametrize("value", [0, -3, 1200])
def test_a_constant_image_gets_a_window_that_holds_it(value):
    array = np.full((3, 4, 5), value, np.int16)
    window = choose_window(array)
    assert window.low <= value <= window.high
    assert np.isfinite(window.apply(array)).all()


def test_two_values_give_a_window_between_them():
    array = np.zeros((4, 30, 30), np.float32)
    array[:, 5:20, 5:20] = 1.0
    mapped = choose_window(array).apply(array)
    assert set(np.unique(mapped)) == {0.0, 1.0}


def test_nan_and_infinity_do_not_enter():
    array = values(10, 20, np.float64)
    clean = choose_window(array)
    dirty = np.concatenate([array, np.full((3, 9, 11), np.nan), np.full((1, 9, 11), np.inf)])
    np.testing.assert_allclose(
        (choose_window(dirty).low, choose_window(dirty).high), (clean.low, clean.high), rtol=0.01
    )


def test_nothing_finite_and_nothing_at_all_still_give_a_window():
    assert choose_window(np.full((2, 3, 4), np.nan)).width > 0
    assert choose_window(np.zeros((0, 3, 4))).width > 0


def test_the_window_is_of_the_volume_never_of_a_slice():
    """A tissue has one grey value on every slice, whatever else lies on it."""
    rng = np.random.default_rng(9)
    array = rng.normal(100, 5, size=(8, 30, 40)).astype(np.float32)
    array[5:] += 900
    array[:, 0, 0] = 321.0
    volume = Volume.from_array(array)
    shown = volume.window.apply(volume.array)
    assert len(set(shown[:, 0, 0])) == 1
    assert shown[:5].mean() < 0.2 < 0.8 < shown[5:].mean()


def test_large_volumes_are_sampled_evenly_over_all_slices():
    array = np.zeros((3, 1200, 1100), np.int16)
    array += np.arange(3, dtype=np.int16)[:, None, None] * 1000
    array[:, :, ::7] += 10
    window = choose_window(array)
    assert window.high >= 2000
