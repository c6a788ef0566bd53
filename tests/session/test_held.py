"""A session as a value of Python."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptseg
from promptseg.errors import PromptsegError, SettingsError, WriteError
from promptseg.volume import Geometry, Labelmap, Volume

GRID = Geometry((4, 30, 34), (0.8, 1.2, 2.5), (-20.0, 30.0, -400.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))


@pytest.fixture
def volume() -> Volume:
    array = np.full(GRID.shape, -900, np.int16)
    array[1:3, 8:20, 9:22] = 60
    return Volume.from_array(array, GRID, modality="CT")


def test_a_with_block_gives_the_folder_back(volume: Volume, tmp_path: Path) -> None:
    (scan, *_) = promptseg.write_volume(volume, tmp_path / "scan.nii.gz")
    with promptseg.open_session(scan, "classical", folder=tmp_path / "work") as session:
        session.new_label("liver")
    with pytest.raises(WriteError, match="closed"):
        session.new_label("spleen")
    assert [label.name for label in promptseg.resume(tmp_path / "work").labels.values()] == ["liver"]


def test_its_text_says_what_it_is(volume: Volume) -> None:
    session = promptseg.open_session(volume, "classical")
    assert repr(session) == "<Session classical on 4 x 30 x 34 voxels (z, y, x): no labels yet>"
    for number in range(7):
        session.new_label(f"part {number}")
    assert "part 0, part 1, part 2, part 3, part 4, 2 more" in repr(session)
    labelmap = Labelmap(np.zeros(GRID.shape, np.uint8), GRID, session.labels)
    assert "part 6" in repr(labelmap)
    assert max(len(repr(one)) for one in (session, session.volume, labelmap)) < 400


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_is_never_copied(volume: Volume, way: Any) -> None:
    session = promptseg.open_session(volume, "classical")
    with pytest.raises(TypeError, match="labelmap"):
        way(session)
    session.new_label("liver")
    twin = session.twin()  # the one way, for exports beside the work
    session.new_label("spleen")
    assert [label.name for label in twin.labels.values()] == ["liver"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"window": (40, 400)}, "LEVEL,WIDTH"),
        ({"window": "lungg"}, "did you mean 'lung'"),
        ({"modality": 5}, "modality"),
        ({"options": {}}, "EngineOptions"),
    ],
)
def test_wrong_types_are_refused_at_once(volume: Volume, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        promptseg.open_session(volume, "classical", **wrong)


@pytest.mark.parametrize("wrong", [3, None, b"scan", {"a": 1}, [], [1, 2], object(), np.zeros((3, 4, 5))])
def test_what_is_no_image_is_refused_with_what_is_taken(wrong: Any) -> None:
    with pytest.raises(PromptsegError, match=r"expected (a path|an image that says where it lies)"):
        promptseg.open_session(wrong, "classical")
