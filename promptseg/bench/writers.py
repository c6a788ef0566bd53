"""A result as files: CSV for spreadsheets, Markdown for documents, JSON with everything."""

from __future__ import annotations

import csv
import io
import json
import math
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptseg.bench.result import GROUPINGS, BenchResult, CaseResult, mean_of
from promptseg.bench.tables import COLUMNS, heading, mean_rows
from promptseg.io.atomic import all_or_nothing

__all__ = ["to_dict", "write_csv", "write_json", "write_markdown"]

FORMAT = "promptseg bench 1"


def write_csv(result: BenchResult, path: Path, dimension: int) -> Path:
    """Write one line per case and model of one protocol; columns as in ``COLUMNS``, then the curves by round.

    Raises:
        WriteError: the file cannot be written.
    """
    rows = result.of(dimension)
    curves = [(name, max(len(row.curves.get(name, ())) for row in rows)) for name in _curve_names(rows)]
    per_round = [(name, number) for name, count in curves for number in range(count)]
    first = 1 if dimension == 2 else 0  # in 2D the first round is the first click, in 3D the box
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["case", "model", "modality", "kind", *COLUMNS[dimension]]
        + [f"{name}_round_{number + (0 if name == 'box_dice' else first)}" for name, number in per_round]
    )
    for row in rows:
        numbers = [row.metrics.get(column, math.nan) for column in COLUMNS[dimension]]
        rounds = [dict(enumerate(row.curves.get(name, ()))).get(number, math.nan) for name, number in per_round]
        writer.writerow([row.case.name, row.model, row.case.modality, row.case.kind, *map(_number, numbers + rounds)])
    return _write(path, text.getvalue())


def write_json(result: BenchResult, path: Path, settings: Mapping[str, Any] | None = None) -> Path:
    """Write everything: rows, curves, means by group, calibration, what was skipped, and the caller's ``settings``.

    Raises:
        WriteError: the file cannot be written.
    """
    content = {**to_dict(result), "settings": dict(settings or {})}
    return _write(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_markdown(result: BenchResult, path: Path) -> Path:
    """Write the means as Markdown tables: thin vessels apart, by modality, by set where known; a group's best is bold.

    Raises:
        WriteError: the file cannot be written.
    """
    parts = []
    for dimension in result.dimensions:
        for grouping in ("vessels", "modality", *(("set",) if result.has_sets else ())):
            rows = mean_rows(result, dimension, grouping)
            columns = list(rows[0].cells)
            lines = [
                "| " + " | ".join([f"{dimension}D", "n", "model", *map(heading, columns)]) + " |",
                "| --- | ---: | --- |" + " ---: |" * len(columns),
            ]
            for row in rows:
                cells = [f"**{row.cells[c]}**" if c in row.best else row.cells[c] for c in columns]
                lines.append("| " + " | ".join([row.group, str(row.cases), row.model, *cells]) + " |")
            parts.append("\n".join(lines) + "\n")
    return _write(path, "\n".join(parts))


def to_dict(result: BenchResult) -> dict[str, Any]:
    """Return plain JSON types; a number that is not known is None."""
    return {
        "format": FORMAT,
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "python": platform.python_version(),
        },
        "means": [_mean(result, dimension, grouping) for dimension in result.dimensions for grouping in GROUPINGS],
        "calibration": {model: _calibration(result, model) for model in result.models},
        "rows": [_row(row) for row in result.rows],
        "skipped": [{"case": s.case.name, "model": s.model, "reason": s.reason} for s in result.skipped],
    }


def _mean(result: BenchResult, dimension: int, grouping: str) -> dict[str, Any]:
    groups = []
    for name, rows in result.groups(dimension, grouping).items():
        for model in dict.fromkeys(row.model for row in rows):
            own = [row for row in rows if row.model == model]
            numbers = {c: _known(mean_of(row.metrics.get(c, math.nan) for row in own)) for c in COLUMNS[dimension]}
            groups.append({"group": name, "model": model, "cases": len(own), **numbers})
    return {"dimension": dimension, "by": grouping, "groups": groups}


def _calibration(result: BenchResult, model: str) -> dict[str, float | None]:
    mean_error, expected = result.calibration(model)
    return {"mean_absolute_error": _known(mean_error), "expected_calibration_error": _known(expected)}


def _row(row: CaseResult) -> dict[str, Any]:
    return {
        "case": row.case.name,
        "model": row.model,
        "dimension": row.dimension,
        "modality": row.case.modality,
        "kind": row.case.kind,
        "metrics": {name: _known(value) for name, value in row.metrics.items()},
        "curves": {name: [_known(value) for value in values] for name, values in row.curves.items()},
    }


def _curve_names(rows: tuple[CaseResult, ...]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.curves))


def _known(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""


def _write(path: Path, text: str) -> Path:
    with all_or_nothing(path, parents=True) as folder:
        (folder / path.name).write_text(text, encoding="utf-8", newline="")
    return path
