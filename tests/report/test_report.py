"""The report: what it says, in four formats, and what it must never say."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from promptseg.api import open_session
from promptseg.cli.main import main
from promptseg.errors import GeometryMismatchError, WriteError
from promptseg.measure import measure_shape
from promptseg.prompts import Box, Point
from promptseg.report import Report, ReportOptions, build_report, render_html, render_pdf, session_report, write_report
from promptseg.session.session import Session
from promptseg.volume import Geometry, Label, Labelmap, Volume

TILT = np.cos(0.3), np.sin(0.3)
GEOMETRY = Geometry(
    (9, 40, 52), (1.1, 1.3, 4.0), (-30.0, 12.0, 99.0), (1, 0, 0, 0, TILT[0], -TILT[1], 0, TILT[1], TILT[0])
)


def _scene() -> tuple[Volume, Labelmap]:
    array = np.random.default_rng(3).normal(0, 8, GEOMETRY.shape)
    masks = np.zeros(GEOMETRY.shape, np.uint8)
    masks[2:7, 8:26, 10:34] = 1
    masks[4:6, 28:36, 38:47] = 3
    array[masks == 1] += 120
    array[masks == 3] += 300
    labels = {1: Label.default(1, "liver <b>&"), 3: Label.default(3, "Źrenica 肝"), 4: Label.default(4, "nothing")}
    return Volume.from_array(array.astype(np.int16), GEOMETRY, modality="CT"), Labelmap(masks, GEOMETRY, labels)


@pytest.fixture(scope="module")
def report() -> Report:
    return build_report(*_scene(), ReportOptions(findings=("slices drift",)))


@pytest.fixture(scope="module")
def session() -> Session:
    volume, _ = _scene()
    session = open_session(volume)
    session.new_label("liver")
    session.add(Box(voxel=((4, 6, 8), (5, 28, 36))), Point(voxel=(4, 3, 45), positive=False))
    return session


def test_measures_are_those_of_the_measure_package(report: Report) -> None:
    volume, labelmap = _scene()
    shape = measure_shape(labelmap.mask(1), GEOMETRY)
    rows = {(row["label"], row["name"]): row for row in report.rows()}
    assert rows["liver <b>&", "volume"]["value"] == pytest.approx(5 * 18 * 24 * 1.1 * 1.3 * 4 / 1000)
    assert rows["liver <b>&", "diameter_3d"]["value"] == shape.diameter_3d.length_mm
    assert rows["Źrenica 肝", "mean"]["value"] == pytest.approx(volume.array[labelmap.array == 3].mean())
    assert rows["Źrenica 肝", "mean"]["unit"] == "HU"
    assert not any(label == "nothing" for label, _ in rows)


def test_html_is_one_file_without_script_and_escapes_names(report: Report) -> None:
    page = render_html(report)
    assert "liver &lt;b&gt;&amp;" in page
    assert "<b>&" not in page.replace("<li", "")
    assert not re.search(r"<script|<link|src=\"(?!data:)|url\(|https?:", page)
    assert page.count("data:image/png") == 3 + 2 * 3
    assert page.count("Not a medical device") == 2
    assert "Źrenica 肝" in page
    assert "slices drift" in page


def test_pdf_is_one_page_and_the_same_each_time(report: Report) -> None:
    data = render_pdf(report)
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", data)) == 1
    assert data == render_pdf(report)


@pytest.mark.slow
def test_pdf_of_a_hundred_labels_goes_on_over_pages() -> None:
    volume, _ = _scene()
    masks = np.zeros(GEOMETRY.shape, np.uint8)
    masks[3:6, 4:36, 4:48] = (np.arange(32 * 44) // 14 + 1).reshape(32, 44).astype(np.uint8)
    labels = {int(v): Label.default(int(v), f"part {v}") for v in np.unique(masks) if v}
    made = build_report(volume, Labelmap(masks, GEOMETRY, labels))
    assert len(made.structures) == 101
    assert sum(bool(structure.thumbnails) for structure in made.structures) == 6
    assert len(re.findall(rb"/Type /Page\b", render_pdf(made))) > 1


def test_a_session_tells_prompts_confidence_and_model(session: Session) -> None:
    made = session_report(session)
    (liver,) = made.structures
    assert liver.prompts == ("1 box", "1 point (1 negative)")
    assert liver.confidence == session.review("liver")[0].confidence
    assert f"{liver.review[0].confidence:.2f}" in render_html(made)
    assert made.made["Model"] == "builtin"
    assert re.fullmatch("sha256 [0-9a-f]{64}", made.made["Weights"])
    assert made.image["Image digest"] == f"sha256 {session.volume.content_hash}"


def test_json_and_csv_hold_the_same_numbers(report: Report, tmp_path: Path) -> None:
    files = write_report(report, tmp_path / "out")
    assert [file.name for file in files] == ["report.html", "report.pdf", "report.csv", "report.json"]
    rows = list(csv.DictReader(io.StringIO(files[2].read_text(encoding="utf-8"))))
    data = json.loads(files[3].read_text(encoding="utf-8"))
    assert data["notice"] == "Research use only. Not a medical device."
    volumes = [m["value"] for s in data["structures"] for m in s["measurements"] if m["name"] == "volume"]
    assert [float(row["value"]) for row in rows if row["name"] == "volume"] == volumes
    assert all(row["definition"] for row in rows)


def test_a_photograph_is_measured_as_a_plane() -> None:
    picture = np.full((30, 44, 3), 90, np.uint8)
    masks = np.zeros((1, 30, 44), np.uint8)
    masks[0, 5:15, 6:30] = 1
    made = build_report(Volume.from_array(picture), Labelmap(masks, Geometry((1, 30, 44)), {1: Label.default(1)}))
    assert made.structures[0].quantity("volume") is None
    assert "Area, px" in render_html(made)
    assert len(made.overview) == 1
    assert render_pdf(made).startswith(b"%PDF")


def test_another_grid_and_another_format_are_refused(report: Report, tmp_path: Path) -> None:
    volume, labelmap = _scene()
    moved = replace(GEOMETRY, origin=(-30.0, 12.0, 103.0))
    with pytest.raises(GeometryMismatchError):
        build_report(volume, Labelmap(labelmap.array, moved, labelmap.labels))
    with pytest.raises(WriteError, match=r"expected \.html, \.pdf, \.csv, \.json"):
        write_report(report, tmp_path / "report.docx")
    assert not list(tmp_path.iterdir())


def test_the_command_makes_it_again_from_a_log(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from promptseg.io import write_volume

    write_volume(session.volume, tmp_path / "scan.nrrd")
    session.export_prompts(tmp_path / "prompts.json")
    image, log = str(tmp_path / "scan.nrrd"), str(tmp_path / "prompts.json")
    assert main(["report", image, "--log", log, "-o", str(tmp_path / "again.json")]) == 0
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["structures"][0]["lowest_confidence"] == session.review("liver")[0].confidence
    session.save(tmp_path / "mask.nii.gz")
    assert main(["report", image, str(tmp_path / "mask.nii.gz"), "--log", log, "-o", str(tmp_path / "m.csv")]) == 0
    assert main(["report", image]) == 2
    assert "wrote" in capsys.readouterr().out
