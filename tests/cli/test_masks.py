"""The commands export, import, measure and evaluate, from end to end."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from promptseg.cli.main import main
from promptseg.io import read_labelmap, write_labelmap, write_volume
from promptseg.volume import Geometry, Label, Labelmap, Volume

GRID = Geometry((6, 20, 26), (0.8, 1.2, 2.5), (-20.0, 30.0, -400.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
LABELS = {1: Label(1, "liver", (230, 159, 0)), 4: Label(4, "tumour", (86, 180, 233))}


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    array = np.zeros(GRID.shape, np.uint8)
    array[1:5, 4:14, 5:15] = 1
    array[2:4, 6:10, 8:13] = 4
    return write_labelmap(Labelmap(array, GRID, LABELS), tmp_path / "mask.nii.gz")[0]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    values = np.arange(np.prod(GRID.shape), dtype=np.int16).reshape(GRID.shape)
    return write_volume(Volume.from_array(values, GRID, modality="CT"), tmp_path / "image.nii.gz")[0]


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A DICOM series on ``GRID``, written with the least that a slice needs."""
    folder = tmp_path / "series"
    folder.mkdir()
    axes = np.asarray(GRID.direction).reshape(3, 3)
    for z in range(GRID.shape[0]):
        item = pydicom.Dataset()
        item.file_meta = pydicom.dataset.FileMetaDataset()
        item.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        item.SOPClassUID, item.SOPInstanceUID = pydicom.uid.CTImageStorage, f"1.2.3.{z + 1}"
        item.StudyInstanceUID, item.SeriesInstanceUID, item.FrameOfReferenceUID = "1.2.4", "1.2.5", "1.2.6"
        item.PatientName, item.PatientID, item.Modality = "Doe^Jane", "SECRET-4711", "CT"
        item.Rows, item.Columns = GRID.shape[1:]
        item.ImagePositionPatient = [f"{v:.6f}" for v in GRID.voxel_to_world((z, 0, 0))]
        item.ImageOrientationPatient = [f"{v:.6f}" for v in (*axes[:, 0], *axes[:, 1])]
        item.PixelSpacing, item.SliceThickness, item.InstanceNumber = ["1.2", "0.8"], "2.5", str(z + 1)
        item.SamplesPerPixel, item.PhotometricInterpretation, item.PixelRepresentation = 1, "MONOCHROME2", 1
        item.BitsAllocated, item.BitsStored, item.HighBit = 16, 16, 15
        item.PixelData = np.zeros(GRID.shape[1:], np.int16).tobytes()
        item.save_as(folder / f"{z}.dcm", enforce_file_format=True)
    return folder


@pytest.mark.parametrize("kind", ["seg", "labelmap", "rtstruct"])
def test_there_and_back(
    kind: str, mask: Path, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, back = tmp_path / "out.dcm", tmp_path / "back.nii.gz"
    assert main(["export", str(mask), "--image", str(series), "-o", str(made), "--as", kind]) == 0
    assert main(["import", str(made), "--image", str(series), "-o", str(back)]) == 0
    assert np.array_equal(read_labelmap(back).array, read_labelmap(mask).array)
    assert [label.name for label in read_labelmap(back).labels.values()] == ["liver", "tumour"]
    assert main(["evaluate", str(made), str(mask), "--image", str(series)]) == 0
    out, err = capsys.readouterr()
    assert f"wrote {made}" in out
    assert out.count("1.0000") == 6
    assert "Doe" not in out + err
    assert "4711" not in out + err


def test_refusals_say_what_to_do(
    mask: Path, image: Path, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        (["export", str(mask), "-o", str(tmp_path / "a.dcm")], "without --image"),
        (["export", str(mask), "-o", str(tmp_path / "a.dcm"), "--image", str(image)], "holds no DICOM image"),
        (["export", str(mask), "-o", str(tmp_path / "a.nii.gz")], "convert --mask"),
        (["export", str(mask), "-o", str(tmp_path / "a.dcm"), "--as", "sog"], "seg"),
        (["export", str(mask), "-o", str(tmp_path / "a.stl")], "choose one label"),
        (["import", str(mask), "-o", str(tmp_path / "a.nii.gz")], "expected a DICOM SEG or RTSTRUCT"),
        (["measure", str(mask), "--label", "lever"], "liver"),
        (["measure", str(mask), "--fraction", "tumour"], "LESION:ORGAN"),
    ):
        assert main(arguments) == 1
        err = capsys.readouterr().err
        assert said in err
        assert "Traceback" not in err


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_without_its_image_a_dicom_mask_is_read_on_the_other_masks_grid(
    kind: str, mask: Path, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "made.dcm"
    assert main(["export", str(mask), "--image", str(series), "-o", str(made), "--as", kind]) == 0
    for pair in ([made, mask], [mask, made]):
        assert main(["evaluate", *map(str, pair)]) == 0
        assert capsys.readouterr().out.count("1.0000") == 6
    moved = Geometry(GRID.shape, GRID.spacing, (-20.3, 30.0, -401.0), GRID.direction)
    other = write_labelmap(Labelmap(read_labelmap(mask).array, moved, LABELS), tmp_path / "moved.nii.gz")[0]
    if kind == "seg":
        assert main(["evaluate", str(made), str(other)]) == 1
        assert "--resample" in capsys.readouterr().err


def test_an_rtstruct_needs_its_image(
    mask: Path, series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "rt.dcm"
    assert main(["export", str(mask), "--image", str(series), "-o", str(made), "--as", "rtstruct"]) == 0
    assert main(["measure", str(made)]) == 1
    assert "give the image" in capsys.readouterr().err


def test_provenance_of_a_prompt_log(mask: Path, series: Path, tmp_path: Path) -> None:
    log = tmp_path / "prompts.json"
    log.write_text(json.dumps([{"type": "point", "voxel": [2, 7, 9]}]))
    made = tmp_path / "seg.dcm"
    assert main(["export", str(mask), "--image", str(series), "-o", str(made), "--log", str(log)]) == 0
    first = pydicom.dcmread(made).SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert "prompt_kinds=point:1" in first.AlgorithmParameters
    assert "log_sha256=" in first.AlgorithmParameters


def test_measure(mask: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "table.csv"
    assert main(["measure", str(mask), str(image), "--fraction", "tumour:liver", "-o", str(table)]) == 0
    assert "axial_long" in capsys.readouterr().out
    rows = {(row["label"], row["name"]): row for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines())}
    assert float(rows["tumour", "volume"]["value"]) == pytest.approx(2 * 4 * 5 * 0.8 * 1.2 * 2.5 / 1000)
    assert rows["tumour", "volume"]["unit"] == "ml"
    assert float(rows["tumour:liver", "lesion_fraction"]["value"]) == pytest.approx(10.0)
    inside = read_labelmap(mask).array == 4
    values = np.arange(inside.size).reshape(inside.shape)[inside]
    assert float(rows["tumour", "mean"]["value"]) == pytest.approx(values.mean())
    assert all(row["definition"] for row in rows.values())
    assert main(["measure", str(mask), "--label", "4", "-o", str(tmp_path / "table.json")]) == 0
    assert {row["label"] for row in json.loads((tmp_path / "table.json").read_text())} == {"tumour"}


def test_measure_refuses_another_grid(mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = Geometry(GRID.shape, GRID.spacing, (-20.0, 30.0, -395.0), GRID.direction)
    other = write_volume(Volume.from_array(np.zeros(GRID.shape, np.int16), moved), tmp_path / "other.nii.gz")[0]
    assert main(["measure", str(mask), str(other)]) == 1
    assert "same grid" in capsys.readouterr().err


def test_evaluate_tables(mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = read_labelmap(mask)
    only = Labelmap(np.where(truth.array == 1, np.uint8(1), np.uint8(0)), GRID, {1: LABELS[1]})
    guess = write_labelmap(only, tmp_path / "guess.nii.gz")[0]
    assert main(["evaluate", str(guess), str(mask), "-o", str(tmp_path / "t.csv"), "--tolerance", "2"]) == 0
    assert main(["evaluate", str(guess), str(mask), "-o", str(tmp_path / "t.json")]) == 0
    rows = {row["label"]: row for row in csv.DictReader((tmp_path / "t.csv").read_text(encoding="utf-8").splitlines())}
    assert (float(rows["liver"]["dice"]), float(rows["tumour"]["dice"])) == (1.0, 0.0)
    assert rows["tumour"]["hd95_mm"] == "inf"
    assert rows["liver"]["tolerance_mm"] == "2.0"
    assert {row["label"]: row["hd95_mm"] for row in json.loads((tmp_path / "t.json").read_text())}["tumour"] is None
    assert "NSD at 2 mm" in capsys.readouterr().out


def test_mesh(mask: Path, tmp_path: Path) -> None:
    assert main(["export", str(mask), "-o", str(tmp_path / "a.stl"), "--label", "tumour"]) == 0
    assert main(["export", str(mask), "-o", str(tmp_path / "a.obj")]) == 0
    assert (tmp_path / "a.stl").stat().st_size > 84
    assert (tmp_path / "a.mtl").is_file()


def _box_mask(path: Path, corner: tuple[int, int, int], spacing: float = 2.0, name: str = "ventricle") -> str:
    geometry = Geometry((12, 30, 28), (spacing, 1.5, 4.0), (7.0, -3.0, 50.0))
    array = np.zeros(geometry.shape, np.uint8)
    array[: corner[0], : corner[1], : corner[2]] = 1
    write_labelmap(Labelmap(array, geometry, {1: Label.default(1, name)}), path)
    return str(path)


def _rows(path: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(path.read_text())}


def test_ejection_fraction_of_two_phases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Boxes of known volume: 10x20x10 and 10x10x10 voxels."""
    diastole, systole = _box_mask(tmp_path / "d.nrrd", (10, 20, 10)), _box_mask(tmp_path / "s.nrrd", (10, 10, 10))
    assert main(["measure", diastole, "--end-systole", systole, "-o", str(tmp_path / "t.json")]) == 0
    row = _rows(tmp_path / "t.json")["ejection_fraction"]
    assert (row["value"], row["unit"]) == (pytest.approx(50.0), "%")
    assert "J Am Soc Echocardiogr" in row["definition"]
    assert main(["measure", systole, "--end-systole", diastole]) == 1
    assert "are the phases swapped?" in capsys.readouterr().err


def test_change_between_two_times_on_two_grids(tmp_path: Path) -> None:
    """The later scan has other voxels: 10 columns of 2 mm, then 10 of 3 mm."""
    before, after = _box_mask(tmp_path / "b.nrrd", (5, 8, 10)), _box_mask(tmp_path / "a.nrrd", (5, 8, 10), 3.0)
    assert main(["measure", after, "--earlier", before, "-o", str(tmp_path / "t.json")]) == 0
    rows = _rows(tmp_path / "t.json")
    assert rows["volume_change"]["value"] == pytest.approx(5 * 8 * 10 * 1.5 * 4.0 * (3.0 - 2.0) / 1000)
    assert rows["volume_change_percent"]["value"] == pytest.approx(50.0)
    assert rows["axial_long_change"]["unit"] == "mm"
    assert rows["axial_long_change"]["value"] > 5


def test_cup_to_disc_of_a_fundus_mask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array = np.zeros((1, 60, 50), np.uint8)
    array[0, 10:50, 5:45] = 1
    array[0, 20:40, 15:27] = 2
    labels = {1: Label.default(1, "disc"), 2: Label.default(2, "cup")}
    write_labelmap(Labelmap(array, Geometry(array.shape), labels), tmp_path / "f.seg.nrrd")
    table = tmp_path / "t.json"
    assert main(["measure", str(tmp_path / "f.seg.nrrd"), "--cup-to-disc", "cup:disc", "-o", str(table)]) == 0
    rows = _rows(table)
    assert rows["cup_to_disc_vertical"]["value"] == pytest.approx(20 / 40)
    assert rows["cup_to_disc_horizontal"]["value"] == pytest.approx(12 / 40)
    assert rows["cup_to_disc_area"]["value"] == pytest.approx(240 / 1600)
    assert main(["measure", str(tmp_path / "f.seg.nrrd"), "--cup-to-disc", "cup"]) == 1
    assert "expected --cup-to-disc CUP:DISC" in capsys.readouterr().err


def test_combine_files_of_one_class_each_and_group_them(mask: Path, tmp_path: Path) -> None:
    folder = tmp_path / "classes"
    folder.mkdir()
    whole = read_labelmap(mask)
    for value, name in ((1, "lung_left"), (4, "lung_right")):
        write_labelmap(Labelmap((whole.array == value).astype(np.uint8), GRID, {}), folder / f"{name}.nii.gz")
    assert main(["combine", str(folder), "-o", str(tmp_path / "all.seg.nrrd")]) == 0
    made = read_labelmap(tmp_path / "all.seg.nrrd")
    assert [label.name for label in made.labels.values()] == ["lung_left", "lung_right"]
    np.testing.assert_array_equal(made.array, np.where(whole.array == 4, 2, whole.array))
    group = ["--label", "lung=lung_*", "-o", str(tmp_path / "lung.nii.gz")]
    assert main(["combine", str(tmp_path / "all.seg.nrrd"), *group]) == 0
    np.testing.assert_array_equal(read_labelmap(tmp_path / "lung.nii.gz").mask("lung"), whole.array > 0)
