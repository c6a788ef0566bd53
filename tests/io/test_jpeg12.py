"""12-bit JPEG is decoded in a child, which may die without harm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from promptseg.errors import ReadError
from promptseg.io import jpeg12, read_volume

NAME = "CTImage.dcm_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm"
LOSSLESS = "CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm"


def test_the_same_slice_as_the_lossless_one(shared_data: Path) -> None:
    folder = shared_data / "robustness" / "dicom_single"
    lossy, exact = read_volume(folder / NAME), read_volume(folder / LOSSLESS)
    difference = lossy.array.astype(float) - exact.array
    assert np.abs(difference).mean() < 5.0  # of HU; the codec's own loss
    assert np.ptp(exact.array) > 1000


def test_a_child_that_dies_is_replaced(shared_data: Path) -> None:
    path = shared_data / "robustness" / "dicom_single" / NAME
    first = read_volume(path).array
    child = jpeg12._child
    assert child is not None
    child.kill()
    child.wait()
    assert np.array_equal(read_volume(path).array, first)
    assert jpeg12._child is not child


def test_a_child_that_answers_nothing_means_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that GDCM cannot open; a time limit that is over before the child is there."""
    (tmp_path / "a.dcm").write_bytes(b"no DICOM file")
    with pytest.raises(ReadError, match=r"12-bit JPEG\) are damaged"):
        jpeg12.decode_jpeg12(tmp_path / "a.dcm", "a.dcm")
    monkeypatch.setattr(jpeg12, "SECONDS", 0.0)
    jpeg12._end_last()
    with pytest.raises(ReadError, match=r"12-bit JPEG\) are damaged"):
        jpeg12.decode_jpeg12(tmp_path / "a.dcm", "a.dcm")
