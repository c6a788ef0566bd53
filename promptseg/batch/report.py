"""What a batch leaves for people: a page with failures first and a picture per case, and two tables.

``cases.csv`` alone names the images' paths. With ``private_ids`` the page and ``measurements.csv`` can be shown around;
without it cases are called as their files are.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from promptseg.batch.job import JobSpec
from promptseg.batch.manifest import CASES_FOLDER, RECEIPT_NAME, THUMBNAIL_NAME, Manifest, Record
from promptseg.batch.worker import ROLES
from promptseg.io.atomic import all_or_nothing
from promptseg.report.page import stream

__all__ = ["CASES_NAME", "MEASUREMENTS_NAME", "REPORT_NAME", "write_report"]

REPORT_NAME, CASES_NAME, MEASUREMENTS_NAME = "report.html", "cases.csv", "measurements.csv"
MAX_CARDS = 500  # pictures on the page; a browser gets slow with more
MAX_FAILURES = 2000  # lines on the page
LABELS_SHOWN = 6  # the largest, in a card
NUMBERS = ("voxels", "volume_ml", "unit", "mean", "std", "min", "p10", "median", "p90", "max")
TEXTS = ("id", "state", "kind", "reason", "image", "series", "label", "unit")  # columns that are no numbers
TEMPLATE = Path(__file__).with_name("report.html.jinja")
RESEARCH_ONLY = "Research use only: not a medical device."


def write_report(manifest: Manifest, spec: JobSpec, folder: Path, *, parquet: bool = False) -> Path:
    """Write ``report.html``, ``measurements.csv`` and ``cases.csv`` from what is there now; return the page's path.

    ``parquet`` writes the two tables as Parquet too.

    Raises:
        WriteError: the folder cannot be written.
    """
    tables = folder / CASES_NAME, folder / MEASUREMENTS_NAME
    _write_cases(manifest, tables[0])
    _write_measurements(manifest, tables[1])
    if parquet:
        for table in tables:
            _write_parquet(table)
    page = folder / REPORT_NAME
    with all_or_nothing(page) as partial, (partial / page.name).open("w", encoding="utf-8") as file:
        file.writelines(_page(manifest, spec))
    return page


def _write_cases(manifest: Manifest, path: Path) -> None:
    names = (
        "id",
        "state",
        "attempts",
        "kind",
        "reason",
        *(f"{role}_s" for role in ROLES),
        "peak_mib",
        "image",
        "series",
    )
    with all_or_nothing(path) as partial, (partial / path.name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for record in _failures_first(manifest):
            seconds = [f"{record.stages[role]:.3f}" if role in record.stages else "" for role in ROLES]
            row = [record.case.id, record.state, record.attempts, record.kind, record.reason, *seconds]
            writer.writerow(_cells([*row, f"{record.peak_mib:.0f}", record.case.image, record.case.series]))


def _write_measurements(manifest: Manifest, path: Path) -> None:
    with all_or_nothing(path) as partial, (partial / path.name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", "label", *NUMBERS))
        for record in manifest.records("done"):
            for label in _receipt(manifest, record)["labels"]:
                numbers = [label.get(name, "") for name in NUMBERS]
                shown = [f"{number:.6g}" if isinstance(number, float) else number for number in numbers]
                writer.writerow([*_cells([record.case.id, label["label"]]), *shown])


def _write_parquet(table: Path) -> None:
    """Write a table once more as Parquet; what is no number stays text."""
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet, string

    text = {name: string() for name in TEXTS}
    convert = arrow_csv.ConvertOptions(column_types=text, strings_can_be_null=True)
    path = table.with_suffix(".parquet")
    with all_or_nothing(path) as partial:
        parquet.write_table(arrow_csv.read_csv(table, convert_options=convert), partial / path.name)


def _cells(values: list[Any]) -> list[Any]:
    """A text that a spreadsheet would take for a formula gets a quote in front."""
    return [f"'{v}" if isinstance(v, str) and v.startswith(("=", "+", "-", "@")) else v for v in values]


def _failures_first(manifest: Manifest) -> Iterator[Record]:
    for state in ("failed", "running", "pending", "done"):
        yield from manifest.records(state)


def _receipt(manifest: Manifest, record: Record) -> dict[str, Any]:
    path = manifest.folder / CASES_FOLDER / record.case.id / RECEIPT_NAME
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError:  # a person has taken results away: the batch is still what it was
        found = {"labels": [], "findings": ["the results are no longer in their folder"], "files": []}
    return found


# --- the page -------------------------------------------------------------------------------------------------------


def _page(manifest: Manifest, spec: JobSpec) -> Iterator[str]:
    """Return the page in pieces: cases are read as it goes."""
    counts = manifest.counts()
    return stream(
        TEMPLATE,
        counts=counts,
        total=sum(counts.values()),
        job=spec.job + (f" ({spec.options['task']})" if spec.options.get("task") else ""),
        notice=RESEARCH_ONLY,
        times=_times(manifest),
        failures=islice(manifest.records("failed"), MAX_FAILURES),
        most_failures=MAX_FAILURES,
        cards=(_card(record, _receipt(manifest, record)) for record in manifest.records("done", limit=MAX_CARDS)),
        most_cards=MAX_CARDS,
        cases_name=CASES_NAME,
        measurements_name=MEASUREMENTS_NAME,
    )


def _times(manifest: Manifest) -> str:
    """One sentence on where the time went: the mean of each step over finished cases."""
    sums, count = dict.fromkeys(ROLES, 0.0), 0
    for record in manifest.records("done"):
        count += 1
        for role in ROLES:
            sums[role] += record.stages.get(role, 0.0)
    if not count:
        return ""
    return "Mean seconds per case: " + ", ".join(f"{role} {sums[role] / count:.2f}" for role in ROLES) + "."


def _card(record: Record, receipt: dict[str, Any]) -> dict[str, Any]:
    """Return what the page says of a finished case."""
    labels = sorted(receipt["labels"], key=lambda row: -int(row.get("voxels", 0)))
    return {
        "id": record.case.id,
        "folder": f"{CASES_FOLDER}/{record.case.id}",
        "picture": THUMBNAIL_NAME,
        "seconds": sum(record.stages.values()),
        "peak_mib": record.peak_mib,
        "labels": [(row["label"], row.get("size", ""), _mean(row)) for row in labels[:LABELS_SHOWN]],
        "more": max(0, len(labels) - LABELS_SHOWN),
        "findings": receipt.get("findings", []),
        "files": [file for file in receipt["files"] if file != THUMBNAIL_NAME],
    }


def _short(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _mean(row: dict[str, Any]) -> str:
    return f"{_short(row['mean'])} ± {_short(row['std'])} {row['unit']}" if "mean" in row else ""
