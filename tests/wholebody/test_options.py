"""TotalSegmentator's options do here what they do there."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_weights
from phantoms import turned
from tiny_weights import BAND_WIDTH, band_centre
from wholebody_phantoms import blocks

import promptseg
from promptseg.errors import ModelError, SettingsError
from promptseg.volume import Geometry, Volume
from promptseg.wholebody import RunOptions, WholeBody
from promptseg.wholebody.cost import cost_of

SHAPE = (16, 30, 34)
GRID = Geometry(SHAPE, (3.0, 3.0, 3.0), (5.0, -7.5, 40.0), turned(0, 0, 180))
LIVER, SPLEEN = 5, 1  # in TotalSegmentator's table of the task total


@pytest.fixture
def fast(use_tiny: Callable[[str], Path]) -> Callable[..., WholeBody]:
    """The 3 mm network that answers intensities with classes, with options."""
    use_tiny("bands")
    return lambda **options: WholeBody("total", fast=True, device="cpu", statistics=True, options=RunOptions(**options))


def liver_and_a_crumb() -> Volume:
    """A liver of 8 x 12 x 12 voxels of 27 mm³, a crumb of 2 x 2 x 1 apart from it, and a spleen at the border."""
    array = np.full(SHAPE, band_centre(60), np.int16)
    array[4:12, 8:20, 6:18] = band_centre(LIVER)
    array[6:8, 24:26, 26] = band_centre(LIVER)
    array[:4, 22:30, 20:] = band_centre(SPLEEN)
    return Volume.from_array(array, GRID, modality="CT")


def test_values_out_of_range_are_refused_by_name() -> None:
    for name, value in (
        ("resampling_order", 6),
        ("resampling_threads", 0),
        ("remove_small_blobs_mm3", 0.0),
        ("model_size", "medium"),
        ("statistics_aggregation", "max"),
    ):
        with pytest.raises(SettingsError, match=name):
            RunOptions(**{name: value})


def test_every_option_is_an_argument_of_its_function() -> None:
    import inspect

    from totalsegmentator.python_api import totalsegmentator

    known = inspect.signature(totalsegmentator).parameters
    defaults = RunOptions().arguments()
    assert set(defaults) <= set(known)
    assert {name: known[name].default for name in defaults} == defaults


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"robust_crop": True}, [297, 291]),
        ({}, [298, 291]),
    ],
)
def test_a_robust_crop_asks_another_network(options: dict[str, Any], ids: list[int]) -> None:
    engine = WholeBody("total", roi_subset=["liver"], options=RunOptions(**options))
    assert [model.dataset_id for model in engine.models] == ids
    with pytest.raises(ModelError, match=r"Dataset29\d"):
        engine.require()


def test_body_seg_finds_the_body_first() -> None:
    engine = WholeBody("total", options=RunOptions(body_seg=True))
    assert [model.dataset_id for model in engine.models] == [300, 291, 292, 293, 294, 295]


def test_weights_that_are_certainly_needed_are_those_of_the_rehearsal() -> None:
    from promptseg.wholebody.totalseg import certain_weights

    for task in ("total", "total_mr", "total_v3"):
        for fast in (False, True):
            for options in (RunOptions(), RunOptions(robust_crop=True), RunOptions(body_seg=True)):
                for subset in ((), ("liver",)):
                    engine = WholeBody(task, fast=fast, roi_subset=subset, options=options)
                    assert set(certain_weights(engine.asked)) <= {model.name for model in engine.models}


def test_small_pieces_go_and_large_ones_stay(fast: Callable[..., WholeBody]) -> None:
    image = liver_and_a_crumb()
    whole, cleaned = fast().segment(image), fast(remove_small_blobs_mm3=200).segment(image)
    assert (whole.array[6:8, 24:26, 26] == LIVER).any()
    assert not (cleaned.array[6:8, 24:26, 26] == LIVER).any()
    np.testing.assert_array_equal(cleaned.array[5:11, 9:19, 7:17], LIVER)


def test_statistics_of_classes_at_the_border_and_their_median(fast: Callable[..., WholeBody]) -> None:
    image = liver_and_a_crumb()
    image.array[4:8, 8:20, 6:18] += 3  # within the liver's band
    usual = fast().run(image).statistics
    median = fast(statistics_aggregation="median", statistics_incomplete=True).run(image).statistics
    assert usual is not None
    assert median is not None
    assert usual["spleen"]["volume"] == 0
    assert median["spleen"]["volume"] == pytest.approx(27.0 * 4 * 8 * 14, rel=0.02)
    assert median["liver"]["intensity"] in (band_centre(LIVER), band_centre(LIVER) + 3)
    assert band_centre(LIVER) < usual["liver"]["intensity"] < band_centre(LIVER) + 3


def test_pieces_give_what_the_whole_gives_and_need_length(fast: Callable[..., WholeBody]) -> None:
    geometry = Geometry((70, 24, 26), (3.0, 3.0, 3.0))
    image = blocks(geometry)
    whole, pieces = fast().segment(image), fast(force_split=True).segment(image)
    assert (whole.array != pieces.array).mean() < 0.01  # half precision where the window weighs next to nothing
    assert cost_of(fast(force_split=True), image).bytes < cost_of(fast(), image).bytes
    with pytest.raises(ModelError, match="60 slices or more"):
        cost_of(fast(force_split=True), liver_and_a_crumb())


def test_nearest_neighbour_resampling_makes_no_class_between_two(fast: Callable[..., WholeBody]) -> None:
    fine = Geometry((24, 40, 44), (2.0, 2.0, 2.0))
    image = blocks(fine, (2, 60, 2, 60, 2, 60, 2, 60))
    assert set(np.unique(fast(resampling_order=0).segment(image).array)) <= {0, 2, 60}
    blended = {31} & set(np.unique(fast(resampling_threads=2).segment(image).array).tolist())
    assert blended == {31}  # order 1: half way between the two


def test_scores_brought_back_lie_where_the_classes_lie(fast: Callable[..., WholeBody]) -> None:
    fine = Geometry((24, 40, 44), (2.0, 2.0, 2.0), (3.0, 4.0, 5.0))
    image = blocks(fine)
    made = fast(higher_order_resampling=True).segment(image)
    bands = np.rint((image.array - band_centre(0)) / BAND_WIDTH)
    inner = (slice(2, 8), slice(3, 16), slice(3, 18))  # of the first block, clear of its faces: splines ring
    np.testing.assert_array_equal(made.array[inner], bands[inner])


def test_probabilities_are_kept_with_their_grid(fast: Callable[..., WholeBody], tmp_path: Path) -> None:
    engine = fast(probabilities=tmp_path / "scores")
    made = engine.segment(liver_and_a_crumb())
    (model,) = engine.models
    scores = np.load(tmp_path / "scores" / f"{model.name}.npz")["probabilities"]
    assert scores.shape[0] == 118
    assert sorted(scores.shape[1:]) == sorted(SHAPE)  # along the body's axes
    np.testing.assert_allclose(scores.sum(axis=0, dtype=np.float64), 1.0, atol=0.02)
    assert (scores.argmax(axis=0) == LIVER).sum() == (made.array == LIVER).sum()
    grid = pickle.loads((tmp_path / "scores" / f"{model.name}.pkl").read_bytes())
    assert tuple(grid["spacing"]) == pytest.approx((3.0, 3.0, 3.0))


def test_the_plan_counts_tiles_as_nnunet_does_and_grows_with_the_image(fast: Callable[..., WholeBody]) -> None:
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    engine = fast()
    geometry = Geometry((100, 90, 130), (1.0, 1.5, 3.0))  # 300 x 135 x 130 mm
    image = Volume.from_array(np.zeros(geometry.shape, np.int16), geometry, modality="CT")
    (one,) = cost_of(engine, image).passes
    assert one.shape == (43, 45, 100)
    steps = compute_steps_for_sliding_window((100, 45, 43), tiny_weights.PATCH, 0.8)
    assert one.tiles == np.prod([len(axis) for axis in steps])
    assert one.bytes == 2 * 118 * 43 * 45 * 100
    assert "1 network, up to 43 x 45 x 100 voxels" in str(cost_of(engine, image))


def test_the_command_line_takes_its_spelling_and_writes_what_goes_beside(
    use_tiny: Callable[[str], Path], run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    use_tiny("bands")
    image = liver_and_a_crumb()
    promptseg.write_volume(image, tmp_path / "scan.nii.gz")
    wanted = ("--fast", "--device", "gpu" if _gpu() else "cpu", "--remove_small_blobs", 200, "--statistics_extra")
    beside = ("--preview", "--report", tmp_path / "run.json", "--cropped", tmp_path / "part.nii.gz")
    code, out, err = run(
        "wholebody", tmp_path / "scan.nii.gz", "-o", tmp_path / "masks", "--per-class", *wanted, *beside
    )
    assert code == 0, err
    assert "plan: 1 network" in err
    assert (tmp_path / "masks" / "liver.nii.gz").is_file()
    assert (tmp_path / "masks" / "statistics.json").is_file()
    assert (tmp_path / "masks" / "preview.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((tmp_path / "run.json").read_text())
    assert report["task"] == "total"
    assert report["options"]["remove_small_blobs"] == 200
    assert "liver" in report["found"]
    assert set(report["files"]) >= {str(tmp_path / "part.nii.gz"), str(tmp_path / "masks" / "liver.nii.gz")}
    assert report["image"]["sha256"] == promptseg.read_volume(tmp_path / "scan.nii.gz").content_hash
    part = promptseg.read_volume(tmp_path / "part.nii.gz")
    np.testing.assert_allclose(  # the same voxel, wherever the part begins
        part.geometry.voxel_to_world((0, 0, 0)), image.geometry.voxel_to_world(_start(part, image)), atol=1e-3
    )
    assert "classes found" in out


def _start(part: Volume, whole: Volume) -> list[float]:
    return np.rint(whole.geometry.world_to_voxel(part.geometry.origin)).tolist()


def _gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())
