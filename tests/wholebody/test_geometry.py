"""Whatever way an image lies in its file, its labels come back on its own grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_weights
from phantoms import turned
from wholebody_phantoms import CLASSES, blocks, expected, lying

from promptseg.errors import GeometryMismatchError, ModelError
from promptseg.volume import Geometry, Volume
from promptseg.wholebody import WholeBody

SHAPE = (16, 30, 34)
STRAIGHT = Geometry(SHAPE, (2.0, 2.5, 4.0), (-31.5, 112.25, -640.125))
MARGIN = (1, 2, 2)  # voxels: the network's 3 mm and the linear interpolation blur the faces between blocks


@pytest.fixture
def engine(warm: Callable[[str], WholeBody]) -> WholeBody:
    return warm("bands")


def test_labels_lie_where_the_intensities_lie(engine: WholeBody) -> None:
    volume = blocks(STRAIGHT)
    made = engine.segment(volume)
    wanted = expected(SHAPE, MARGIN)
    assert made.geometry == volume.geometry
    assert set(np.unique(wanted)) == {-1, *CLASSES}
    np.testing.assert_array_equal(made.array[wanted >= 0], wanted[wanted >= 0])


@pytest.mark.parametrize(
    ("order", "flipped"),
    [
        ((0, 1, 2), (True, False, True)),
        ((2, 0, 1), (False, True, False)),
        ((1, 2, 0), (True, True, True)),
    ],
)
def test_flipped_and_turned_files_give_the_same_labels_in_space(
    engine: WholeBody, order: tuple[int, int, int], flipped: tuple[bool, bool, bool]
) -> None:
    volume = blocks(STRAIGHT)
    straight = engine.segment(volume)
    other = lying(volume, order, flipped)
    made = engine.segment(other)
    assert made.geometry == other.geometry
    back = lying(Volume.from_array(straight.array, straight.geometry), order, flipped)
    assert back.geometry.same_as(made.geometry)
    np.testing.assert_array_equal(made.array, back.array)


@pytest.mark.parametrize("angles", [(12.0, -25.0, 14.0), (-8.0, 20.0, 172.0)])
def test_oblique_images_keep_their_grid(engine: WholeBody, angles: tuple[float, float, float]) -> None:
    oblique = Geometry(SHAPE, STRAIGHT.spacing, STRAIGHT.origin, turned(*angles))
    made = engine.segment(blocks(oblique))
    wanted = expected(SHAPE, MARGIN)
    assert made.geometry == oblique
    np.testing.assert_array_equal(made.array[wanted >= 0], wanted[wanted >= 0])


MR_CLASSES = (5, 2, 3, 1, 30, 41, 21, 50)  # of both networks of total_mr


@pytest.mark.parametrize(
    ("task", "options", "classes"),
    [
        ("total", {}, CLASSES),  # five networks at 1.5 mm
        ("total", {"roi_subset": ("liver", "heart")}, CLASSES),  # a 6 mm network finds the region of two of them first
        ("total_mr", {}, MR_CLASSES),  # two networks
        ("vertebrae_mr", {}, (5, 2, 3, 1, 12, 14, 21, 22)),  # one
    ],
)
def test_other_tasks_on_an_oblique_flipped_image(
    task: str, options: dict[str, Any], classes: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "models" / "totalsegmentator" / "nnunet" / "results"
    tiny_weights.write_task(weights, task, "bands")
    tiny_weights.write_tiny_weights(weights, 298, kind="bands")
    monkeypatch.setenv("PROMPTSEG_MODELS", str(tmp_path / "models"))
    oblique = Geometry(SHAPE, STRAIGHT.spacing, STRAIGHT.origin, turned(-8.0, 20.0, 172.0))
    turns = (2, 0, 1), (True, False, True)
    image = lying(blocks(oblique, classes), *turns)
    engine = WholeBody(task, device="cpu", **options)
    made = engine.segment(image)
    wanted = expected(SHAPE, MARGIN, classes)
    wanted[~np.isin(wanted, [-1, *engine.labels])] = 0
    laid = lying(Volume.from_array(wanted, oblique), *turns).array
    assert made.geometry == image.geometry
    found, known = made.array[laid >= 0], laid[laid >= 0]
    wrong = found != known
    assert wrong.mean() < 0.02  # in the image's corners, where nnU-Net's window has next to no weight, ...
    assert not found[wrong].any()  # ... half precision leaves background


def test_labels_on_another_grid_are_refused() -> None:
    import nibabel

    from promptseg.wholebody.networks import from_nifti, to_nifti

    volume = blocks(STRAIGHT)
    image = to_nifti(volume)
    np.testing.assert_allclose(  # RAS: x and y change sign, and the corner voxel is where LPS says
        image.affine @ [33, 29, 15, 1], [*(STRAIGHT.voxel_to_world((15, 29, 33)) * [-1, -1, 1]), 1]
    )
    shifted = image.affine.copy()
    shifted[0, 3] += 0.5
    labels = np.zeros(image.shape, np.uint8)
    from_nifti(nibabel.Nifti1Image(labels, image.affine), volume)
    with pytest.raises(GeometryMismatchError, match="grid"):
        from_nifti(nibabel.Nifti1Image(labels, shifted), volume)


def test_what_is_no_grey_volume_is_refused(engine: WholeBody) -> None:
    with pytest.raises(ModelError, match="several slices"):
        engine.segment(Volume.from_array(np.zeros((1, 20, 20), np.int16), Geometry((1, 20, 20))))
    with pytest.raises(ModelError, match="colour"):
        engine.segment(Volume.from_array(np.zeros((4, 20, 20, 3), np.uint8), Geometry((4, 20, 20))))
