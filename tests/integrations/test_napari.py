"""What the napari plugin does with a layer; layers are played by their attributes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import promptseg

from .loading import loaded

CLICKS: Any = loaded("napari/napari_promptseg/clicks.py")


def layer(data: np.ndarray, scale: list[float], translate: list[float], rotate: Any = None) -> SimpleNamespace:
    turned = np.eye(data.ndim) if rotate is None else rotate
    return SimpleNamespace(
        data=data, scale=scale, translate=translate, rotate=turned, shear=np.zeros(3), ndim=data.ndim
    )


def block() -> np.ndarray:
    data = np.full((5, 30, 34), -900, np.int16)
    data[1:4, 8:20, 10:24] = 60
    return data


def test_a_layer_lies_where_napari_shows_it() -> None:
    volume = CLICKS.volume_of(layer(block(), [2.5, 1.2, 0.8], [7.0, -3.0, 11.0]))
    assert volume.geometry.spacing == (0.8, 1.2, 2.5)
    np.testing.assert_allclose(volume.geometry.voxel_to_world((1, 2, 3)), [11 + 2.4, -3 + 2.4, 7 + 2.5])
    with pytest.raises(promptseg.PromptsegError, match="turned"):
        CLICKS.volume_of(layer(block(), [1, 1, 1], [0, 0, 0], rotate=np.rot90(np.eye(3))))


def test_clicks_make_labels_of_the_layers_shape() -> None:
    clicks = CLICKS.Clicks(layer(block(), [2.5, 1.2, 0.8], [0, 0, 0]), "classical")
    one = clicks.click((2, 14, 17))
    assert one.shape == (5, 30, 34)
    assert one[2, 14, 17] == 1
    assert not one[1].any()
    assert clicks.propagate()[1, 14, 17] == 1
    clicks.undo()
    assert not clicks.undo().any()
    assert not clicks.undo().any()  # nothing is left to take back


def test_a_picture_is_one_slice() -> None:
    clicks = CLICKS.Clicks(layer(block()[2], [0.5, 0.5], [0, 0]), "classical")
    made = clicks.click((14, 17))
    assert made.shape == (30, 34)
    assert made[14, 17] == 1
