"""A report into files: HTML, PDF, CSV, JSON, or all four in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from promptseg.errors import WriteError
from promptseg.io.atomic import all_or_nothing
from promptseg.io.outputs import require_folder, require_output
from promptseg.measure.tables import plain_json, table_text
from promptseg.report.html import render_html
from promptseg.report.parts import Report
from promptseg.report.pdf import render_pdf

__all__ = ["REPORT_EXTENSIONS", "render_html", "render_pdf", "report_bytes", "require_report", "write_report"]

REPORT_EXTENSIONS = (".html", ".pdf", ".csv", ".json")


def report_bytes(report: Report, extension: str) -> bytes:
    """Return a report's file content.

    Args:
        report: what it says.
        extension: ".html", ".pdf", ".csv" (one row per label and measure) or ".json".

    Raises:
        WriteError: another extension.
    """
    if extension == ".pdf":
        return render_pdf(report)
    if extension == ".html":
        return render_html(report).encode("utf-8")
    if extension == ".json":
        return (json.dumps(plain_json(report.to_dict()), indent=1, ensure_ascii=False) + "\n").encode("utf-8")
    if extension == ".csv":
        return table_text(report.rows()).encode("utf-8")
    raise WriteError(f"cannot write a report as {extension or 'that'}: expected {', '.join(REPORT_EXTENSIONS)}")


def require_report(path: str | Path, *, inputs: Iterable[str | Path] = ()) -> Path:
    """Check before the work that ``write_report`` will be able to write there; ``inputs`` are never replaced.

    Raises:
        WriteError: another extension, an unwritable place, or one of the inputs.
    """
    path = Path(path).expanduser()
    if path.suffix:
        return require_output(path, REPORT_EXTENSIONS, inputs=inputs)
    return require_folder(path, [f"report{extension}" for extension in REPORT_EXTENSIONS], inputs=inputs)


def write_report(report: Report, path: str | Path) -> tuple[Path, ...]:
    """Write a report, whole or not at all.

    Args:
        report: what it says.
        path: a file (its extension says the format), or a name without extension: a folder, made when it is missing,
            that gets ``report.html``, ``report.pdf``, ``report.csv`` and ``report.json``.

    Returns:
        Every file written.

    Raises:
        WriteError: another extension, or an unwritable place.
    """
    path = Path(path).expanduser()
    if path.suffix:
        data = report_bytes(report, path.suffix.lower())
        with all_or_nothing(path) as folder:
            (folder / path.name).write_bytes(data)
        return (path,)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise WriteError(f"cannot make the folder {path}: {exc.strerror}") from exc
    return tuple(write_report(report, path / f"report{extension}")[0] for extension in REPORT_EXTENSIONS)
