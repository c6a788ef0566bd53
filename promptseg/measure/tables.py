"""Rows of numbers into CSV or JSON files, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptseg.errors import WriteError
from promptseg.io.atomic import all_or_nothing

__all__ = ["TABLE_EXTENSIONS", "plain_json", "table_text", "write_table"]

TABLE_EXTENSIONS = (".csv", ".json")


def write_table(rows: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Write rows of one set of keys.

    Lists are written with spaces between their numbers in CSV. JSON knows no infinity: infinite and undefined numbers
    become null there, and "inf" or "nan" in CSV.

    Args:
        rows: at least one.
        path: ``.csv`` (UTF-8, one header line) or ``.json`` (a list of objects).

    Raises:
        WriteError: another extension, or an unwritable file.
    """
    path = Path(path).expanduser()
    extension = path.suffix.lower()
    if extension not in TABLE_EXTENSIONS:
        raise WriteError(f"cannot write {path}: expected a name that ends with {' or '.join(TABLE_EXTENSIONS)}")
    text = table_text(rows) if extension == ".csv" else json.dumps(plain_json(rows), indent=1) + "\n"
    with all_or_nothing(path) as folder:
        (folder / path.name).write_text(text, encoding="utf-8", newline="")
    return path


def table_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of one set of keys as CSV, "" for none; see ``write_table``."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    """Return a spreadsheet's cell; a text that a spreadsheet would take for a formula gets a quote in front."""
    if isinstance(value, list | tuple):
        return " ".join(str(part) for part in value)
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return value


def plain_json(value: Any) -> Any:
    """Return a value of JSON types, infinite and undefined numbers as None."""
    if isinstance(value, Mapping):
        return {key: plain_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
