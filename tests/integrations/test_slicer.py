"""What the Slicer module sends and gets, against a real server; Slicer itself is not here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptseg
from promptseg.app.settings import ServeSettings
from promptseg.volume import Geometry, Volume

from ..app.servers import InThread
from .loading import loaded

pytestmark = pytest.mark.server
GRID = Geometry((6, 40, 36), (0.8, 1.2, 2.5), (-20.0, 30.0, -400.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
REST: Any = loaded("slicer/PromptSeg/promptseg_rest.py")


def test_clicks_in_ras_make_labels_in_the_images_place(tmp_path: Path) -> None:
    values = np.full(GRID.shape, -900, np.int16)
    values[1:5, 10:30, 9:27] = 60
    (image, *_) = promptseg.write_volume(Volume.from_array(values, GRID, modality="CT"), tmp_path / "image.nrrd")
    x, y, z = GRID.voxel_to_world((2, 20, 18))
    with InThread(ServeSettings(data=tmp_path / "server", ui=False)) as url:
        session = REST.ServerSession(url, image, "classical")
        session.click([-x, -y, z])
        made = promptseg.read_labelmap(session.write_labels(tmp_path / "a.seg.nrrd"))
        assert made.array[2, 20, 18] == 1
        assert made.array[3, 20, 18] == 1  # through the volume
        assert made.geometry.same_as(GRID)
        session.undo()
        session.click([-x, -y, z], through=False)
        one = promptseg.read_labelmap(session.write_labels(tmp_path / "b.nii.gz"))
        assert np.flatnonzero(one.array.any(axis=(1, 2))).tolist() == [2]
        with pytest.raises(RuntimeError, match="outside"):
            session.click([1e6, 0, 0], through=False)
        session.close()
    with pytest.raises(RuntimeError, match="does not answer"):
        session.undo()


def test_the_module_is_python_that_slicer_can_read() -> None:
    file = Path(REST.__file__).with_name("PromptSeg.py")
    names = compile(file.read_text(encoding="utf-8"), str(file), "exec").co_names
    assert {"PromptSeg", "PromptSegWidget", "ServerSession"} <= set(
        names
    )  # Slicer looks for class names after the file
