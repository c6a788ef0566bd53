"""A result as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

from promptseg.bench.protocol2d import COLUMNS_2D
from promptseg.bench.protocol3d import COLUMNS_3D
from promptseg.bench.result import BenchResult, CaseResult, mean_of

__all__ = [
    "COLUMNS",
    "MeanRow",
    "calibration_table",
    "case_table",
    "heading",
    "mean_rows",
    "mean_tables",
    "skipped_table",
]

# Every number of a protocol; ``SHOWN`` are those that fit beside each other on a screen.
COLUMNS: dict[int, tuple[str, ...]] = {2: COLUMNS_2D, 3: COLUMNS_3D}
SHOWN = {2: tuple(column for column in COLUMNS_2D if column != "embed_s"), 3: COLUMNS_3D}
LOWER_IS_BETTER = frozenset({"score_error", "embed_s", "predict_s", "seconds", "peak_mib"})
HEADINGS = {
    "dice@1": "1 click",
    "dice@2": "2",
    "dice@3": "3",
    "dice@5": "5",
    "dice@10": "10",
    "dice@box": "box",
    "dice@start": "start",
    "nsd@start": "start NSD",
    "lowered": "lowered",
    "dice@scribble": "scribble",
    "dice@stroke-click": "on stroke",
    "noc@85": "NoC85",
    "noc@90": "NoC90",
    "score_error": "score err",
    "embed_s": "embed s",
    "predict_s": "s/call",
    "dsc_auc": "DSC_AUC",
    "nsd_auc": "NSD_AUC",
    "dice@final": "final",
    "nsd@final": "final NSD",
    "seconds": "s",
    "peak_mib": "peak MiB",
}
CAPTIONS = {
    2: "Dice after clicks, box, scribble, click on it. NoC: clicks to Dice 0.85, 0.90. score err: |own score − Dice|.",
    3: "Dice and surface Dice (NSD) after a box on the middle slice and after the last click; AUC of at most 4.",
}
GROUP_TITLES = {
    "all": "Means",
    "vessels": "Means, thin vessels apart",
    "kind": "Means by kind",
    "modality": "Means by modality",
    "set": "Means by set",
}


def mean_tables(result: BenchResult) -> list[Table]:
    """Return one table of means per protocol and grouping (sets where cases name them); a group's best is bold."""
    groupings = ("vessels", "kind", "modality", *(("set",) if result.has_sets else ()))
    return [_means(result, dimension, grouping) for dimension in result.dimensions for grouping in groupings]


@dataclass(frozen=True)
class MeanRow:
    """One model's means over one group of cases; ``best`` names the columns in which no other model is better."""

    group: str
    cases: int
    model: str
    cells: dict[str, str]
    best: frozenset[str]


def mean_rows(result: BenchResult, dimension: int, grouping: str) -> list[MeanRow]:
    """Return the means as texts, group by group and model by model, in columns of ``COLUMNS``."""
    columns, found = _columns(result, dimension), list[MeanRow]()
    for group, rows in result.groups(dimension, grouping).items():
        models = list(dict.fromkeys(row.model for row in rows))
        means = {model: _row_means([row for row in rows if row.model == model], columns) for model in models}
        best = {column: _best(column, [means[model][column] for model in models]) for column in columns}
        count = len({row.case.name for row in rows})
        for model in models:
            cells = {column: _text(column, means[model][column]) for column in columns}
            leads = frozenset(column for column in columns if cells[column] == _text(column, best[column]) != "–")
            found.append(MeanRow(group, count, model, cells, leads))
    return found


def heading(column: str) -> str:
    """Return a column's short title."""
    return HEADINGS.get(column, column)


def _means(result: BenchResult, dimension: int, grouping: str) -> Table:
    columns = _columns(result, dimension)
    table = _table(f"{GROUP_TITLES[grouping]}, {dimension}D", CAPTIONS[dimension])
    table.add_column("group", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("model", no_wrap=True)
    for column in columns:
        table.add_column(heading(column), justify="right", no_wrap=True)
    last = ""
    for row in mean_rows(result, dimension, grouping):
        if last and row.group != last:
            table.add_section()
        cells = [f"[bold]{row.cells[c]}[/bold]" if c in row.best else row.cells[c] for c in columns]
        table.add_row(*((row.group, str(row.cases)) if row.group != last else ("", "")), row.model, *cells)
        last = row.group
    return table


def case_table(result: BenchResult, dimension: int) -> Table:
    """Return one row per case and model."""
    columns = _columns(result, dimension)
    table = _table(f"Cases, {dimension}D", CAPTIONS[dimension])
    table.add_column("case")
    table.add_column("model", no_wrap=True)
    for column in columns:
        table.add_column(heading(column), justify="right", no_wrap=True)
    last = ""
    for row in result.of(dimension):
        name = row.case.name if row.case.name != last else ""
        last = row.case.name
        table.add_row(name, row.model, *(_text(column, row.metrics.get(column, math.nan)) for column in columns))
    return table


def calibration_table(result: BenchResult) -> Table:
    """Return how far each model's own quality score lies off the Dice that it reached in 2D."""
    table = _table("Calibration of the quality score")
    table.add_column("model")
    for title in ("answers", "mean |score − Dice|", "expected calibration error"):
        table.add_column(title, justify="right")
    for model in result.models:
        answers = sum(len(row.scores) for row in result.rows if row.model == model)
        table.add_row(model, str(answers), *(_text("", value) for value in result.calibration(model)))
    return table


def skipped_table(result: BenchResult) -> Table | None:
    """Return what could not run and why; None where everything ran."""
    if not result.skipped:
        return None
    table = _table("Not run")
    for title in ("case", "model", "reason"):
        table.add_column(title)
    for item in result.skipped:
        table.add_row(item.case.name, item.model or "all", item.reason)
    return table


def _table(title: str, caption: str | None = None) -> Table:
    justify: Literal["left"] = "left"
    return Table(
        title=title,
        caption=caption,
        title_justify=justify,
        caption_justify=justify,
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def _columns(result: BenchResult, dimension: int) -> tuple[str, ...]:
    """Return the protocol's columns that this run has numbers for."""
    present = {column for row in result.of(dimension) for column in row.metrics}
    return tuple(column for column in SHOWN[dimension] if column in present)


def _row_means(rows: Sequence[CaseResult], columns: Sequence[str]) -> dict[str, float]:
    return {column: mean_of(row.metrics.get(column, math.nan) for row in rows) for column in columns}


def _best(column: str, values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    if len(values) < 2 or not known:
        return math.nan
    lower = column in LOWER_IS_BETTER or column.startswith("noc@")
    return min(known) if lower else max(known)


def _text(column: str, value: float) -> str:
    if math.isnan(value):
        return "–"
    digits = {"noc@85": 1, "noc@90": 1, "embed_s": 3, "predict_s": 3, "seconds": 1, "peak_mib": 0}.get(column, 2)
    return f"{value:.{digits}f}"
