"""A user's own trained nnU-Net folder as one more automatic engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_weights
from phantoms import turned
from wholebody_phantoms import expected

import promptseg
from promptseg.errors import ModelError
from promptseg.volume import Geometry, Volume

pytest.importorskip("totalsegmentator", reason="TotalSegmentator is not installed")

from promptseg.wholebody import WholeBody

NAMES = ("tumour", "cyst", "left kidney")
SHAPE = (14, 28, 30)
OBLIQUE = Geometry(SHAPE, (1.5, 2.0, 3.5), (11.5, -80.0, 33.3), turned(10, -15, 160))


@pytest.fixture
def scan() -> Volume:
    bands = expected(SHAPE, (0, 0, 0)) % 4  # 0 is background, 1 to 3 are the model's classes
    return Volume.from_array((tiny_weights.band_centre(0) + tiny_weights.BAND_WIDTH * bands).astype(np.int16), OBLIQUE)


def test_an_own_model_runs_like_a_task(tmp_path: Path, scan: Volume, run: Callable[..., tuple[int, str, str]]) -> None:
    folder = tiny_weights.write_own_model(tmp_path / "trained", NAMES, (3.5, 2.0, 1.5))
    engine = WholeBody(model_folder=folder.parent, device="cpu")  # the folder above will do when it holds one model
    result = engine.run(scan)
    assert [label.name for label in result.labelmap.labels.values()] == list(NAMES)
    assert result.labelmap.geometry.same_as(OBLIQUE)
    wanted = expected(SHAPE, (0, 0, 0)) % 4
    np.testing.assert_array_equal(result.labelmap.array, wanted)
    assert result.seconds["infer"] > 0

    promptseg.write_volume(scan, tmp_path / "scan.nii.gz")
    target = tmp_path / "own.seg.nrrd"
    code, out, err = run(
        "wholebody", tmp_path / "scan.nii.gz", "-o", target, "--model-folder", folder, "--device", "cpu"
    )
    assert code == 0, err
    assert "3 of 3 classes found" in out
    np.testing.assert_array_equal(promptseg.read_labelmap(target).array, wanted)
    code, _, err = run("wholebody", tmp_path / "scan.nii.gz", "-o", target, "--model-folder", folder, "--fast")
    assert code == 1
    assert "TotalSegmentator's tasks" in err


def test_the_same_as_nnunets_own_prediction(tmp_path: Path) -> None:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    noise = np.random.default_rng(5).integers(-900, 1100, SHAPE).astype(np.int16)
    scan = Volume.from_array(noise, OBLIQUE)
    folder = tiny_weights.write_own_model(tmp_path / "trained", NAMES, (3.0, 2.2, 1.9), kind="random")
    promptseg.write_volume(scan, tmp_path / "scan_0000.nii.gz")
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), None)
    predictor.predict_from_files_sequential([[str(tmp_path / "scan_0000.nii.gz")]], [str(tmp_path / "theirs")])
    theirs = promptseg.read_labelmap(tmp_path / "theirs.nii.gz").array
    ours = WholeBody(model_folder=folder, device="cpu").segment(scan).array
    assert len(np.unique(theirs)) > 1
    np.testing.assert_array_equal(ours, theirs)


def test_what_is_no_usable_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"plans\.json"):
        WholeBody(model_folder=tmp_path)
    folder = tiny_weights.write_own_model(tmp_path / "trained", NAMES, (3.0, 2.2, 1.9), kind="random")
    dataset = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**dataset, "channel_names": {"0": "T1", "1": "T2"}}))
    with pytest.raises(ModelError, match="one image channel"):
        WholeBody(model_folder=folder)
    (folder / "dataset.json").write_text(json.dumps({**dataset, "labels": []}))
    with pytest.raises(ModelError, match="labels"):
        WholeBody(model_folder=folder)
    (folder / "dataset.json").write_text(json.dumps(dataset))
    (folder / "fold_0" / "checkpoint_final.pth").unlink()
    with pytest.raises(ModelError, match="checkpoint_final"):
        WholeBody(model_folder=folder, device="cpu").load()
