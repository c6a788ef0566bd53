"""Case lists: what is read, and what is refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptseg.bench.cases import read_cases
from promptseg.errors import ReadError, SettingsError
from promptseg.prompts import Plane

LIST = """
[[image]]
name = "ct"
image = "a/image.nii.gz"
label = "a/label.nii.gz"
modality = "CT"
dimensions = [2, 3]
targets = [
    { name = "liver", value = 5, kind = "organ" },
    { name = "veins", value = [64, 65], kind = "thin vessel", dimensions = [3], label = "a/veins.nii.gz" },
    { name = "nodule", value = 9, set = "nodules", largest = true, strokes = "a/strokes.png" },
]

[[image]]
name = "echo"
image = "/elsewhere/b.png"
label = "b_mask.png"
fill = true
plane = "coronal"
slice = 4
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "cases.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_list_becomes_cases(tmp_path: Path) -> None:
    liver, veins, nodule, echo = read_cases(write(tmp_path, LIST), root="/data")
    assert (nodule.set, nodule.largest, nodule.strokes) == ("nodules", True, Path("/data/a/strokes.png"))
    assert (liver.set, liver.largest, liver.strokes) == ("", False, None)
    assert (liver.name, liver.values, liver.kind, liver.dimensions) == ("ct/liver", (5,), "organ", (2, 3))
    assert (liver.image, liver.label) == (Path("/data/a/image.nii.gz"), Path("/data/a/label.nii.gz"))
    assert (veins.values, veins.dimensions, veins.modality) == ((64, 65), (3,), "CT")
    assert veins.label == Path("/data/a/veins.nii.gz")
    assert veins.is_thin_vessel
    assert not liver.is_thin_vessel
    assert (echo.name, echo.values, echo.fill, echo.slice_index, echo.plane) == ("echo", (), True, 4, Plane.CORONAL)
    assert echo.image == Path("/elsewhere/b.png")


def test_paths_start_from_the_list_where_no_root_is_given(tmp_path: Path) -> None:
    assert read_cases(write(tmp_path, LIST))[0].image == tmp_path / "a" / "image.nii.gz"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('modality = "CT"', 'modalty = "CT"', "did you mean 'modality'"),
        ('kind = "organ"', 'kinds = "organ"', "did you mean 'kind'"),
        ('name = "veins"', 'name = "liver"', "more than once: ct/liver"),
        ("value = 5", "value = 0", "integers > 0"),
        ("value = 5", 'value = "liver"', "integers > 0"),
        ("dimensions = [2, 3]", "dimensions = [4]", "dimensions of 2 and 3"),
        ('image = "a/image.nii.gz"', "", "a text under 'image'"),
        ('plane = "coronal"', 'plane = "coronel"', "did you mean 'coronal'"),
        ("slice = 4", "slice = -1", "slice index"),
        ("fill = true", 'fill = "yes"', "'fill'"),
        ("largest = true", "largest = 1", "'largest'"),
        ('strokes = "a/strokes.png"', "strokes = true", "'strokes'"),
        ('set = "nodules"', "set = 3", "'set'"),
        ("[[image]]", "[[picture]]", r"\[\[image\]\] tables"),
        ("[[image]]", "[[image]", "not a TOML file"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_cases(write(tmp_path, LIST.replace(old, new)))


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="nowhere"):
        read_cases(tmp_path / "nowhere.toml")


def test_a_folder_of_pairs_is_a_list(tmp_path: Path) -> None:
    for folder, names in (("images", ("b.nii.gz", "a.png", ".hidden")), ("labels", ("a.png", "b.nii", "spare.png"))):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    first, second = read_cases(tmp_path)
    assert (first.name, first.image.name, first.label.name) == ("a", "a.png", "a.png")
    assert (second.name, second.image.name, second.label.name) == ("b", "b.nii.gz", "b.nii")
    assert first.values == ()
    (tmp_path / "labels" / "a.png").unlink()
    with pytest.raises(ReadError, match=r"a label named like a\.png"):
        read_cases(tmp_path)
    with pytest.raises(ReadError, match="images/ and labels/"):
        read_cases(tmp_path / "images")


def test_the_list_of_the_shared_images_is_sound() -> None:
    cases = read_cases(Path(__file__).parents[2] / "benchmarks" / "shared_cases.toml", root="/data")
    in_2d, in_3d = ([case for case in cases if dimension in case.dimensions] for dimension in (2, 3))
    assert {"CT", "MR", "US", "X-ray", "photo"} <= {case.modality for case in in_2d}
    assert {"organ", "bone", "lesion", "thin vessel"} <= {case.kind for case in in_3d}


@pytest.mark.slow
def test_every_shared_case_can_be_read(shared_data: Path) -> None:
    from promptseg.bench.loading import CaseLoader

    loader = CaseLoader()
    for case in read_cases(Path(__file__).parents[2] / "benchmarks" / "shared_cases.toml", root=shared_data):
        if 3 in case.dimensions:
            assert loader.load_volume(case).truth.sum() >= 500, case.name
        if 2 in case.dimensions:
            assert loader.load_slice(case).truth.sum() > 60, case.name
