"""nnInteractive's published clients get a 3D network's answers: whole objects, and corrections across slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from promptseg.models.loading import load_predictor
from promptseg.prompts import Box, Point
from promptseg.session.session import Session
from promptseg.volume import Geometry, Volume

remote = pytest.importorskip("nnInteractive.inference.remote.remote_session")

SHAPE, SPACING = (22, 34, 42), (3.0, 1.0, 1.0)
BOX = [[10, 11], [7, 23], [14, 35]]  # on the object's middle slice
LEFT_OUT = (16, 15, 24)  # six slices away from it


def _scan() -> np.ndarray:
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    inside = ((z - 10) / 8) ** 2 + ((y - 15) / 8) ** 2 + ((x - 24) / 11) ** 2 <= 1
    return (60 + 90 * inside + np.random.default_rng(5).normal(0, 5, SHAPE)).astype(np.float32)


@pytest.fixture
def client(listen: Callable[..., str]) -> Iterator[Any]:
    session = remote.nnInteractiveRemoteInferenceSession(listen(models=("builtin",)))
    session.set_image(_scan()[None], {"spacing": np.array(SPACING)})
    session.set_target_buffer(np.zeros(SHAPE, np.uint8))
    yield session
    session.close()


def test_a_client_gets_what_the_volume_engine_answers(client: Any) -> None:
    ours = Session(Volume.from_array(_scan(), Geometry(SHAPE, SPACING[::-1])), load_predictor("builtin"))
    client.add_bbox_interaction(BOX, include_interaction=True)
    (z, y, x) = BOX
    ours.add(Box(voxel=((z[0], y[0], x[0]), (z[1], y[1], x[1]))))
    boxed = client.target_buffer.copy()
    np.testing.assert_array_equal(boxed != 0, ours.mask())
    assert ours.probabilities().max() > 0.5  # a 3D network's
    assert np.count_nonzero(boxed.any(axis=(1, 2))) >= 8  # of 17 slices

    changed = client.add_point_interaction(LEFT_OUT, include_interaction=boxed[LEFT_OUT] == 0)
    ours.add(Point(voxel=LEFT_OUT, positive=bool(boxed[LEFT_OUT] == 0)))
    np.testing.assert_array_equal(client.target_buffer != 0, ours.mask())
    assert changed is not None
    assert changed[0][1] - changed[0][0] > 1  # a click corrects more than its own slice
    assert client.undo()
    np.testing.assert_array_equal(client.target_buffer, boxed)
