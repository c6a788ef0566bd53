"""Real images in training: licences are asked for, targets are what people mean, samples stay aligned."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from promptseg.errors import SettingsError
from promptseg.models.builtin.training import real
from promptseg.models.builtin.training.attribution import write_attribution
from promptseg.models.builtin.training.samples import SMALLEST_PX

pytestmark = pytest.mark.slow

SHAPE = (150, 210)

TUNE = """
member = "thin"
seed = 3
processes = 1
batch = 4
decay = 0.9
block = 1
images = "elsewhere"
start = "shipped"

[[stage]]
name = "tune"
steps = 1
rates = [1e-3, 1e-3]
sizes = { 64 = 1.0 }
real = 1.0
"""


def ball(centre: tuple[int, int], radius: int) -> np.ndarray:
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2


def tree() -> np.ndarray:
    drawn = np.zeros(SHAPE, np.uint8)
    for start, end in (((5, 75), (200, 75)), ((60, 75), (120, 10)), ((120, 75), (180, 140)), ((90, 75), (40, 140))):
        cv2.line(drawn, start, end, 1, 2)
    return drawn > 0


def write_set(folder: Path, name: str, labels: np.ndarray, count: int = 1) -> None:
    (folder / name).mkdir(parents=True)
    for number in range(count):
        picture = np.where(labels > 0, 200, 60).astype(np.uint8)
        cv2.imwrite(str(folder / name / f"{number:04d}_image.png"), picture)
        cv2.imwrite(str(folder / name / f"{number:04d}_mask.png"), labels.astype(np.uint8))


def write_licences(folder: Path, **licences: str) -> None:
    with (folder / "LICENCES.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, real.LICENCE_COLUMNS)
        table.writeheader()
        for name, licence in licences.items():
            row = dict.fromkeys(real.LICENCE_COLUMNS, "x") | {"set": name, "licence": licence, "certainty": "sure"}
            table.writerow(row | {"dataset": f"The {name} study (Someone)"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_set(tmp_path, "organs", np.where(ball((60, 70), 30), 2, np.where(ball((110, 160), 20), 5, 0)))
    write_set(tmp_path, "vessels", tree().astype(int), count=3)
    write_licences(tmp_path, organs="CC BY 4.0", vessels="CC0")
    return tmp_path


def test_samples_show_what_is_meant_in_place(folder: Path) -> None:
    images, rng = real.RealImages(folder), np.random.default_rng(4)
    assert images.sets == {"organs": 1, "vessels": 3}
    samples = [sample for sample in (images.sample(rng) for _ in range(40)) if sample is not None]
    assert {sample.family for sample in samples} == {"real", "vessels"}
    for sample in samples:
        image, target = sample.images[0], sample.targets[0]
        assert image.shape == target.shape
        assert image.dtype == np.float32
        assert 0 <= image.min() <= image.max() <= 1
        assert target.sum() >= SMALLEST_PX
        assert sample.visibility > 1  # bright things on a dark ground, or inverted: image and target moved alike


def test_the_same_random_numbers_give_the_same_sample(folder: Path) -> None:
    first, again = (real.RealImages(folder).sample(np.random.default_rng(9)) for _ in range(2))
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.targets, again.targets)


def test_a_large_set_does_not_drown_a_small_one(tmp_path: Path) -> None:
    write_set(tmp_path, "few", ball((70, 70), 30) * 1, count=2)
    write_set(tmp_path, "many", tree().astype(int), count=50)
    write_licences(tmp_path, few="MIT", many="MIT")
    images, rng = real.RealImages(tmp_path), np.random.default_rng(0)
    families = [sample.family for sample in (images.sample(rng) for _ in range(120)) if sample is not None]
    assert 0.08 < families.count("real") / len(families) < 0.3  # by the square root 1 in 6, by number 1 in 26


def test_one_piece_is_mostly_meant_and_a_tree_whole() -> None:
    rng = np.random.default_rng(1)
    two = ball((40, 50), 20) | ball((110, 150), 25)
    chosen = [real.choose_target(two.astype(np.uint8), rng) for _ in range(60)]
    pieces = sum(found is not None and found[0].sum() < two.sum() for found in chosen)
    assert 40 < pieces < 60
    crumb = np.zeros(SHAPE, bool)
    crumb[3:9, 3:9] = True
    whole = [real.choose_target((tree() | crumb).astype(np.uint8), rng) for _ in range(60)]
    assert all(found is not None and found[1] == "vessels" for found in whole)
    assert sum(found is not None and found[0].sum() == (tree() | crumb).sum() for found in whole) > 35


def test_many_instances_are_sometimes_meant_together() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    for number in range(20):
        labels[ball((15 + 30 * (number // 5), 20 + 40 * (number % 5)), 8)] = number + 1
    rng = np.random.default_rng(2)
    areas = [found[0].sum() for found in (real.choose_target(labels, rng) for _ in range(120)) if found is not None]
    together = sum(area == (labels > 0).sum() for area in areas)
    assert 4 < together < 40
    assert min(areas) < 250


def test_nothing_labelled_gives_nothing() -> None:
    assert real.choose_target(np.zeros(SHAPE, np.uint8), np.random.default_rng(0)) is None


@pytest.mark.parametrize(("licence", "certainty"), [("CC BY-NC 4.0", "sure"), ("CC BY 4.0", "likely")])
def test_a_licence_that_does_not_allow_it_is_refused(folder: Path, licence: str, certainty: str) -> None:
    table = (folder / "LICENCES.csv").read_text().replace("CC0", licence).replace("sure", certainty)
    (folder / "LICENCES.csv").write_text(table)
    with pytest.raises(SettingsError, match="take the set out"):
        real.RealImages(folder)


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    write_set(tmp_path, "unknown", ball((60, 70), 30) * 1)
    with pytest.raises(SettingsError, match="'unknown'"):
        real.RealImages(folder)
    (folder / "LICENCES.csv").write_text("set,licence\norgans,CC0\n")
    with pytest.raises(SettingsError, match="certainty"):
        real.RealImages(folder)
    (folder / "LICENCES.csv").unlink()
    with pytest.raises(SettingsError, match=r"LICENCES\.csv"):
        real.RealImages(folder)


def test_a_mask_of_another_size_or_none_is_named(folder: Path) -> None:
    mask = folder / "organs" / "0000_mask.png"
    cv2.imwrite(str(mask), np.ones((20, 30), np.uint8))
    images = real.RealImages(folder)
    with pytest.raises(SettingsError, match=r"\(150, 210\)"):
        [images.sample(np.random.default_rng(k)) for k in range(20)]
    mask.unlink()
    with pytest.raises(SettingsError, match="0000_mask"):
        real.RealImages(folder)


def test_the_attribution_names_sets_owners_and_licences_but_no_files(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "ATTRIBUTION.csv"
    write_attribution(folder, out)
    with out.open(newline="") as file:
        rows = {row["set"]: row for row in csv.DictReader(file)}
    assert rows["organs"]["licence"] == "CC BY 4.0"
    assert rows["vessels"]["images"] == "3"
    assert rows["organs"]["data set and owner"] == "The organs study (Someone)"
    assert str(folder) not in out.read_text()


def test_a_recipe_trains_on_them_and_goes_on_from_the_shipped_file(folder: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is only needed to train (pip install promptseg[train])")
    from promptseg.models.builtin import BUILTIN_ONNX
    from promptseg.models.builtin.training.__main__ import main
    from promptseg.models.builtin.training.export import read_member

    (tmp_path / "tune.toml").write_text(TUNE)
    arguments = ["train", "--recipe", str(tmp_path / "tune.toml"), "--out", str(tmp_path / "run")]
    main([*arguments, "--images", str(folder)])
    weights = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["network"]
    before = read_member(BUILTIN_ONNX, "thin")
    changes = [float((weights[name] - before[name]).abs().max()) for name in before]
    assert 0 < max(changes) < 0.01
    with pytest.raises(SettingsError, match="nowhere"):
        main([*arguments[:-1], str(tmp_path / "other"), "--images", str(tmp_path / "nowhere")])
