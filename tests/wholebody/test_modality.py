"""CT or MR: from the file, else from the intensities, on real scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import promptseg
from promptseg.volume import Geometry, Volume
from promptseg.wholebody.modality import guess_modality, misfit
from promptseg.wholebody.task import Task

CT = Task("total", "CT", False, {1: "spleen"}, True, True)
MR = Task("total_mr", "MR", False, {1: "spleen"}, True, True)


@pytest.mark.parametrize(
    ("path", "modality"),
    [
        ("ct_ts_trunk3mm/image.nii.gz", "CT"),
        ("ct_pulmonary_artery/image.nii.gz", "CT"),
        ("mr_ts_abdomen_small/image.nii.gz", "MR"),
        ("mr_vertebra_tptbox/image.nii.gz", "MR"),
        ("ct_ts_dicom_j2k/dicom", "CT"),
    ],
)
def test_real_scans_are_told_apart(shared_data: Path, path: str, modality: str) -> None:
    if not (shared_data / path).exists():
        pytest.skip(f"{path} is not here")
    assert guess_modality(promptseg.read_volume(shared_data / path)) == modality


def test_what_cannot_be_told_is_not_guessed() -> None:
    values = np.linspace(-100, 200, 1000).astype(np.int16).reshape(10, 10, 10)
    assert guess_modality(Volume.from_array(values, Geometry((10, 10, 10)))) is None


def test_the_warning_says_what_was_expected_what_came_and_what_to_do() -> None:
    bright = Volume.from_array(np.full((4, 5, 6), 300, np.int16), Geometry((4, 5, 6)))
    said = misfit(bright, CT)
    assert said is not None
    assert "expects CT" in said
    assert "Hounsfield" in said
    assert "total_mr" in said
    assert misfit(bright, MR) is None
    stated = Volume.from_array(np.full((4, 5, 6), 300, np.int16), Geometry((4, 5, 6)), modality="US")
    assert "the file says US" in (misfit(stated, CT) or "")
    assert "try" not in (misfit(stated, CT) or "")
    assert misfit(bright, Task("mine", "PET", False, {1: "x"}, False, False)) is None
