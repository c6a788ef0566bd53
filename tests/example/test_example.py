"""The shipped example is what its generator makes, and it can catch mixed-up axes, sides and frames."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from promptseg.example import (
    example_path,
    example_prompts_path,
    example_truth,
    example_truth_path,
    example_volume,
    write_example,
)
from promptseg.prompts import Box, prompt_from_dict
from promptseg.volume import Labelmap, Volume

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def volume() -> Volume:
    return example_volume()


@pytest.fixture(scope="module")
def truth() -> Labelmap:
    return example_truth()


def test_the_generator_makes_the_shipped_voxels_prompts_and_frame_again(tmp_path_factory):
    folder = tmp_path_factory.mktemp("again") / "new folder"
    written = {path.name: path for path in write_example(folder)}
    for shipped in (example_path(), example_truth_path()):
        made, kept = sitk.ReadImage(str(written[shipped.name])), sitk.ReadImage(str(shipped))
        np.testing.assert_array_equal(sitk.GetArrayViewFromImage(made), sitk.GetArrayViewFromImage(kept))
        for name in ("GetSpacing", "GetOrigin", "GetDirection", "GetPixelIDTypeAsString"):
            assert getattr(made, name)() == getattr(kept, name)()
    made, kept = (json.loads(p.read_text()) for p in (written["prompts.json"], example_prompts_path()))
    assert made["entries"] == kept["entries"]


def test_the_grid_is_anisotropic_non_cubic_oblique_and_off_origin(volume, truth):
    geometry = volume.geometry
    assert len(set(geometry.shape)) == 3
    assert max(geometry.spacing) / min(geometry.spacing) > 2
    degrees = np.degrees(np.arccos(np.diag(np.reshape(geometry.direction, (3, 3)))))
    assert (degrees > 2).all()
    assert min(abs(v) for v in geometry.origin) > 100
    assert geometry.same_as(truth.geometry)
    assert np.linalg.det(np.reshape(geometry.direction, (3, 3))) == pytest.approx(1, abs=1e-5)


def test_the_organs_lie_where_a_patient_has_them(truth):
    """LPS: x grows to the patient's left, y to the back, z to the head."""
    center = {
        label.name: truth.geometry.voxel_to_world(np.argwhere(truth.mask(value)).mean(axis=0))
        for value, label in truth.labels.items()
    }
    for right, left in (("liver", "spleen"), ("kidney_right", "kidney_left"), ("lung_right", "lung_left")):
        assert center[right][0] < center["aorta"][0] < center[left][0]
    assert center["kidney_left"][1] > center["liver"][1]
    for lung in ("lung_right", "lung_left"):
        assert center[lung][2] > center["liver"][2] > center["kidney_right"][2]
    assert center["kidney_left"][2] > center["kidney_right"][2]  # the liver pushes the right one down
    assert np.linalg.norm(center["lesion"] - center["liver"]) < 60


# Portal venous CT, mean HU: liver about 100-120, spleen 110-130, kidneys 130-200, aorta 120-160, lung -700 to -850;
# volumes in ml of adults: liver 900-2000, spleen 80-350, kidney 100-200 without its sinus.
@pytest.mark.parametrize(
    ("name", "hu", "ml"),
    [
        ("liver", (90, 125), (900, 2000)),
        ("spleen", (90, 135), (80, 350)),
        ("kidney_left", (130, 200), (100, 200)),
        ("kidney_right", (130, 200), (100, 200)),
        ("aorta", (110, 165), (50, 150)),
        ("lung_left", (-850, -650), (400, 2500)),
        ("lung_right", (-850, -650), (400, 2500)),
        ("lesion", (40, 85), (5, 60)),
    ],
)
def test_hounsfield_units_and_volumes_are_those_of_an_adult(volume, truth, name, hu, ml):
    assert hu[0] < volume.array[truth.mask(name)].mean() < hu[1]
    assert ml[0] < truth.volume_ml(name) < ml[1]


def test_edges_are_blurred_and_noise_is_correlated(volume, truth):
    """Partial volume: at the lung's edge values lie between both tissues. Noise: neighbours in a slice agree."""
    lung = truth.mask("lung_left")
    edge = lung[:, :, :-1] != lung[:, :, 1:]
    values = volume.array[:, :, :-1][edge]
    assert ((values > -600) & (values < -100)).mean() > 0.15
    liver = truth.mask("liver")
    k = int(liver.sum(axis=(1, 2)).argmax())
    inner = liver[k, 1:-1, :-1] & liver[k, :-2, :-1] & liver[k, 2:, :-1] & liver[k, 1:-1, 1:]
    here, right = volume.array[k, 1:-1, :-1][inner], volume.array[k, 1:-1, 1:][inner]
    assert 8 < here.std() < 30
    assert 0.2 < np.corrcoef(here, right)[0, 1] < 0.9


def test_the_volume_is_read_as_ct(volume):
    assert volume.array.dtype == np.int16
    assert volume.window.source == "preset:soft-tissue"
    assert volume.array.min() >= -1024


def test_the_prompts_are_a_box_around_the_truth_and_a_click_beside_it(truth):
    log = json.loads(example_prompts_path().read_text())
    names = {entry["value"]: entry["name"] for entry in log["entries"] if entry["op"] == "label"}
    prompted = [entry for entry in log["entries"] if entry["op"] == "prompt"]
    assert len(prompted) == len(names) >= 3
    for entry in prompted:
        box, click = (prompt_from_dict(item) for item in entry["prompts"])
        assert isinstance(box, Box)
        assert box.voxel is not None
        (z0, y0, x0), (z1, y1, x1) = ([int(v) for v in corner] for corner in box.voxel)
        mask = truth.mask(names[entry["label"]])[z0]
        assert z1 == z0 + 1
        assert mask.any()
        assert mask[y0:y1, x0:x1].sum() == mask.sum()
        z, y, x = (int(v) for v in click.voxel)
        assert (z, click.positive, mask[y, x]) == (z0, False, False)
        assert y0 <= y < y1
        assert x0 <= x < x1


def test_shipped_files_stay_small():
    assert sum(p.stat().st_size for p in (example_path(), example_truth_path(), example_prompts_path())) < 2_000_000


def test_the_command_says_in_one_line_why_it_cannot_write(tmp_path):
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "promptseg.example", str(tmp_path / "file" / "below")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "cannot make the folder" in done.stderr
    assert "Traceback" not in done.stderr
