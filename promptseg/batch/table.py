"""A table of cases (CSV or Parquet): one row, one case, with its own prompts.

Columns; only ``image`` must be there, others may be missing or empty, unknown ones are an error:

    image     file or DICOM folder; relative to the table's folder
    id        names the case's folder and stands in reports: must not hold a patient's name
    series    which DICOM series of a folder; frame: which frame of a 4D image, from 0
    prompts   path of a prompt log (relative to the table), or a JSON list of prompts
    recist    longest diameters in voxels, "Z,Y0,X0,Y1,X1", several with ";" between them
    text      names of organs, several with ";" between them
    label     name of the label that the prompts draw
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from promptseg.batch.case import Case, Hints, checked_id, new_id
from promptseg.errors import MissingExtraError, PromptsegError, ReadError, SettingsError, did_you_mean

__all__ = ["COLUMNS", "TABLE_SUFFIXES", "read_cases"]

TABLE_SUFFIXES = (".csv", ".parquet")
COLUMNS = ("image", "id", "series", "frame", "prompts", "recist", "text", "label")


def read_cases(path: str | Path) -> list[Case]:
    """Read the cases of a table.

    Raises:
        ReadError: the file cannot be read.
        SettingsError: an unknown column, no image, a malformed or repeated id, malformed prompts; the row is named.
        MissingExtraError: Parquet without pyarrow.
    """
    path = Path(path).expanduser().absolute()
    rows = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _csv_rows(path)
    cases: dict[str, Case] = {}
    for number, row in enumerate(rows, start=1):
        try:
            case = _case(row, path.parent)
        except (PromptsegError, ValueError, TypeError) as exc:
            raise SettingsError(f"row {number} of {path}: {exc}") from exc
        if case.id in cases:
            raise SettingsError(f"row {number} of {path}: the id {case.id} stands in an earlier row too")
        cases[case.id] = case
    if not cases:
        raise SettingsError(f"expected at least one row in {path}, got none")
    return list(cases.values())


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _require_columns(reader.fieldnames or (), path)
            yield from reader
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise ReadError(f"cannot read the table {path}: {getattr(exc, 'strerror', None) or exc}") from exc


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as exc:
        raise MissingExtraError("pyarrow", "parquet") from exc
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _require_columns(file.schema_arrow.names, path)
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as exc:
        raise ReadError(f"cannot read the table {path}: it is no Parquet file, or damaged") from exc


def _require_columns(names: Any, path: Path) -> None:
    for name in names:
        if name not in COLUMNS:
            raise SettingsError(
                f"unknown column {name!r} in {path}{did_you_mean(str(name), COLUMNS)}; known: {', '.join(COLUMNS)}"
            )
    if "image" not in names:
        raise SettingsError(f"expected a column 'image' in {path}, got {', '.join(map(str, names)) or 'none'}")


def _case(row: Mapping[str, Any], folder: Path) -> Case:
    if None in row:  # what csv.DictReader calls cells behind the last column
        raise SettingsError("it has more cells than the table has columns; put quotes around cells with commas")
    cells = {key: "" if value is None else str(value).strip() for key, value in row.items()}
    if not cells["image"]:
        raise SettingsError("expected an image, got an empty cell")
    image = folder / Path(cells["image"]).expanduser()
    series, frame = cells.get("series") or None, cells.get("frame") or None
    hints = _hints(cells, folder)
    number = None if frame is None else int(float(frame))
    given = cells.get("id")
    case_id = checked_id(given) if given else new_id(f"{image}|{series}" if series else image, None, number, hints)
    return Case(case_id, str(image), series=series, frame=number, hints=hints)


def _hints(cells: Mapping[str, str], folder: Path) -> Hints:
    prompts = cells.get("prompts", "")
    inline = prompts.startswith("[")
    return Hints(
        log=str(folder / Path(prompts).expanduser()) if prompts and not inline else None,
        prompts=tuple(_checked_prompts(json.loads(prompts))) if inline else (),
        recist=tuple(_diameter(part) for part in _parts(cells.get("recist", ""))),
        texts=tuple(_parts(cells.get("text", ""))),
        label=cells.get("label") or None,
    )


def _parts(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(";") if part.strip()]


def _checked_prompts(items: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    from promptseg.prompts import prompt_from_dict

    for item in items:
        prompt_from_dict(item)
    return items


def _diameter(text: str) -> tuple[float, float, float, float, float]:
    parts = text.split(",")
    if len(parts) != 5:
        raise SettingsError(f"expected a diameter as Z,Y0,X0,Y1,X1, got {text!r}")
    z, y0, x0, y1, x1 = (float(part) for part in parts)
    return z, y0, x0, y1, x1
