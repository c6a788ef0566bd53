"""What a batch leaves for people: a page with failures first and a picture per case, and two tables.

``cases.csv`` alone names the images' paths, which may hold names; the page and ``measurements.csv`` can be shown
around.
"""

from __future__ import annotations

import csv
import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from promptseg.batch.job import JobSpec
from promptseg.batch.manifest import CASES_FOLDER, RECEIPT_NAME, THUMBNAIL_NAME, Manifest, Record
from promptseg.batch.worker import ROLES
from promptseg.io.atomic import all_or_nothing

__all__ = ["CASES_NAME", "MEASUREMENTS_NAME", "REPORT_NAME", "write_report"]

REPORT_NAME, CASES_NAME, MEASUREMENTS_NAME = "report.html", "cases.csv", "measurements.csv"
MAX_CARDS = 500  # pictures on the page; a browser gets slow with more
MAX_FAILURES = 2000  # lines on the page
LABELS_SHOWN = 6  # the largest, in a card
NUMBERS = ("volume_ml", "unit", "mean", "std", "min", "p10", "median", "p90", "max")
RESEARCH_ONLY = "Research use only: not a medical device."


def write_report(manifest: Manifest, spec: JobSpec, folder: Path) -> Path:
    """Write ``report.html``, ``measurements.csv`` and ``cases.csv`` from what is there now; return the page's path.

    Raises:
        WriteError: the folder cannot be written.
    """
    _write_cases(manifest, folder / CASES_NAME)
    _write_measurements(manifest, folder / MEASUREMENTS_NAME)
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
    counts = manifest.counts()
    total = sum(counts.values())
    yield _head(f"Batch: {total} cases")
    title = html.escape(spec.job + (f" ({spec.options['task']})" if spec.options.get("task") else ""))
    yield f"<header><h1>Batch <span>{title}</span></h1><ul class=counts>"
    for state, word in (("failed", "failed"), ("pending", "not done"), ("done", "done")):
        if counts[state] or state != "pending":
            yield f'<li class="{state}"><b>{counts[state]}</b> {word}</li>'
    yield f"<li><b>{total}</b> cases</li></ul><p>{RESEARCH_ONLY} {_times(manifest)}</p></header>\n"
    if counts["failed"]:
        yield "<section><h2>Failed</h2><table><tr><th>case<th>attempts<th>what<th>why</tr>\n"
        for number, record in enumerate(manifest.records("failed")):
            if number == MAX_FAILURES:
                yield f"<tr><td colspan=4>{counts['failed'] - number} more in {CASES_NAME}</td></tr>\n"
                break
            cells = (record.case.id, record.attempts, record.kind, record.reason)
            yield "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>\n"
        yield "</table></section>\n"
    if counts["pending"]:
        yield f"<p>{counts['pending']} cases wait: go on with <code>promptseg batch --resume</code>.</p>\n"
    if counts["done"]:
        yield "<section><h2>Done</h2><div class=cards>\n"
        for record in manifest.records("done", limit=MAX_CARDS):
            yield _card(record, _receipt(manifest, record))
        yield "</div>\n"
        if counts["done"] > MAX_CARDS:
            yield f"<p>The first {MAX_CARDS} of {counts['done']}; all stand in {CASES_NAME}.</p>\n"
        yield "</section>\n"
    yield f'<footer>Numbers: <a href="{MEASUREMENTS_NAME}">{MEASUREMENTS_NAME}</a>, '
    yield f'<a href="{CASES_NAME}">{CASES_NAME}</a> (holds the images\' paths).</footer></body></html>\n'


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


def _card(record: Record, receipt: dict[str, Any]) -> str:
    name = html.escape(record.case.id)
    folder = f"{CASES_FOLDER}/{name}"
    labels = sorted(receipt["labels"], key=lambda row: -float(row["volume_ml"]))
    shown = "".join(
        f"<tr><td>{html.escape(row['label'])}<td>{_short(row['volume_ml'])} ml<td>{_mean(row)}</tr>"
        for row in labels[:LABELS_SHOWN]
    )
    more = f"<p>and {len(labels) - LABELS_SHOWN} more labels</p>" if len(labels) > LABELS_SHOWN else ""
    none = "" if labels else "<p class=warn>no voxel belongs to any label</p>"
    notes = "".join(f"<p class=warn>{html.escape(text)}</p>" for text in receipt.get("findings", []))
    links = " ".join(
        f'<a href="{folder}/{html.escape(file)}">{html.escape(file)}</a>'
        for file in receipt["files"]
        if file != THUMBNAIL_NAME
    )
    picture = f'<img loading=lazy src="{folder}/{THUMBNAIL_NAME}" alt="three cuts of case {name}">'
    seconds = sum(record.stages.values())
    return (
        f"<article>{picture}<h3>{name}<small>{seconds:.1f} s, {record.peak_mib:.0f} MiB</small></h3>"
        f"<table>{shown}</table>{more}{none}{notes}<nav>{links}</nav></article>\n"
    )


def _short(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _mean(row: dict[str, Any]) -> str:
    return f"{_short(row['mean'])} ± {_short(row['std'])} {row['unit']}" if "mean" in row else ""


def _head(title: str) -> str:
    return f"""<!doctype html><html lang=en><head><meta charset=utf-8><title>{html.escape(title)}</title>
<meta name=viewport content="width=device-width, initial-scale=1"><style>
:root {{ color-scheme: light dark; --line: #8884; --bad: #c62828; --good: #2e7d32; --soft: #8881; }}
@media (prefers-color-scheme: dark) {{ :root {{ --bad: #ff8a80; --good: #81c784; }} }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1500px; padding: 24px; }}
h1 {{ font-size: 24px; margin: 0; }} h1 span {{ font-weight: 400; opacity: .7; }}
h2 {{ font-size: 18px; margin: 28px 0 10px; }}
.counts {{ display: flex; gap: 28px; list-style: none; padding: 0; margin: 14px 0; }}
.counts b {{ display: block; font-size: 28px; font-variant-numeric: tabular-nums; }}
.failed b {{ color: var(--bad); }} .done b {{ color: var(--good); }}
header p, footer {{ opacity: .75; }} footer {{ margin: 32px 0; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }}
section > table td:first-child, h3 {{ font-family: ui-monospace, monospace; }}
.cards {{ display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); }}
article {{ border: 1px solid var(--line); border-radius: 8px; overflow: hidden; background: var(--soft); }}
article img {{ width: 100%; aspect-ratio: 36/13; object-fit: contain; background: #121418; display: block; }}
article > :not(img) {{ margin: 8px 12px; width: auto; }} article table {{ width: calc(100% - 24px); font-size: 13px; }}
article td:not(:first-child) {{ text-align: right; padding-right: 0; font-variant-numeric: tabular-nums; }}
h3 {{ font-size: 14px; }} h3 small {{ float: right; opacity: .65; font-weight: 400; }}
article p, nav {{ font-size: 13px; opacity: .8; }} nav a {{ margin-right: 10px; }} .warn {{ color: var(--bad); }}
</style></head><body>
"""
