"""One table of formats: every face finds a format by the same name, extension and media type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from promptseg.app.live.exporting import EXPORTS, reads_the_log
from promptseg.batch.job import FORMATS as OF_A_BATCH
from promptseg.batch.job import REPORT
from promptseg.errors import WriteError
from promptseg.export.formats import DICOM_KINDS, FORMATS, Content, format_of, write_labels
from promptseg.io import read_labelmap
from promptseg.io.write import MASK_EXTENSIONS
from promptseg.volume import Geometry, Label, Labelmap

FRAME = Geometry((3, 5, 7), (0.7, 0.9, 2.5), (-11.0, 4.0, 90.0), (0.8, 0.6, 0, -0.6, 0.8, 0, 0, 0, 1))


@pytest.fixture
def labelmap() -> Labelmap:
    array = np.zeros(FRAME.shape, np.uint8)
    array[1, 1:4, 2:6], array[2, 2:4, 1:3] = 2, 5
    return Labelmap(array, FRAME, {2: Label(2, "liver", (1, 2, 3)), 5: Label(5, "spleen", (4, 5, 6))})


def test_every_face_takes_its_formats_from_the_table() -> None:
    assert set(OF_A_BATCH) - {REPORT} <= set(FORMATS)
    assert set(DICOM_KINDS.values()) <= set(FORMATS)
    assert {one.extension for one in FORMATS.values() if one.extension in MASK_EXTENSIONS} == set(MASK_EXTENSIONS)
    shared = set(EXPORTS) & set(FORMATS) - {"png"}  # over REST a picture of the image with the labels on it
    assert {name: EXPORTS[name] for name in shared} == {name: FORMATS[name] for name in shared}
    assert [name for name in EXPORTS if reads_the_log(name)] == [
        "dicom-seg",
        "rtstruct",
        "prompts",
        "report.html",
        "report.pdf",
    ]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a.nii.gz", "nii.gz"),
        ("a.seg.nrrd", "seg.nrrd"),
        ("A.NRRD", "nrrd"),
        ("a.b.stl", "stl"),
        ("a.dcm", "dicom-seg"),
        ("a.csv", "csv"),
    ],
)
def test_the_longest_extension_says_the_format(name: str, wanted: str) -> None:
    assert format_of(Path(name)).name == wanted


@pytest.mark.parametrize("name", ["a.nii.gs", ".nii.gz", "a", "a.gz"])
def test_another_extension_is_told_with_the_known_ones(name: str) -> None:
    with pytest.raises(WriteError, match=r"ends with one of \.nii\.gz, .*\.obj"):
        format_of(Path(name))


@pytest.mark.parametrize("needs", ["labels", "image"])
def test_every_file_that_needs_no_dicom_is_written(labelmap: Labelmap, tmp_path: Path, needs: str) -> None:
    for one in FORMATS.values():
        if one.needs != needs or one.extension in (".png",):  # holds one slice
            continue
        path = tmp_path / one.name / one.file_name()
        path.parent.mkdir()
        written = one.write(Content(labelmap, only=("liver",)), path)
        assert path in written
        assert sorted(file.name for file in path.parent.iterdir()) == sorted(file.name for file in written)
        if one.extension in MASK_EXTENSIONS:
            back = read_labelmap(path)
            np.testing.assert_array_equal(back.array, labelmap.array)


def test_a_dicom_object_needs_dicom_images(labelmap: Labelmap, tmp_path: Path) -> None:
    for name in DICOM_KINDS.values():
        with pytest.raises(WriteError, match="refers to DICOM images"):
            FORMATS[name].write(Content(labelmap), tmp_path / FORMATS[name].file_name())
    assert not list(tmp_path.iterdir())


def test_labels_go_into_a_mask_or_a_surface(labelmap: Labelmap, tmp_path: Path) -> None:
    assert write_labels(labelmap, tmp_path / "labels.obj") == (tmp_path / "labels.obj", tmp_path / "labels.mtl")
    with pytest.raises(WriteError, match="ends with one of"):
        write_labels(labelmap, tmp_path / "labels.csv")
