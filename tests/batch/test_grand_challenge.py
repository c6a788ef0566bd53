"""The container contract of grand-challenge.org, as a command with folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from command_line import Ended, promptseg

from promptseg.batch.grand_challenge import annotated
from promptseg.errors import PromptError
from promptseg.prompts import Box, Point
from promptseg.volume import Geometry

GRID = Geometry((7, 40, 48), (0.9, 1.2, 3.0), (-12.0, 30.0, -55.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
INSIDE, OUTSIDE = (3, 20, 22), (3, 4, 44)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A bright ball on noise, written as the platform writes it."""
    z, y, x = np.indices(GRID.shape)
    ball = ((z - 3) * 3.0) ** 2 + ((y - 20) * 1.2) ** 2 + ((x - 22) * 0.9) ** 2 < 10.0**2
    values = np.random.default_rng(1).normal(0, 10, GRID.shape) + 200.0 * ball
    image = sitk.GetImageFromArray(values.astype(np.int16))
    image.SetSpacing(GRID.spacing)
    image.SetOrigin(GRID.origin)
    image.SetDirection(GRID.direction)
    (tmp_path / "input" / "images" / "ct").mkdir(parents=True)
    (tmp_path / "output").mkdir()
    sitk.WriteImage(image, str(tmp_path / "input" / "images" / "ct" / "1a2b.mha"), True)
    (tmp_path / "input" / "inputs.json").write_text("[]")
    np.save(tmp_path / "ball.npy", ball)
    return tmp_path


def _world(voxel: tuple[int, int, int]) -> list[float]:
    return [float(v) for v in GRID.voxel_to_world(voxel)]


def _run(case: Path, *more: str) -> Ended:
    return promptseg("grand-challenge", "--input", case / "input", "--output", case / "output", *more)


def _box() -> dict[str, Any]:
    corners = [_world((3, y, x)) for y, x in ((11, 10), (11, 34), (29, 34), (29, 10))]
    return {"type": "2D bounding box", "corners": corners, "name": "ball", "version": {"major": 1, "minor": 0}}


def test_a_case_from_box_and_points(case: Path) -> None:
    points = [{"name": "ball", "point": _world(INSIDE)}, {"name": "background", "point": _world(OUTSIDE)}]
    version = {"version": {"major": 1, "minor": 0}}
    (case / "input" / "lesion-clicks.json").write_text(
        json.dumps({"type": "Multiple points", "points": points, **version})
    )
    (case / "input" / "lesion-box.json").write_text(json.dumps(_box()))
    done = _run(case, "--interface", "lesion-mask")
    assert done.returncode == 0, done.stderr
    mask = sitk.ReadImage(str(case / "output" / "images" / "lesion-mask" / "1a2b.mha"))
    image = sitk.ReadImage(str(case / "input" / "images" / "ct" / "1a2b.mha"))
    assert mask.GetSize() == image.GetSize()
    assert mask.GetSpacing() == pytest.approx(image.GetSpacing())
    assert mask.GetOrigin() == pytest.approx(image.GetOrigin())
    assert mask.GetDirection() == pytest.approx(image.GetDirection())
    found, ball = sitk.GetArrayFromImage(mask) > 0, np.load(case / "ball.npy")
    assert 2 * (found & ball).sum() / (found.sum() + ball.sum()) > 0.8
    (entry,) = json.loads((case / "output" / "results.json").read_text())
    assert entry["outputs"] == [{"type": "metaio_image", "filename": "1a2b.mha"}]
    assert entry["volume_ml"]["ball"] == pytest.approx(found.sum() * 0.9 * 1.2 * 3.0 / 1000)


def test_our_own_prompt_list(case: Path) -> None:
    prompts = [{"type": "point", "voxel": list(INSIDE), "positive": True}]
    (case / "input" / "prompts.json").write_text(json.dumps(prompts))
    done = _run(case)
    assert done.returncode == 0, done.stderr
    assert (case / "output" / "images" / "segmentation" / "1a2b.mha").is_file()


def test_what_is_missing_is_said_and_nothing_is_written(case: Path) -> None:
    done = _run(case)
    assert done.returncode == 1
    assert "expected prompts as a JSON file" in done.stderr
    (case / "input" / "prompts.json").write_text("{")
    assert "expected JSON" in _run(case).stderr
    (case / "input" / "images" / "ct" / "1a2b.mha").unlink()
    done = _run(case)
    assert done.returncode == 1
    assert "expected one image at" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((case / "output").iterdir()) == []


def test_annotations_in_world_millimetres() -> None:
    ((name, box),) = annotated(_box(), GRID)
    assert (name, box) == ("ball", Box(voxel=((3, 11, 10), (4, 30, 35))))
    ((name, point),) = annotated({"type": "Point", "point": _world(OUTSIDE), "name": "Negative"}, GRID)
    assert isinstance(point, Point)
    assert not point.positive
    np.testing.assert_allclose(GRID.world_to_voxel(point.world or ()), OUTSIDE, atol=1e-9)
    with pytest.raises(PromptError, match="lacks a field"):
        annotated({"type": "Multiple points"}, GRID)
    with pytest.raises(PromptError, match="wrong value"):
        annotated({"type": "Point", "point": [1, "x", 2]}, GRID)
