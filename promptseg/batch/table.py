"""A table of cases (CSV or Parquet): images with their own prompts.

Rows of one image are one case: rows of one label give prompts to it, other labels are other objects. A row with an
``id`` of its own stays a case of its own. Columns; only ``image`` must be there, others may be missing or empty,
unknown ones are an error. Several values of a cell have ";" between them:

    image     file or DICOM folder; relative to the table's folder
    id        names the case's folder and stands in reports: must not hold a patient's name
    series    which DICOM series of a folder; frame: which frame of a 4D image, from 0
    point     positive click in voxels, "Z,Y,X", as on the command line; not_point: negative click
    box       half-open box, "Z0,Y0,X0,Z1,Y1,X1"
    scribble  stroke through corners, "Z,Y,X/Z,Y,X/..."
    prompts   path of a prompt log (relative to the table), or a JSON list of prompts
    recist    longest diameters in voxels, "Z,Y0,X0,Y1,X1"
    text      names of organs
    label     name of the label that the prompts draw
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptseg.batch.case import Case, Hints, checked_id, new_id
from promptseg.errors import MissingExtraError, PromptsegError, ReadError, SettingsError, did_you_mean
from promptseg.io.prompt_text import parse_box, parse_line, parse_point, parse_scribble
from promptseg.prompts import Prompt

__all__ = ["COLUMNS", "TABLE_SUFFIXES", "read_cases"]

TABLE_SUFFIXES = (".csv", ".parquet")
WRITTEN: dict[str, Callable[[str], Prompt]] = {  # prompts as the command line has them
    "point": parse_point,
    "not_point": lambda text: parse_point(text, positive=False),
    "box": parse_box,
    "scribble": parse_scribble,
}
COLUMNS = ("image", "id", "series", "frame", *WRITTEN, "prompts", "recist", "text", "label")


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
        named = case.id if row.get("id") else f"{case.image}|{case.series}|{case.frame}"
        if named in cases and row.get("id"):
            raise SettingsError(f"row {number} of {path}: the id {case.id} stands in an earlier row too")
        cases[named] = _joined(cases[named], case) if named in cases else case
    if not cases:
        raise SettingsError(f"expected at least one row in {path}, got none")
    return list(cases.values())


def _joined(first: Case, second: Case) -> Case:
    """Return one case of two rows of one image."""
    a, b = first.hints, second.hints
    if a.log or b.log:
        raise SettingsError(f"{first.image} stands in two rows, and a prompt log holds all of an image: give one row")
    hints = replace(a, recist=a.recist + b.recist, texts=tuple(dict.fromkeys(a.texts + b.texts)))
    if b.prompts and (not a.prompts or a.label == b.label):
        hints = replace(hints, prompts=a.prompts + b.prompts, label=b.label if b.label else a.label)
    elif b.prompts:
        others = dict(a.others)
        others[b.label] = (*others.get(b.label, ()), *b.prompts)
        hints = replace(hints, others=tuple(others.items()))
    place = f"{first.image}|{first.series}" if first.series else first.image
    key = new_id(place, None, first.frame, hints)
    return replace(first, id=key, hints=hints, key=key)


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
    key = "" if given else new_id(f"{image}|{series}" if series else image, None, number, hints)
    return Case(checked_id(given) if given else key, str(image), series=series, frame=number, hints=hints, key=key)


def _hints(cells: Mapping[str, str], folder: Path) -> Hints:
    prompts = cells.get("prompts", "")
    inline = prompts.startswith("[")
    return Hints(
        log=str(folder / Path(prompts).expanduser()) if prompts and not inline else None,
        prompts=(*_written(cells), *(_checked_prompts(json.loads(prompts)) if inline else ())),
        recist=tuple(parse_line(part) for part in _parts(cells.get("recist", ""))),
        texts=tuple(_parts(cells.get("text", ""))),
        label=cells.get("label") or None,
    )


def _written(cells: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """Return the prompts that stand in columns of the command line's own syntax."""
    from promptseg.prompts import prompt_to_dict

    return [prompt_to_dict(parse(part)) for column, parse in WRITTEN.items() for part in _parts(cells.get(column, ""))]


def _parts(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(";") if part.strip()]


def _checked_prompts(items: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    from promptseg.prompts import prompt_from_dict

    for item in items:
        prompt_from_dict(item)
    return items
