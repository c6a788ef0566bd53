"""``promptseg check`` and ``deidentify`` on the command line: what is printed, written, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dicom_phantoms import write_dicom

from promptseg.cli.main import main
from promptseg.io import read_labelmap, read_volume, write_labelmap
from promptseg.volume import Geometry, Labelmap

SHAPE = (4, 12, 10)
ARRAY = (np.arange(480, dtype=np.int16) - 200).reshape(SHAPE)
FLAT = Geometry(SHAPE, (0.5, 0.6, 5.0), (3.0, -4.0, 20.0))


@pytest.fixture
def tilted(tmp_path: Path) -> Path:
    cosines = ["1", "0", "0", "0", f"{np.cos(0.2):.9f}", f"{-np.sin(0.2):.9f}"]
    return write_dicom(tmp_path / "tilted", ARRAY, FLAT, tags={"ImageOrientationPatient": cosines})[0].parent


def test_clean_is_0_and_errors_are_3(tmp_path: Path, tilted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dicom(tmp_path / "good", ARRAY, FLAT)
    assert main(["check", str(tmp_path / "good")]) == 0
    assert "no findings" in capsys.readouterr().out
    assert main(["check", str(tilted)]) == 3
    out = capsys.readouterr().out
    assert "error    gantry-tilt" in out
    assert "11.5 degrees" in out  # 0.2 radians


def test_json(tilted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tilted), "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert report["worst"] == "error"
    (finding,) = report["images"][0]["findings"]
    assert (finding["code"], finding["severity"], finding["done"]) == ("gantry-tilt", "error", "refused")


def test_fix_and_back(tilted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = tmp_path / "fixed.nii.gz"
    assert main(["check", str(tilted), "--fix", str(fixed)]) == 0
    shown = capsys.readouterr()
    assert "resampled onto a regular grid" in shown.out
    assert "fixed.slices.json" in shown.err
    volume = read_volume(fixed)
    mask = Labelmap((volume.array > 0).astype(np.uint8), volume.geometry)
    write_labelmap(mask, tmp_path / "mask.nrrd")
    command = ["check", str(fixed), "--back", str(tmp_path / "mask.nrrd"), "-o", str(tmp_path / "back")]
    assert main(command) == 0
    back = [read_labelmap(file) for file in sorted((tmp_path / "back").iterdir())]
    originals = sorted((read_volume(file) for file in tilted.iterdir()), key=lambda image: image.geometry.origin[2])
    assert len(back) == len(originals) == 4
    for part, original in zip(back, originals, strict=True):
        np.testing.assert_allclose(part.geometry.origin, original.geometry.origin, atol=1e-3)


def test_against(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_dicom(tmp_path / "good", ARRAY, FLAT)[0].parent
    write_labelmap(Labelmap(np.zeros(SHAPE, np.uint8), FLAT), tmp_path / "same.nrrd")
    moved = Geometry(SHAPE, FLAT.spacing, (3.25, -3.7, 22.5))
    write_labelmap(Labelmap(np.zeros(SHAPE, np.uint8), moved), tmp_path / "moved.nrrd")
    assert main(["check", str(folder), "--against", str(tmp_path / "same.nrrd")]) == 0
    assert "same-grid" in capsys.readouterr().out
    assert main(["check", str(folder), "--against", str(tmp_path / "moved.nrrd")]) == 3
    assert "half-voxel" in capsys.readouterr().out


def test_bad_usage(tmp_path: Path, tilted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tilted), "--back", str(tmp_path / "m.nrrd")]) == 2
    assert main(["check", str(tilted), "--fix", "a.nii.gz", "--against", "b.nii.gz"]) == 2
    assert main(["check", str(tmp_path / "none")]) == 1
    assert "no such file or folder" in capsys.readouterr().err


def test_deidentify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("dicomanonymizer", reason="the extra 'privacy' is not installed")
    folder = write_dicom(tmp_path / "series", ARRAY, FLAT)[0].parent
    assert main(["deidentify", str(folder), "-o", str(tmp_path / "out")]) == 0
    assert "wrote 4 images" in capsys.readouterr().out
    np.testing.assert_array_equal(read_volume(tmp_path / "out").array, ARRAY)
    assert main(["deidentify", str(folder), "-o", str(tmp_path / "out")]) == 1
    assert "expected a new or empty folder" in capsys.readouterr().err
