"""Names in any script arrive in pictures and in the PDF."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from promptseg.report import build_report, render_pdf
from promptseg.report.letters import font_path, runs
from promptseg.report.marks import text, text_width
from promptseg.volume import Geometry, Label, Labelmap, Volume

pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
GRID = Geometry((5, 20, 31), (0.8, 1.1, 4.0), (-20.0, 7.0, 300.0))
NAMES = ("Läsion größer 3×4", "肝脏 <左>", "печень", "간 かん", "Źrenica")


def drawn(words: str) -> np.ndarray:
    picture = np.zeros((40, 400, 3), np.uint8)
    text(picture, words, (5, 28), (255, 255, 255), size=20)
    return picture[..., 0]


@pytest.mark.parametrize(("one", "other"), [("ö", "o"), ("肝", "脏"), ("肝", "?"), ("ж", "?"), ("간", "?"), ("×", "x")])
def test_a_picture_shows_the_letter_itself(one, other):
    assert drawn(one).any()
    assert (drawn(one) != drawn(other)).any()


def test_a_picture_shows_what_the_font_has():
    canvas = Image.new("L", (400, 40))
    pen = ImageDraw.Draw(canvas)
    latin, han = (ImageFont.truetype(font_path(name), 20) for name in ("DejaVuSans", "DroidSansFallback"))
    pen.text((5, 28), "Größe ", 255, latin, anchor="ls")
    pen.text((5 + latin.getlength("Größe "), 28), "肝脏", 255, han, anchor="ls")
    np.testing.assert_array_equal(drawn("Größe 肝脏"), np.asarray(canvas))
    assert text_width("Größe 肝脏", 20) == np.ceil(latin.getlength("Größe ") + han.getlength("肝脏"))


def test_text_over_the_border_is_cut_off():
    picture = np.zeros((12, 30, 3), np.uint8)
    text(picture, "肝脏 und Niere", (-8, 6), halo=True)
    assert picture.any()


def test_what_no_font_has_is_its_base_letter_or_a_question_mark():
    assert runs("a\u0308") == [("DejaVuSans", "ä")]
    assert "".join(letters for _, letters in runs("𝐀𝄞")) == "A?"


def test_the_pdf_says_every_name():
    masks = np.zeros(GRID.shape, np.uint8)
    for value in range(1, len(NAMES) + 1):
        masks[1:4, 2:17, 5 * value : 5 * value + 4] = value
    labels = {value: Label.default(value, name) for value, name in enumerate(NAMES, start=1)}
    volume = Volume.from_array(np.zeros(GRID.shape, np.int16), GRID)
    reader = pypdf.PdfReader(io.BytesIO(render_pdf(build_report(volume, Labelmap(masks, GRID, labels)))))
    said = "".join(page.extract_text() for page in reader.pages)
    for name in NAMES:
        assert said.count(name) >= 2, name  # in the table and above its pictures
