"""``promptseg segment``: several outputs at once, mistakes said before the work, results as JSON."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dicom_phantoms
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

import promptseg.api
from promptseg.cli.segment import NOT_ALL_WRITTEN
from promptseg.volume import Geometry

GRID = Geometry((6, 30, 34), (0.8, 1.2, 2.5), (-20.0, 30.0, -400.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
SLICES = np.full(GRID.shape, -900, np.int16)
SLICES[1:5, 10:22, 9:24] = 60
CLASSICAL = ("--model", "classical")


@pytest.fixture
def nothing_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the image is a failure: what is wrong must have been said before."""

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("the image was read before the mistake was told")

    monkeypatch.setattr("promptseg.io.read_volume", refuse)
    monkeypatch.setattr(promptseg.api, "open_session", refuse)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["-o", "{scan}"], "which it would replace"),
        (["-o", "{folder}/no/such/m.nii.gz"], "does not exist"),
        (["-o", "m.xyz"], "ends with one of"),
        (["-o", "{folder}/m.nii.gz", "-o", "{folder}/m.nii.gz"], "different names"),
        (["-o", "{folder}/m.dcm"], "holds no DICOM image"),
        (["-o", "{folder}/m.dcm", "--as", "sog"], "did you mean 'seg'"),
        (["-o", "{folder}/m.nii.gz", "--window", "lug"], "did you mean 'lung'"),
        (["-o", "{folder}/m.nii.gz", "--model", "medsam"], "medsam"),
        (["-o", "{folder}/m.nii.gz", "--device", "gpuu"], "did you mean"),
    ],
)
@pytest.mark.usefixtures("nothing_opened")
def test_mistakes_are_told_before_the_work(
    scan: Path, program: Callable[..., Any], options: list[str], sentence: str
) -> None:
    given = [option.format(scan=scan, folder=scan.parent) for option in options]
    done = program("segment", scan, "--point", "2,20,18", *given)
    assert (done.code, done.out) == (1, "")
    assert sentence in done.err
    assert [path.name for path in scan.parent.iterdir()] == ["scan.nii.gz"]


def test_several_outputs_and_json(scan: Path, program: Callable[..., Any], tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in ("m.nii.gz", "m.csv", "m.stl")]
    done = program(
        *("segment", scan, "--box", "2,9,8,3,31,28", "--label", "block", *CLASSICAL, "--json"),
        *(word for output in outputs for word in ("-o", output)),
    )
    assert done.code == 0, done.err
    assert all(output.is_file() for output in outputs)
    mask = sitk.ReadImage(str(outputs[0]))
    count = int((sitk.GetArrayFromImage(mask) == 1).sum())
    assert done.data["labels"] == [
        {
            "value": 1,
            "name": "block",
            "voxels": count,
            "volume_ml": pytest.approx(count * 0.8 * 1.2 * 2.5 / 1000),
            "text": f"{count * 0.8 * 1.2 * 2.5 / 1000:.2f} ml",
        }
    ]
    assert set(map(str, outputs)) <= set(done.data["files"])
    with outputs[1].open(encoding="utf-8", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert float(rows["volume"]["value"]) == pytest.approx(count * 0.8 * 1.2 * 2.5 / 1000)


def test_a_recist_line_of_a_dicom_series_becomes_seg_and_measurements(
    tmp_path: Path, program: Callable[..., Any]
) -> None:
    folder = tmp_path / "series"
    dicom_phantoms.write_dicom(folder, SLICES, GRID)
    shape = promptseg.read_volume(folder).shape
    y, x = shape[1] // 2, shape[2] // 2
    seg, table = tmp_path / "lesion.dcm", tmp_path / "lesion.csv"
    line = f"{shape[0] // 2},{y},{x - 2},{y},{x + 2}"
    done = program("segment", folder, "--recist", line, "--label", "lesion", *CLASSICAL, "-o", seg, "-o", table)
    assert done.code == 0, done.err
    made = pydicom.dcmread(seg)
    assert made.SegmentSequence[0].SegmentLabel == "lesion"
    images = {pydicom.dcmread(path).SOPInstanceUID for path in folder.iterdir()}
    referred = made.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {item.ReferencedSOPInstanceUID for item in referred} <= images
    assert "axial_long" in table.read_text(encoding="utf-8")


def test_one_output_that_fails_keeps_the_others(
    scan: Path, program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise promptseg.errors.WriteError("cannot write it: No space left on device")

    monkeypatch.setattr("promptseg.export.mesh.write_mesh", full)
    outputs = ("-o", tmp_path / "m.stl", "-o", tmp_path / "m.nrrd")
    done = program("segment", scan, "--box", "2,9,8,3,31,28", *CLASSICAL, *outputs)
    assert done.code == NOT_ALL_WRITTEN
    assert (tmp_path / "m.nrrd").is_file()
    assert "error: cannot write it: No space left" in done.err


def test_a_scribble_is_a_stroke_through_its_corners(scan: Path, program: Callable[..., Any], tmp_path: Path) -> None:
    done = program(
        *("segment", scan, "--scribble", "2,12,11/2,28,24/2,12,24", "--no-propagate", *CLASSICAL, "-o", tmp_path / "r")
    )
    assert done.code == 0, done.err
    log = promptseg.api.read_log(tmp_path / "r" / "prompts.json")
    voxels = np.array(log.entries[-1]["prompts"][0]["voxels"])
    assert {(2, 12, 11), (2, 20, 18), (2, 28, 24), (2, 12, 24)} <= {tuple(voxel) for voxel in voxels.tolist()}
    assert (np.abs(np.diff(np.sort(np.unique(voxels[:, 1])))) <= 1).all()


def test_verbose_says_what_is_done_and_quiet_nothing(scan: Path, program: Callable[..., Any], tmp_path: Path) -> None:
    given = ("segment", scan, "--point", "2,20,18", *CLASSICAL, "-o", tmp_path / "m.nii.gz")
    said = program(*given, "-v").err
    assert "scan.nii.gz" in said
    assert "classical" in said
    assert program(*given, "--quiet").err == ""


def test_ctrl_c_says_what_stands(
    scan: Path, program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(promptseg.Session, "add", stop)
    done = program("segment", scan, "--point", "2,20,18", *CLASSICAL, "-o", tmp_path / "m.nii.gz")
    assert (done.code, done.err) == (130, "promptseg: interrupted; nothing was written\n")


def test_the_mode_decides_who_answers_and_only_a_3d_network_has_probabilities(
    scan: Path, program: Callable[..., Any], tmp_path: Path
) -> None:
    given = ("segment", scan, "--box", "1,10,9,5,30,27", "--probabilities", tmp_path / "p.nii.gz", "--json", "-o")
    done = program(*given, tmp_path / "v.nii.gz", "--mode", "volume")
    assert done.code == 0, done.err
    assert str(tmp_path / "p.nii.gz") in done.data["files"]
    image, mask, found = (sitk.ReadImage(str(path)) for path in (scan, tmp_path / "v.nii.gz", tmp_path / "p.nii.gz"))
    for made in (mask, found):
        assert made.GetSize() == image.GetSize()
        np.testing.assert_allclose(made.GetOrigin(), image.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(made.GetDirection(), image.GetDirection(), atol=1e-6)
    probability, segmented = sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(mask) == 1
    assert 0 <= probability.min() < 0.1 < 0.9 < probability.max() <= 1
    np.testing.assert_array_equal(probability > 0.5, segmented)

    walked = program(*given, tmp_path / "s.nii.gz", "--mode", "slices")
    assert walked.code == 1
    assert "3D network" in walked.err
    assert not (tmp_path / "s.nii.gz").exists()
    unknown = program(*given, tmp_path / "s.nii.gz", "--mode", "volum")
    assert unknown.code == 1
    assert "volume" in unknown.err
