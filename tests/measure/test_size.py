"""One rule for units: ml of volumes, mm² of single slices, pixels where the file states no size; in every face."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from promptseg.cli.segment import label_rows
from promptseg.errors import ReadError
from promptseg.io import read_labelmap, read_volume, write_volume
from promptseg.measure.rows import MeasureRequest, measure_masks
from promptseg.measure.size import size_in_words, size_of
from promptseg.report.content import build_report
from promptseg.report.summary import summary_table
from promptseg.volume import Geometry, Label, Labelmap, Volume

METRIC = {"mm", "mm2", "ml", "cm2"}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    grey = np.zeros((40, 56), np.uint8)
    grey[10:20, 5:40] = np.arange(35, dtype=np.uint8) + 100
    Image.fromarray(grey).save(tmp_path / "photo.png")
    Image.fromarray((grey > 0).astype(np.uint8)).save(tmp_path / "mask.png")
    return tmp_path


def test_a_picture_has_no_millimetres_in_any_face(picture: Path) -> None:
    volume, mask = read_volume(picture / "photo.png"), read_labelmap(picture / "mask.png")
    for image in (volume, None):
        rows = measure_masks(mask, image)
        assert not METRIC & {row["unit"] for row in rows}
        assert [(row["value"], row["unit"]) for row in rows if row["name"] == "area"] == [(350, "px")]
    assert label_rows(mask)[0]["text"] == "350 pixels"
    structure = build_report(volume, mask).structures[0]
    assert not METRIC & {quantity.unit for quantity in structure.quantities}
    later = measure_masks(mask, volume, MeasureRequest(earlier=mask))
    assert not METRIC & {row["unit"] for row in later}


def test_a_stack_without_a_size_counts_voxels(tmp_path: Path) -> None:
    import tifffile

    stack = np.zeros((3, 40, 56), np.uint8)
    stack[1:, 10:20, 5:40] = 1
    tifffile.imwrite(tmp_path / "a.tif", stack, metadata=None, photometric="minisblack")
    mask = read_labelmap(tmp_path / "a.tif")
    rows = measure_masks(mask, None)
    assert not METRIC & {row["unit"] for row in rows}
    assert not [row for row in rows if row["name"] in ("volume", "mesh_volume")]
    assert label_rows(mask)[0]["text"] == "700 voxels"


def test_what_has_a_size_keeps_its_units() -> None:
    deep, flat = Geometry((3, 5, 7), (0.5, 2.0, 3.0)), Geometry((1, 5, 7), (0.5, 2.0, 3.0))
    assert (size_of(1000, deep).value, size_of(1000, deep).unit) == (pytest.approx(3.0), "ml")
    assert (size_of(10, flat).value, size_of(10, flat).unit) == (pytest.approx(10.0), "mm2")
    mask = Labelmap(np.ones(deep.shape, np.uint8), deep, {1: Label.default(1)})
    volume = next(row for row in measure_masks(mask, None) if row["name"] == "volume")
    assert (volume["value"], volume["unit"]) == (pytest.approx(0.315), "ml")


@pytest.mark.parametrize("spacing", ["1e-30 1 1", "1 9e-7 1", "1 1 2e5"])
@pytest.mark.parametrize("kind", ["mha", "nrrd"])
def test_spacings_that_no_image_has_are_refused(spacing: str, kind: str, tmp_path: Path) -> None:
    head = {
        "mha": f"NDims = 3\nDimSize = 5 4 3\nElementType = MET_UCHAR\nElementSpacing = {spacing}\n"
        "ElementDataFile = LOCAL\n",
        "nrrd": f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 5 4 3\nspacings: {spacing}\nencoding: raw\n\n",
    }[kind]
    (tmp_path / f"a.{kind}").write_bytes(head.encode() + bytes(60))
    with pytest.raises(ReadError, match=r"cannot read .* expected voxels between 1e-06 and 100000 mm"):
        read_volume(tmp_path / f"a.{kind}")


def test_micrometres_are_no_reason_to_refuse(tmp_path: Path) -> None:
    array = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
    write_volume(Volume.from_array(array, Geometry((3, 4, 5), (5e-4, 5e-4, 1e-3))), tmp_path / "a.nii.gz")
    assert [finding.code for finding in read_volume(tmp_path / "a.nii.gz").findings] == ["absurd-spacing"]


def test_a_stack_whose_slices_distance_is_assumed_has_no_volumes(tmp_path: Path) -> None:
    import tifffile

    array = np.zeros((4, 40, 56), np.uint16)
    array[1:3, 10:20, 5:40] = 700
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, resolution=(1.25, 1.25),
                     metadata={"axes": "ZYX", "unit": "mm"})  # fmt: skip
    volume = read_volume(tmp_path / "a.tif")
    masks = Labelmap((volume.array > 0).astype(np.uint8), volume.geometry, {1: Label.default(1)})
    assert masks.volume_ml(1) is None
    assert label_rows(masks)[0]["text"] == "700 voxels"
    units = {row["name"]: row["unit"] for row in measure_masks(masks, volume)}
    assert "ml" not in units.values()
    assert units["axial_long"] == "mm"  # 0.8 mm pixels are known
    assert "mesh_volume" not in units
    header, rows = summary_table(build_report(volume, masks))
    assert header[1:3] == ["Voxels", "Long × short, mm"] or header[1:3] == ["Voxels", "Axial, mm"]
    assert rows[0][1] == "700"


@pytest.mark.parametrize("slices", [1, 4])
def test_every_face_counts_voxels_where_no_size_is_known(slices: int, tmp_path: Path) -> None:
    from promptseg.batch.results import measured
    from promptseg.score.evaluate import evaluate

    array = np.zeros((slices, 9, 11), np.int16)
    array[:, 2:5, 3:8] = 50
    volume = Volume.from_array(array)  # without a frame: no size is known
    masks = Labelmap((array > 0).astype(np.uint8), volume.geometry, {1: Label.default(1)})
    count = 15 * slices
    assert masks.volume_ml(1) is None
    row = measured(masks, volume)[0]
    assert (row["volume_ml"], row["voxels"], row["size"]) == (
        None,
        count,
        size_in_words(size_of(count, masks.geometry)),
    )
    header, rows = summary_table(build_report(volume, masks))
    assert not [title for title in header[1:3] if "m" in title.split(", ")[-1]], header
    assert rows[0][1] == str(count)
    score = evaluate(masks, masks)[0]
    assert (score.truth_ml, score.prediction_ml) == (None, None)


def test_padding_counts_in_no_face_and_stops_none(tmp_path: Path) -> None:
    """One object of padding alone, one half of it: batch, table and report leave padding out."""
    from promptseg.batch.results import measured

    array = np.full((3, 6, 7), 40, np.int16)
    array[:, :2], array[:, 4:, 3] = -2000, 90
    plain = Volume.from_array(array, Geometry(array.shape, (0.7, 1.1, 3.0)))
    volume = replace(plain, padding=(-2000.0, -2000.0))
    labels = np.zeros(array.shape, np.uint8)
    labels[:, :1], labels[:, 1:] = 1, 2
    masks = Labelmap(labels, volume.geometry, {value: Label.default(value) for value in (1, 2)})
    truth = array[(labels == 2) & (array != -2000)].mean()
    empty, half = measured(masks, volume)
    assert "mean" not in empty
    assert half["mean"] == pytest.approx(truth)
    means = {row["label"]: row["value"] for row in measure_masks(masks, volume) if row["name"] == "mean"}
    assert means == {"label 2": pytest.approx(truth)}
    assert [structure.quantity("mean") is None for structure in build_report(volume, masks).structures] == [True, False]


def test_evaluation_of_pictures_counts_pixels(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from promptseg.cli.main import main

    assert main(["evaluate", str(picture / "mask.png"), str(picture / "mask.png")]) == 0
    printed = capsys.readouterr().out
    assert "HD95 px" in printed
    assert "mm" not in printed
