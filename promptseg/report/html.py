"""The report as one HTML file: styles and pictures inside, no script, nothing fetched."""

from __future__ import annotations

import base64
from pathlib import Path

from promptseg.report.page import fill
from promptseg.report.parts import RESEARCH_ONLY, Report
from promptseg.report.summary import LOW_CONFIDENCE, notes_of, shortened, summary_table, table_note

__all__ = ["render_html"]

TEMPLATE = Path(__file__).with_name("report.html.jinja")


def render_html(report: Report) -> str:
    """Return the report as one HTML document in UTF-8; every text of the study is escaped."""
    header, rows = summary_table(report)
    shown = [(structure, notes_of(structure)) for structure in report.structures]
    return fill(
        TEMPLATE,
        report=report,
        notice=RESEARCH_ONLY,
        header=header,
        rows=list(zip(report.structures, rows, strict=True)),
        low_confidence=LOW_CONFIDENCE,
        note=table_note(report),
        cards=[(structure, notes) for structure, notes in shown if structure.thumbnails or notes],
        shortened=shortened,
        encoded=lambda png: base64.b64encode(png).decode("ascii"),
    )
