"""One page per study for people: pictures, measurements, confidence, provenance, findings. HTML, PDF, CSV and JSON."""

from promptseg.report.content import ReportOptions, build_report, session_report
from promptseg.report.parts import Report
from promptseg.report.write import REPORT_EXTENSIONS, render_html, render_pdf, write_report

__all__ = [
    "REPORT_EXTENSIONS",
    "Report",
    "ReportOptions",
    "build_report",
    "render_html",
    "render_pdf",
    "session_report",
    "write_report",
]
