"""From files to a slice and its truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from bench_phantom import BALL, SHAPE, SPACING, TUBE, labels_array, write

from promptseg.bench.cases import Case, read_cases
from promptseg.bench.loading import CaseLoader
from promptseg.errors import GeometryMismatchError, PromptError, ReadError
from promptseg.prompts import Plane


def test_the_fullest_slice_is_cut_with_its_spacing(phantom: Path) -> None:
    ball, tube = read_cases(phantom / "cases.toml")
    task = CaseLoader().load_slice(ball)
    assert np.array_equal(task.truth, labels_array()[4] == BALL)  # through the ball's centre
    assert task.image.spacing_mm == pytest.approx((SPACING[1], SPACING[0]))
    assert task.image.pixels.dtype == np.float32
    assert task.image.pixels[task.truth].min() > task.image.pixels[~task.truth & (labels_array()[4] != TUBE)].max()
    assert np.array_equal(CaseLoader().load_slice(tube).truth, labels_array()[1] == TUBE)  # equal areas: the first


def test_another_plane_and_slice_can_be_named(phantom: Path) -> None:
    case = replace(read_cases(phantom / "cases.toml")[0], plane=Plane.CORONAL, slice_index=10)
    task = CaseLoader().load_slice(case)
    assert np.array_equal(task.truth, labels_array()[:, 10] == BALL)
    assert task.image.spacing_mm == pytest.approx((SPACING[2], SPACING[0]))
    with pytest.raises(PromptError, match="below 26"):
        CaseLoader().load_slice(replace(case, slice_index=26))
    with pytest.raises(PromptError, match="not there"):
        CaseLoader().load_slice(replace(case, slice_index=0))


def test_a_label_in_another_axis_order_is_refused_or_resampled_knowingly(phantom: Path) -> None:
    flipped = write(labels_array(), phantom / "flipped.nii.gz", flip_y=True)
    case = replace(read_cases(phantom / "cases.toml")[0], label=flipped)
    with pytest.raises(GeometryMismatchError, match="phantom/ball"):
        CaseLoader().load_volume(case)
    task = CaseLoader().load_volume(replace(case, resample=True))
    assert np.array_equal(task.truth, labels_array() == BALL)


def test_values_are_joined_or_all_taken(phantom: Path) -> None:
    case = read_cases(phantom / "cases.toml")[0]
    loader = CaseLoader()
    assert np.array_equal(loader.load_volume(replace(case, values=(BALL, TUBE))).truth, labels_array() > 0)
    assert np.array_equal(loader.load_volume(replace(case, values=())).truth, labels_array() > 0)
    with pytest.raises(ReadError, match="value 99"):
        loader.load_volume(replace(case, values=(99,)))


def test_the_loader_does_not_mix_up_files(phantom: Path) -> None:
    other = write((labels_array() == TUBE).astype(np.uint8) * BALL, phantom / "other.nii.gz")
    case, loader = read_cases(phantom / "cases.toml")[0], CaseLoader()
    assert np.array_equal(loader.load_volume(case).truth, labels_array() == BALL)
    assert np.array_equal(loader.load_volume(replace(case, label=other)).truth, labels_array() == TUBE)
    assert loader.load_volume(case).volume.shape == SHAPE


def test_an_outline_is_filled_and_a_soft_mask_cut_at_half(tmp_path: Path) -> None:
    image = np.full((40, 61), 90, np.uint8)
    outline = np.zeros((40, 61, 3), np.uint8)
    cv2.rectangle(outline, (10, 5), (30, 20), (255, 255, 255), 1)
    soft = np.zeros((40, 61), np.uint8)
    soft[8:20, 10:30], soft[8:20, 30] = 255, 90
    for name, pixels in (("image", image), ("outline", outline), ("soft", soft)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    case = Case("echo", tmp_path / "image.png", tmp_path / "outline.png", fill=True)
    expected = np.zeros((40, 61), bool)
    expected[5:21, 10:31] = True
    assert np.array_equal(CaseLoader().load_slice(case).truth, expected)
    soft_truth = CaseLoader().load_slice(replace(case, label=tmp_path / "soft.png", fill=False)).truth
    assert np.array_equal(soft_truth, soft == 255)


def test_a_ct_gets_the_soft_tissue_window_though_its_file_does_not_say_ct(phantom: Path) -> None:
    case = read_cases(phantom / "cases.toml")[0]
    window = CaseLoader().load_volume(replace(case, modality="CT")).volume.window
    assert (window.low, window.high) == (-160.0, 240.0)


def test_the_largest_piece_alone_and_a_persons_strokes(tmp_path: Path) -> None:
    labels = np.zeros((40, 61), np.uint8)
    labels[4:10, 5:11], labels[20:35, 30:55] = 3, 3
    strokes = np.zeros_like(labels)
    strokes[25, 35:50], strokes[2, :20] = 1, 2
    for name, picture in (("image", labels * 60), ("label", labels), ("strokes", strokes)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    case = Case("two", tmp_path / "image.png", tmp_path / "label.png", (3,), strokes=tmp_path / "strokes.png")
    whole, one = (CaseLoader().load_slice(replace(case, largest=largest)) for largest in (False, True))
    assert (whole.truth.sum(), one.truth.sum()) == (6 * 6 + 15 * 25, 15 * 25)
    assert one.strokes is not None
    assert one.strokes.dtype == np.int8
    assert (one.strokes[25, 40], one.strokes[2, 3], one.strokes[0, 0]) == (1, -1, 0)
    cv2.imwrite(str(tmp_path / "strokes.png"), strokes[:30])
    with pytest.raises(PromptError, match="40 x 61"):
        CaseLoader().load_slice(case)
    with pytest.raises(ReadError, match="elsewhere"):
        CaseLoader().load_slice(replace(case, strokes=tmp_path / "elsewhere.png"))
