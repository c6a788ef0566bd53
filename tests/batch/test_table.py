"""Tables of cases: CSV and Parquet say the same; mistakes name their row."""

import csv
import json
import re

import pytest

from promptseg.batch.case import Case, Hints
from promptseg.batch.table import read_cases
from promptseg.errors import ReadError, SettingsError

POINT = {"type": "point", "voxel": [1.0, 2.0, 3.0], "positive": True}
ROWS = [
    {"image": "a.nii.gz", "id": "study-7_left.1", "prompts": json.dumps([POINT]), "label": "tumour", "frame": "2"},
    {"image": "dicom", "series": "1.2.3", "recist": "4, 10,11, 20,21; 5,1,2,3,4", "text": "left kidney; spleen"},
    {"image": "b.nii.gz", "prompts": "logs/b.json"},
]
CLICKS = """image,label,point,not_point,box,scribble
a.nii.gz,liver,"26,60,60;26,70,60","26,60,130",,
a.nii.gz,spleen,,,"26,27,25,27,101,114",
a.nii.gz,liver,"27,60,60",,,
b.nii.gz,,,,,"5,1,1/5,3,1"
"""
COLUMNS = ("image", "id", "series", "frame", "prompts", "recist", "text", "label")


def write_csv(path, rows, columns=COLUMNS):
    with path.open("w", newline="", encoding="utf-8-sig") as file:  # as Excel writes it
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_csv_and_parquet_give_the_same_cases(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {name: [row.get(name) for row in ROWS] for name in COLUMNS}
    columns["frame"] = [2, None, None]
    parquet.write_table(pyarrow.table(columns), tmp_path / "cases.parquet")
    found = read_cases(write_csv(tmp_path / "cases.csv", ROWS))
    assert found == read_cases(tmp_path / "cases.parquet")
    first, second, third = found
    assert (first.id, first.frame, first.image) == ("study-7_left.1", 2, str(tmp_path / "a.nii.gz"))
    assert first.hints == Hints(prompts=(POINT,), label="tumour")
    assert second.series == "1.2.3"
    assert second.hints.recist == ((4, 10, 11, 20, 21), (5, 1, 2, 3, 4))
    assert second.hints.texts == ("left kidney", "spleen")
    assert third.hints.log == str(tmp_path / "logs" / "b.json")


def test_rows_of_one_image_are_one_case_unless_they_have_ids(tmp_path):
    rows = [{"image": "a.nii.gz", "recist": "1,2,3,4,5"}, {"image": "a.nii.gz", "recist": "9,2,3,4,5"}]
    (both,) = read_cases(write_csv(tmp_path / "t.csv", rows))
    assert [line[0] for line in both.hints.recist] == [1, 9]
    named = [{**row, "id": f"case-{number}"} for number, row in enumerate(rows)]
    assert [case.id for case in read_cases(write_csv(tmp_path / "t.csv", named))] == ["case-0", "case-1"]
    with pytest.raises(SettingsError, match=r"row 3 of .*t\.csv: the id case-0 stands in an earlier row"):
        read_cases(write_csv(tmp_path / "t.csv", [*named, named[0]]))


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"image": ""}, "row 1 of .*: expected an image, got an empty cell"),
        ({"image": "a", "id": "../a"}, "row 1 of .*: expected ids of 1 to 64 letters"),
        ({"image": "a", "id": "Doe Jane"}, "must not hold a patient's name"),
        ({"image": "a", "recist": "1,2,3"}, r"expected Z,Y0,X0,Y1,X1 \(5 numbers with commas\), got '1,2,3'"),
        ({"image": "a", "prompts": '[{"type": "point"}]'}, "row 1 of .*Point"),
        ({"image": "a", "prompts": "[1"}, "row 1 of"),
        ({"image": "a", "frame": "first"}, "row 1 of"),
    ],
)
def test_mistakes_in_a_row_are_named(tmp_path, row, sentence):
    with pytest.raises(SettingsError, match=sentence):
        read_cases(write_csv(tmp_path / "t.csv", [row]))


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("image,promts\na,b\n", SettingsError, "unknown column 'promts'.*did you mean 'prompts'"),
        ("scan\na\n", SettingsError, "unknown column 'scan'"),
        ("id\na\n", SettingsError, "expected a column 'image'"),
        ("image\n", SettingsError, "expected at least one row"),
        ("", SettingsError, "expected a column 'image'.*got none"),
        ("image,recist\na,1,2,3,4,5\n", SettingsError, "more cells than the table has columns"),
        (b"\xff\xfe\x00", ReadError, "cannot read the table"),
    ],
)
def test_tables_that_cannot_be_understood(tmp_path, text, error, sentence):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(error, match=sentence):
        read_cases(path)


def test_a_parquet_file_that_is_none(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "t.parquet").write_text("no")
    with pytest.raises(ReadError, match=re.escape("it is no Parquet file")):
        read_cases(tmp_path / "t.parquet")


def test_clicks_in_the_command_lines_own_syntax_and_rows_of_one_image(tmp_path):
    (tmp_path / "clicks.csv").write_text(CLICKS)
    first, second = read_cases(tmp_path / "clicks.csv")
    assert first.image == str(tmp_path / "a.nii.gz")
    assert (first.hints.label, [(p["voxel"], p["positive"]) for p in first.hints.prompts]) == (
        "liver",
        [
            ([26.0, 60.0, 60.0], True),
            ([26.0, 70.0, 60.0], True),
            ([26.0, 60.0, 130.0], False),
            ([27.0, 60.0, 60.0], True),
        ],
    )
    ((name, (box,)),) = first.hints.others
    assert (name, box["type"], box["voxel"]) == ("spleen", "box", [[26.0, 27.0, 25.0], [27.0, 101.0, 114.0]])
    assert second.hints.prompts[0]["voxels"] == [[5, 1, 1], [5, 2, 1], [5, 3, 1]]
    assert Case.from_json(first.id, first.to_json()).hints == first.hints
    (tmp_path / "bad.csv").write_text('image,point\na.nii.gz,"1,2"\n')
    with pytest.raises(SettingsError, match=r"row 1 .*expected Z,Y,X"):
        read_cases(tmp_path / "bad.csv")
