"""The report as PDF, A4, through reportlab: on one page where that stays readable, else on more."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from promptseg.report.letters import FONTS, font_path, runs
from promptseg.report.parts import RESEARCH_ONLY, Report, Structure, Thumbnail
from promptseg.report.summary import LOW_CONFIDENCE, notes_of, shortened, summary_table, table_note

__all__ = ["render_pdf"]

MM = 72 / 25.4
WIDTH = 182 * MM  # A4 less margins of 14 mm
SCALES = (1.0, 0.86, 0.74)  # of letters and pictures: the first that fits one page; the last is 6 point letters
BOLD = "VeraBd"
INK, SOFT, LINE, WARN, NIGHT = "#16202b", "#5a6775", "#dde3ea", "#9a3b00", "#0b0d10"


def render_pdf(report: Report) -> bytes:
    """Return the report as a PDF document. Its metadata name no person; the same report gives the same bytes.

    Letters: see ``promptseg.report.letters``.
    """
    for scale in SCALES:
        data, pages = _build(report, scale)
        if pages == 1:
            break
    return data


def _build(report: Report, scale: float) -> tuple[bytes, int]:
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

    buffer = io.BytesIO()
    document = BaseDocTemplate(
        buffer,
        pagesize=A4,
        title="Segmentation report",
        author="promptseg",
        subject=RESEARCH_ONLY,
        creator="promptseg",
        invariant=1,
    )
    frame = Frame(
        14 * MM, 15 * MM, WIDTH, A4[1] - 27 * MM, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0
    )
    document.addPageTemplates([PageTemplate(frames=[frame], onPage=_footer(report))])
    document.build(_story(report, scale))
    return buffer.getvalue(), document.page


def _story(report: Report, scale: float) -> list[Any]:
    from reportlab.platypus import HRFlowable, Spacer

    notice = f'<font size="{8.5 * scale:.1f}" color="{WARN}">{RESEARCH_ONLY}</font>'
    story: list[Any] = [
        _grid(
            [[_text("Segmentation report", 15, scale, bold=True), _text(notice, 8.5, scale, right=True)]], (0.5, 0.5)
        ),
        HRFlowable(width="100%", thickness=1.2, color=INK, spaceBefore=3, spaceAfter=4),
    ]
    story += [_facts(facts, scale) for facts in (report.identity, report.image) if facts]
    if report.overview:
        story += [Spacer(1, 4), _planes(report.overview, WIDTH, 66 * MM * scale, scale)]
    story += [_heading("Measurements", scale), _table(report, scale)]
    story.append(_text(_safe(table_note(report)), 6.4, scale, color=SOFT))
    cards = [_card(s, (WIDTH - 12) / 2, scale) for s in report.structures if s.thumbnails or notes_of(s)]
    if cards:
        story.append(_heading("Structures", scale))
        story += [_grid([[*cards[i : i + 2], ""][:2]], (0.5, 0.5), gap=6) for i in range(0, len(cards), 2)]
    story += [_heading("How it was made", scale), _facts(report.made, scale), _heading("Geometry and tags", scale)]
    for found in report.findings:
        color = SOFT if found["severity"] == "info" else WARN
        words = f'<font color="{color}">{_safe(found["severity"])}</font>  {_safe(found["sentence"])} '
        story.append(
            _text(f'{words}<font color="{SOFT}">({_safe(found["code"])}: {_safe(found["done"])})</font>', 7.6, scale)
        )
    if not report.findings:
        story.append(_text("The self-check of the image's grid and tags found nothing.", 7.6, scale))
    return story


def _footer(report: Report) -> Any:
    def draw(canvas: Any, document: Any) -> None:
        canvas.saveState()
        canvas.setFont(_fonts()[0], 7)
        canvas.setFillColor(SOFT)
        canvas.drawString(14 * MM, 9 * MM, f"promptseg · {RESEARCH_ONLY} Check every contour before use.")
        page = f" · page {document.page}" if document.page > 1 else ""
        canvas.drawRightString(196 * MM, 9 * MM, report.created + page)
        canvas.restoreState()

    return draw


@cache
def _fonts() -> tuple[str, str]:
    """Register the shipped fonts, and the bold one that reportlab brings; return the names of regular and bold."""
    from reportlab.lib.fonts import addMapping
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    files = {BOLD: "VeraBd.ttf", **{font: str(font_path(font)) for font in FONTS}}  # Vera is DejaVu's parent
    for font, file in files.items():
        pdfmetrics.registerFont(TTFont(font, file))
        for bold in (0, 1):
            for italic in (0, 1):
                addMapping(font, bold, italic, font)  # a font that markup names stays that font in bold text
    return FONTS[0], BOLD


def _safe(text: str) -> str:
    """Return a text of a study as markup of a paragraph: escaped, and in the fonts that have its letters."""
    from reportlab.pdfbase import pdfmetrics

    bold = pdfmetrics.getFont(_fonts()[1]).face.charToGlyph
    parts = []
    for font, letters in runs(shortened(text)):
        plain = font == FONTS[0] and all(ord(letter) in bold for letter in letters)
        parts.append(escape(letters) if plain else f'<font name="{font}">{escape(letters)}</font>')
    return "".join(parts)


def _text(words: str, size: float, scale: float, *, bold: bool = False, right: bool = False, color: str = INK) -> Any:
    """Return a paragraph; ``words`` may hold markup, so a study's own text goes through ``_safe`` first."""
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    style = ParagraphStyle(
        "text",
        fontName=_fonts()[int(bold)],
        fontSize=size * scale,
        leading=size * scale * 1.3,
        textColor=color,
        alignment=2 if right else 0,
    )
    return Paragraph(words, style)


def _heading(words: str, scale: float) -> Any:
    found = _text(words.upper(), 6.6, scale, bold=True, color=SOFT)
    found.style.spaceBefore, found.style.spaceAfter, found.style.keepWithNext = 7 * scale, 2.5 * scale, 1
    return found


def _facts(facts: Mapping[str, str], scale: float) -> Any:
    words = [
        f'<font color="{SOFT}">{_safe(name)}</font> {_safe(value)}'.replace(" ", "\u00a0").replace(
            "font\u00a0", "font "
        )
        for name, value in facts.items()
    ]
    return _text(" &nbsp;&nbsp;&nbsp; ".join(words), 8, scale)


def _grid(rows: list[list[Any]], shares: tuple[float, ...], *, gap: float = 0) -> Any:
    from reportlab.platypus import Table, TableStyle

    plain = [
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), gap / 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), gap / 2),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]
    if gap:
        plain += [("RIGHTPADDING", (0, 0), (0, -1), gap), ("LEFTPADDING", (1, 0), (1, -1), gap)]
    return Table(rows, colWidths=[WIDTH * share for share in shares], style=TableStyle(plain))


def _planes(pictures: Sequence[Thumbnail], width: float, height: float, scale: float) -> Any:
    """Return the planes side by side on black, in one scale, titles below."""
    from reportlab.platypus import Image, Table, TableStyle

    pad = 3 * scale
    room = width - 2 * pad * len(pictures)
    factor = min(room / sum(p.size[0] for p in pictures), height / max(p.size[1] for p in pictures))
    images = [Image(io.BytesIO(p.png), p.size[0] * factor, p.size[1] * factor) for p in pictures]
    titles = [_text(_safe(p.title), 6.4, scale, color="#b9c2cd") for p in pictures]
    spare = (room - sum(image.drawWidth for image in images)) / len(images)
    style = [
        ("BACKGROUND", (0, 0), (-1, -1), NIGHT),
        ("VALIGN", (0, 0), (-1, 0), "MIDDLE"),
        ("ALIGN", (0, 0), (-1, 0), "CENTER"),
        *((f"{side}PADDING", (0, 0), (-1, -1), pad) for side in ("LEFT", "RIGHT", "TOP")),
        ("BOTTOMPADDING", (0, 0), (-1, 0), 0),
        ("BOTTOMPADDING", (0, 1), (-1, 1), pad),
        ("TOPPADDING", (0, 1), (-1, 1), 1),
    ]
    columns = [image.drawWidth + 2 * pad + spare for image in images]
    rows = [images, titles] if any(p.title for p in pictures) else [images]
    if len(rows) == 1:
        style = [item for item in style if item[1] != (0, 1)]
    return Table(rows, colWidths=columns, style=TableStyle(style), cornerRadii=[3] * 4)


def _table(report: Report, scale: float) -> Any:
    from reportlab.platypus import Table, TableStyle

    header, rows = summary_table(report)
    cells: list[list[Any]] = [["", *(_text(_safe(t), 7, scale, right=i > 0, color=SOFT) for i, t in enumerate(header))]]
    for structure, row in zip(report.structures, rows, strict=True):
        low = structure.confidence is not None and structure.confidence < LOW_CONFIDENCE
        texts = [_text(_safe(row[0]), 7.8, scale, bold=True)]
        texts += [_text(_safe(text), 7.8, scale, right=True) for text in row[1:-1]]
        texts.append(_text(_safe(row[-1]), 7.8, scale, right=True, bold=low, color=WARN if low else INK))
        cells.append(["", *texts])
    swatch = 9.0
    first = 0.24 if len(header) > 5 else 0.34
    rest = (WIDTH - swatch - WIDTH * first) / (len(header) - 1)
    style: list[tuple[Any, ...]] = [
        ("LINEBELOW", (0, 0), (-1, -1), 0.5, LINE),
        ("LINEBELOW", (0, 0), (-1, 0), 0.6, "#aab4c0"),
        ("LEFTPADDING", (0, 0), (-1, -1), 3),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 1.8 * scale),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.8 * scale),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
    ]
    for number, structure in enumerate(report.structures, start=1):
        cells[number][0] = _swatch(structure.color, 7 * scale)
    widths = [swatch + 3, WIDTH * first - 3, *([rest] * (len(header) - 1))]
    return Table(cells, colWidths=widths, style=TableStyle(style), repeatRows=1)


def _swatch(color: tuple[int, int, int], size: float) -> Any:
    from reportlab.graphics.shapes import Drawing, Rect
    from reportlab.lib.colors import Color

    drawing = Drawing(size, size)
    red, green, blue = (value / 255 for value in color)
    drawing.add(Rect(0, 0, size, size, rx=1.5, ry=1.5, fillColor=Color(red, green, blue), strokeWidth=0.3))
    return drawing


def _card(structure: Structure, width: float, scale: float) -> list[Any]:
    from reportlab.platypus import Spacer, Table

    name = _text(_safe(structure.name), 8.4, scale, bold=True)
    title = Table([[_swatch(structure.color, 7 * scale), name]], colWidths=[11 * scale, width - 11 * scale])
    title.setStyle([(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP")])
    title.setStyle([("BOTTOMPADDING", (0, 0), (-1, -1), 2), ("VALIGN", (0, 0), (-1, -1), "MIDDLE")])
    found: list[Any] = [title]
    if structure.thumbnails:
        found.append(_planes(structure.thumbnails, width, 31 * MM * scale, scale))
    found += [Spacer(1, 1.5), *(_text(_safe(note), 7.2, scale, color=SOFT) for note in notes_of(structure))]
    return found
