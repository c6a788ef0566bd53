"""Names of anatomy in four vocabularies, and what is asked back."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from promptseg.errors import PromptError

pytest.importorskip("totalsegmentator", reason="TotalSegmentator is not installed")

from promptseg.wholebody.names import resolve
from promptseg.wholebody.totalseg import all_tasks


@pytest.mark.parametrize(
    ("text", "class_name"),
    [
        ("left kidney", "kidney_left"),
        ("KIDNEY_LEFT", "kidney_left"),
        ("Kidney_L", "kidney_left"),
        ("左肾", "kidney_left"),
        ("左侧 肾脏", "kidney_left"),
        ("Deep muscle of back left", "autochthon_left"),
        ("VB_T07", "vertebrae_T7"),
        ("第十二胸椎", "vertebrae_T12"),
        ("第三腰椎", "vertebrae_L3"),
        ("L3", "vertebrae_L3"),
        ("Rib03_R", "rib_right_3"),
        ("右第十一肋骨", "rib_right_11"),
        ("十二指肠", "duodenum"),
        ("Glnd_Adrenal_R", "adrenal_gland_right"),
        ("V_Venacava_I", "inferior_vena_cava"),
        ("IVC", "inferior_vena_cava"),
        ("the urinary bladder", "urinary_bladder"),
        ("left upper lobe", "lung_upper_lobe_left"),
    ],
)
def test_one_structure_has_many_names(text: str, class_name: str) -> None:
    found = resolve(text)
    assert (found.task, found.class_name) == ("total", class_name)


def test_every_class_of_every_task_is_found_by_its_own_name() -> None:
    for task in all_tasks().values():
        for name in task.classes.values():
            assert resolve(name, task=task.name).class_name == name
            assert resolve(name.replace("_", " ").upper(), task=task.name).class_name == name


def test_every_row_of_the_table_names_a_class_and_no_name_means_two() -> None:
    from promptseg.wholebody.names import _index, _table

    classes = {name for task in all_tasks().values() for name in task.classes.values()}
    assert {name for name, _ in _table()} <= classes
    exact, _ = _index()
    assert {key: found for key, found in exact.items() if len(found) > 1} == {}
    for name, alias in _table():
        assert resolve(alias, task=next(t.name for t in all_tasks().values() if name in t.classes.values()))


def test_snomed_display_names_lead_to_their_class() -> None:
    rows = list(csv.DictReader(files("promptseg.export").joinpath("anatomy.csv").read_text("utf-8").splitlines()))
    total = set(all_tasks()["total"].classes.values())
    tried = 0
    for row in rows:
        name = f"{row['modifier_meaning']} {row['meaning']}".strip()
        same = [r for r in rows if f"{r['modifier_meaning']} {r['meaning']}".strip() == name]
        if row["name"] in total and len(same) == 1 and not row["region"]:
            assert resolve(name, task="total").class_name == row["name"]
            tried += 1
    assert tried > 80


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("kidney", ("kidney_left", "kidney_right", "kidney_cyst_left")),
        ("肾", ("kidney_left", "adrenal_gland_right")),
        ("vena cava", ("superior_vena_cava", "inferior_vena_cava")),
        ("rib", ("rib_left_1", "12 more")),
    ],
)
def test_what_can_mean_several_is_asked_back(text: str, choices: tuple[str, ...]) -> None:
    with pytest.raises(PromptError) as caught:
        resolve(text)
    for choice in choices:
        assert choice in str(caught.value)


def test_unknown_names_list_near_ones() -> None:
    with pytest.raises(PromptError, match="did you mean 'liver'"):
        resolve("livr")
    with pytest.raises(PromptError, match="no structure"):
        resolve("qqqq")
    with pytest.raises(PromptError, match="expected the name"):
        resolve("  ")
    with pytest.raises(PromptError, match="no whole-body task"):
        resolve("liver", task="totl")


def test_the_modality_chooses_the_task_and_open_tasks_come_first() -> None:
    assert resolve("liver", modality="MR").task == "total_mr"
    assert resolve("Lung_L", modality="MR").class_name == "lung_left"
    with pytest.raises(PromptError, match="lung_upper_lobe_left, lung_lower_lobe_left"):
        resolve("左肺", modality="CT")
    assert resolve("aorta").task == "total"
    assert resolve("aorta", task="heartchambers_highres").task == "heartchambers_highres"
    assert resolve("left atrium").task == "heartchambers_highres"
