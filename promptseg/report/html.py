"""The report as one HTML file: styles and pictures inside, no script, nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from promptseg.report.parts import RESEARCH_ONLY, Report, Structure, Thumbnail
from promptseg.report.summary import LOW_CONFIDENCE, notes_of, shortened, summary_table, table_note

__all__ = ["render_html"]

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light; --ink: #16202b; --soft: #5a6775; --line: #dde3ea; --ground: #f4f6f8; --warn: #9a3b00; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 14px/1.45 system-ui, "Segoe UI", "Noto Sans", "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1040px; margin: 24px auto; padding: 28px 36px 20px; background: #fff; border: 1px solid var(--line);
  border-radius: 10px; }
header { display: flex; justify-content: space-between; align-items: baseline; gap: 24px; flex-wrap: wrap;
  border-bottom: 2px solid var(--ink); padding-bottom: 10px; }
h1 { font-size: 22px; font-weight: 650; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 12px; font-weight: 650; letter-spacing: 0.06em; text-transform: uppercase; color: var(--soft);
  margin: 26px 0 8px; }
h3 { font-size: 15px; margin: 0 0 6px; }
.notice { color: var(--warn); font-weight: 600; }
.facts { display: flex; flex-wrap: wrap; gap: 4px 28px; margin: 12px 0 0; }
.facts div { display: flex; gap: 8px; }
dt { color: var(--soft); } dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.facts + .planes { margin-top: 16px; }
.small { margin: 6px 0 0; color: var(--soft); font-size: 12px; }
.planes { display: flex; gap: 8px; align-items: center; background: #0b0d10; border-radius: 8px; padding: 10px; }
figure { margin: 0; min-width: 0; }
figure img { display: block; width: 100%; height: auto; }
figcaption { color: #b9c2cd; font-size: 11.5px; margin-top: 4px; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 0 6px 14px; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { color: var(--soft); font-weight: 500; font-size: 12.5px; border-bottom-color: #aab4c0; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tbody th { font-weight: 600; white-space: normal; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 8px;
  border: 1px solid rgb(0 0 0 / 25%); }
.low { color: var(--warn); font-weight: 650; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(430px, 1fr)); gap: 18px 22px; }
.card p { margin: 5px 0 0; color: var(--soft); font-size: 13px; }
ul { margin: 0; padding: 0; list-style: none; }
li { padding: 4px 0 4px 74px; position: relative; }
li b { position: absolute; left: 0; font-weight: 600; font-size: 12.5px; }
.error b, .warning b { color: var(--warn); } .info b { color: var(--soft); }
li small { color: var(--soft); }
footer { margin-top: 26px; padding-top: 10px; border-top: 1px solid var(--line); color: var(--soft); font-size: 12.5px;
  display: flex; justify-content: space-between; gap: 20px; flex-wrap: wrap; }
@media (max-width: 560px) { main { padding: 18px; margin: 0; border: 0; } .cards { grid-template-columns: 1fr; }
  .planes { flex-wrap: wrap; } .planes figure { flex: 1 1 100% !important; } }
@media print { @page { size: A4; margin: 12mm; } body { background: #fff; font-size: 10.5px; }
  main { max-width: none; margin: 0; padding: 0; border: 0; } .planes { print-color-adjust: exact;
  -webkit-print-color-adjust: exact; } .swatch { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .cards { grid-template-columns: 1fr 1fr; } .card, tr, figure { break-inside: avoid; } h2 { margin-top: 14px; }
  th, td { padding-top: 3px; padding-bottom: 3px; } }
"""


def render_html(report: Report) -> str:
    """Return the report as one HTML document in UTF-8; every text of the study is escaped."""
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="robots" content="noindex">',
        f"<title>Segmentation report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
        f'<header><h1>Segmentation report</h1><span class="notice">{RESEARCH_ONLY}</span></header>',
        _facts(report.identity) if report.identity else "",
        _facts(report.image),
        _planes(report.overview),
        _table(report),
        _cards(report.structures),
        "<h2>How it was made</h2>",
        _facts(report.made),
        _findings(report.findings),
        f"<footer><span>promptseg · {RESEARCH_ONLY} Check every contour before use.</span>"
        f"<span>{escape(report.created)}</span></footer>",
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _facts(facts: Mapping[str, str]) -> str:
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(shortened(value))}</dd></div>" for name, value in facts.items()
    )
    return f'<dl class="facts">{items}</dl>'


def _planes(pictures: Sequence[Thumbnail]) -> str:
    """Return the planes side by side in one scale: each is as wide as its picture."""
    if not pictures:
        return ""
    figures = []
    for picture in pictures:
        data = base64.b64encode(picture.png).decode("ascii")
        width, height = picture.size
        caption = f"<figcaption>{escape(picture.title)}</figcaption>" if picture.title else ""
        figures.append(
            f'<figure style="flex: {width} 1 0"><img src="data:image/png;base64,{data}" alt="{escape(picture.words)}" '
            f'width="{width}" height="{height}">{caption}</figure>'
        )
    return f'<div class="planes">{"".join(figures)}</div>'


def _table(report: Report) -> str:
    header, rows = summary_table(report)
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in header)
    body = []
    for structure, row in zip(report.structures, rows, strict=True):
        cells = "".join(f"<td>{escape(text)}</td>" for text in row[1:-1])
        low = structure.confidence is not None and structure.confidence < LOW_CONFIDENCE
        mark = ' class="low"' if low else ""
        sure = f"<td{mark}>{escape(row[-1])}</td>"
        body.append(f'<tr><th scope="row">{_swatch(structure)}{escape(row[0])}</th>{cells}{sure}</tr>')
    return (
        "<h2>Measurements</h2>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
        f'<p class="small">{escape(table_note(report))}</p>'
    )


def _swatch(structure: Structure) -> str:
    red, green, blue = structure.color
    return f'<span class="swatch" style="background: rgb({red} {green} {blue})"></span>'


def _cards(structures: Sequence[Structure]) -> str:
    cards = []
    for structure in structures:
        notes = "".join(f"<p>{escape(note)}</p>" for note in notes_of(structure))
        if structure.thumbnails or notes:
            title = f"<h3>{_swatch(structure)}{escape(structure.name)}</h3>"
            cards.append(f'<section class="card">{title}{_planes(structure.thumbnails)}{notes}</section>')
    return f'<h2>Structures</h2><div class="cards">{"".join(cards)}</div>' if cards else ""


def _findings(findings: Sequence[Mapping[str, str]]) -> str:
    items = "".join(
        f'<li class="{escape(found["severity"])}"><b>{escape(found["severity"])}</b>{escape(found["sentence"])} '
        f"<small>({escape(found['code'])}: {escape(found['done'])})</small></li>"
        for found in findings
    )
    said = f"<ul>{items}</ul>" if items else "<p>The self-check of the image's grid and tags found nothing.</p>"
    return f"<h2>Geometry and tags</h2>{said}"
