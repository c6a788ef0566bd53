"""Tables of cases: CSV and Parquet say the same; mistakes name their row."""

import csv
import json
import re

import pytest

from promptseg.batch.case import Hints
from promptseg.batch.table import read_cases
from promptseg.errors import ReadError, SettingsError

POINT = {"type": "point", "voxel": [1.0, 2.0, 3.0], "positive": True}
ROWS = [
    {"image": "a.nii.gz", "id": "study-7_left.1", "prompts": json.dumps([POINT]), "label": "tumour", "frame": "2"},
    {"image": "dicom", "series": "1.2.3", "recist": "4, 10,11, 20,21; 5,1,2,3,4", "text": "left kidney; spleen"},
    {"image": "b.nii.gz", "prompts": "logs/b.json"},
]
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


def test_one_image_with_two_prompts_is_two_cases_and_one_asked_twice_is_an_error(tmp_path):
    rows = [{"image": "a.nii.gz", "recist": "1,2,3,4,5"}, {"image": "a.nii.gz", "recist": "9,2,3,4,5"}]
    first, second = read_cases(write_csv(tmp_path / "t.csv", rows))
    assert first.id != second.id
    with pytest.raises(SettingsError, match=r"row 3 of .*t\.csv: the id \w+ stands in an earlier row"):
        read_cases(write_csv(tmp_path / "t.csv", [*rows, rows[0]]))


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"image": ""}, "row 1 of .*: expected an image, got an empty cell"),
        ({"image": "a", "id": "../a"}, "row 1 of .*: expected ids of 1 to 64 letters"),
        ({"image": "a", "id": "Doe Jane"}, "must not hold a patient's name"),
        ({"image": "a", "recist": "1,2,3"}, "expected a diameter as Z,Y0,X0,Y1,X1, got '1,2,3'"),
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
