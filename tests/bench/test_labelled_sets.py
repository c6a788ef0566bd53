"""A case list of a folder of labelled sets: read back by the bench, one object an image, trees whole."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import labelled_sets
import numpy as np
import pytest

from promptseg.bench.cases import read_cases
from promptseg.bench.loading import CaseLoader
from promptseg.models.builtin.training.real import LICENCE_COLUMNS

SHAPE = (90, 140)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    organs, vessels = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    organs[10:30, 10:40], organs[50:55, 60:68], organs[2, 2] = 3, 3, 7  # two pieces, and a speck of another label
    for start, end in (((5, 45), (130, 45)), ((40, 45), (90, 5)), ((80, 45), (125, 85))):
        cv2.line(vessels, start, end, 1, 2)
    with (tmp_path / "LICENCES.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, LICENCE_COLUMNS)
        table.writeheader()
        for name, labels in (("organs", organs), ("retina_vessels", vessels)):
            table.writerow(dict.fromkeys(LICENCE_COLUMNS, "x") | {"set": name, "modality": "CT"})
            (tmp_path / name).mkdir()
            for number in range(5):
                cv2.imwrite(str(tmp_path / name / f"{number:04d}_image.png"), labels * 30 + 50)
                cv2.imwrite(str(tmp_path / name / f"{number:04d}_mask.png"), labels)
    return tmp_path


def test_the_list_names_sets_and_objects(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = folder / "cases.toml"
    monkeypatch.setattr("sys.argv", ["labelled_sets", str(folder), "-o", str(out), "--per-set", "2"])
    labelled_sets.main()
    cases = read_cases(out, folder)
    assert [case.name for case in cases] == [
        "organs/0000",
        "organs/0002",
        "retina_vessels/0000",
        "retina_vessels/0002",
    ]
    organ, vessel = cases[0], cases[2]
    assert (organ.set, organ.values, organ.is_thin_vessel, organ.modality) == ("organs", (3,), False, "CT")
    assert CaseLoader().load_slice(organ).truth.sum() == 20 * 30
    assert vessel.is_thin_vessel
    assert CaseLoader().load_slice(vessel).truth.sum() > 3 * 2 * 60
