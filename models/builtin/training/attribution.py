"""Who made the images that the shipped weights were trained on: a table that ships beside them."""

from __future__ import annotations

import csv
from pathlib import Path

from promptseg.models.builtin.training.real import RealImages, read_licences

__all__ = ["write_attribution"]

COLUMNS = {
    "set": "set",
    "modality": "modality",
    "structure": "structure",
    "data set and owner": "dataset",
    "licence": "licence",
    "read at": "repository",
    "changes": "note",
}
"""Column of the attribution -> column of ``LICENCES.csv``."""


def write_attribution(folder: Path, out: Path) -> None:
    """Write the sets of a folder of real images as a CSV: what, whose, under which licence, how many images.

    Raises:
        SettingsError: as ``RealImages``: nobody is named whose licence does not allow it.
    """
    counts, rows = RealImages(folder).sets, {row["set"]: row for row in read_licences(folder)}
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*COLUMNS, "images"])
        for name, count in counts.items():
            table.writerow([*(rows[name].get(column) or "" for column in COLUMNS.values()), count])
