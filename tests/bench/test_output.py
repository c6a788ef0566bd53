"""Tables, files and plots of a run on the phantom."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import cv2
import pytest
from bench_phantom import KnownPredictor
from rich.console import Console

from promptseg.bench import command
from promptseg.bench.command import BASELINES, DATA_VARIABLE, BenchOptions, bench
from promptseg.bench.plots import plot_clicks
from promptseg.bench.protocol2d import Rounds
from promptseg.bench.result import BenchResult
from promptseg.bench.tables import calibration_table, case_table, mean_rows, mean_tables, skipped_table
from promptseg.bench.writers import to_dict, write_json
from promptseg.errors import MissingExtraError, ReadError, SettingsError, UnknownModelError, WriteError

pytestmark = pytest.mark.slow


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer a perfect and an empty model beside the baselines."""
    models = {"truth": lambda: KnownPredictor("truth"), "nothing": lambda: KnownPredictor("nothing", score=0.5)}
    monkeypatch.setattr(command, "BASELINES", {**BASELINES, **models})


def test_one_call_writes_everything(phantom: Path, known: None) -> None:
    seen = []
    options = BenchOptions(dimensions=(2, 3), rounds=Rounds(clicks=3))
    run = bench(phantom / "cases.toml", ["truth", "nothing"], phantom / "out", options=options, progress=seen.append)
    names = {file.name for file in run.files}
    assert names == {
        *("bench.json", "means.md", "cases_2d.csv", "cases_3d.csv"),
        *("clicks.png", "modalities.png", "volumes.png"),
    }
    assert {file.name for file in (phantom / "out").iterdir()} == names
    assert (run.notes, run.result.skipped) == ((), ())
    assert len(seen) == 10  # two cases, two models, two protocols, and the end of each protocol
    for plot in (file for file in run.files if file.suffix == ".png"):
        picture = cv2.imread(str(plot))
        assert picture.shape[0] > 300
        assert picture.std() > 5


def test_json_and_csv_agree_with_the_rows(phantom: Path, known: None) -> None:
    options = BenchOptions(rounds=Rounds(clicks=3, after_box=1))
    run = bench(phantom / "cases.toml", ["truth", "nothing"], phantom / "out", options=options)
    content = json.loads((phantom / "out" / "bench.json").read_text(encoding="utf-8"))
    assert content["settings"]["rounds"] == {"clicks": 3, "after_box": 1}
    assert content["calibration"]["nothing"]["mean_absolute_error"] == 0.5
    by_vessel = next(m for m in content["means"] if m["by"] == "vessels")
    assert {(g["group"], g["model"], g["cases"], g["dice@2"]) for g in by_vessel["groups"]} >= {
        ("not vessels", "nothing", 1, 0.0),
        ("thin vessels", "nothing", 1, 0.0),
    }
    assert by_vessel["groups"][0]["dice@10"] is None  # three clicks were given
    with (phantom / "out" / "cases_2d.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["case"], line["model"]) for line in lines] == [(r.case.name, r.model) for r in run.result.rows]
    assert lines[0]["dice@10"] == ""
    assert float(lines[1]["dice_round_3"]) == 0.0
    assert {"dice_round_1", "box_dice_round_0", "box_dice_round_1"} <= set(lines[0])
    assert "dice_round_0" not in lines[0]


def test_tables_show_means_and_mark_the_best(phantom: Path, known: None) -> None:
    result = bench(phantom / "cases.toml", ["truth", "nothing"], options=BenchOptions(rounds=Rounds(clicks=2))).result
    rows = mean_rows(result, 2, "vessels")
    assert [(row.group, row.model, row.cases) for row in rows[:2]] == [
        ("not vessels", "truth", 1),
        ("not vessels", "nothing", 1),
    ]
    assert "dice@1" in rows[0].best
    assert "dice@1" not in rows[1].best
    console = Console(width=120, record=True, file=io.StringIO())
    for table in [*mean_tables(result), case_table(result, 2), calibration_table(result)]:
        console.print(table)
    text = console.export_text()
    assert "phantom/ball" in text
    assert "thin vessels" in text
    assert max(map(len, text.splitlines())) <= 120
    assert skipped_table(result) is None


def test_the_root_comes_from_the_environment(
    phantom: Path, known: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "lists" / "cases.toml"
    moved.parent.mkdir()
    (phantom / "cases.toml").rename(moved)
    options = BenchOptions(rounds=Rounds(clicks=1))
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    lost = bench(moved, ["truth"], options=options).result
    assert [item.model for item in lost.skipped] == ["", ""]
    table = skipped_table(lost)
    assert table is not None
    assert table.row_count == 2
    monkeypatch.setenv(DATA_VARIABLE, str(phantom))
    assert len(bench(moved, ["truth"], options=options).result.rows) == 2
    assert len(bench(moved, ["truth"], root=phantom, options=options).result.rows) == 2


def test_a_run_without_a_single_readable_case_still_writes_its_files(phantom: Path, known: None) -> None:
    run = bench(phantom / "cases.toml", ["truth"], phantom / "out", root=phantom / "nowhere")
    assert [file.name for file in run.files] == ["bench.json", "means.md"]
    assert len(run.result.skipped) == 2


def test_a_limit_spreads_over_the_list(phantom: Path, known: None) -> None:
    options = BenchOptions(rounds=Rounds(clicks=1), limit=1)
    assert len(bench(phantom / "cases.toml", ["truth"], options=options).result.rows) == 1
    with pytest.raises(SettingsError, match="limit"):
        bench(phantom / "cases.toml", ["truth"], options=BenchOptions(limit=0))
    with pytest.raises(SettingsError, match="2 and 3"):
        bench(phantom / "cases.toml", ["truth"], options=BenchOptions(dimensions=(4,)))


def test_unknown_models_and_lists_are_named(phantom: Path) -> None:
    with pytest.raises(UnknownModelError, match="did you mean 'grabcut'"):
        bench(phantom / "cases.toml", ["grabcat"])
    with pytest.raises(ReadError, match="nothing-here"):
        bench(phantom / "nothing-here.toml", ["grabcut"])


def test_without_matplotlib_the_rest_is_written(phantom: Path, known: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    options = BenchOptions(rounds=Rounds(clicks=1))
    run = bench(phantom / "cases.toml", ["truth"], phantom / "out", options=options)
    assert {file.name for file in run.files} == {"bench.json", "means.md", "cases_2d.csv"}
    assert 'pip install "promptseg[bench]"' in run.notes[0]
    with pytest.raises(MissingExtraError):
        plot_clicks(run.result, phantom / "x.png")


def test_a_plot_is_the_same_every_time(phantom: Path, known: None) -> None:
    options = BenchOptions(rounds=Rounds(clicks=2))
    result = bench(phantom / "cases.toml", ["truth", "nothing"], options=options).result
    first, second = plot_clicks(result, phantom / "a.png"), plot_clicks(result, phantom / "b.png")
    assert first.read_bytes() == second.read_bytes()


def test_files_that_cannot_be_written_are_named(phantom: Path) -> None:
    (phantom / "file").touch()
    with pytest.raises(WriteError, match="file"):
        write_json(BenchResult(()), phantom / "file" / "bench.json")


def test_an_empty_result_is_plain_json() -> None:
    assert json.loads(json.dumps(to_dict(BenchResult(()))))["rows"] == []
