"""A zip archive of an image is read as the image."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import promptseg
from promptseg.errors import ReadError
from promptseg.export.source import read_source
from promptseg.volume import Geometry, Volume

OBLIQUE = Geometry((4, 6, 5), (0.7, 0.9, 2.5), (-30.0, 12.5, 400.0), (0.0, -0.6, 0.8, 1.0, 0.0, 0.0, 0.0, 0.8, 0.6))


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_one_file_whatever_it_is_called_inside(tmp_path: Path) -> None:
    image = Volume.from_array(np.arange(120, dtype=np.int16).reshape(4, 6, 5), OBLIQUE)
    promptseg.write_volume(image, tmp_path / "scan.nii.gz")
    packed = zipped(tmp_path / "a.zip", {"../../Doe^Jane/scan.nii.gz": (tmp_path / "scan.nii.gz").read_bytes()})
    (tmp_path / "scan.nii.gz").unlink()
    read = promptseg.read_volume(packed)
    np.testing.assert_array_equal(read.array, image.array)
    assert read.geometry.same_as(OBLIQUE)
    assert read.sources == (packed,)
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip"}


def test_a_dicom_series_and_the_images_that_a_segmentation_refers_to(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "ct_ts_dicom_j2k" / "dicom"
    files = sorted(folder.rglob("*.dcm"))[:6] or sorted(path for path in folder.rglob("*") if path.is_file())[:6]
    packed = zipped(tmp_path / "study.zip", {f"IM/{n}": path.read_bytes() for n, path in enumerate(files)})
    read = promptseg.read_volume(packed)
    alone = promptseg.read_volume(files)
    assert read.content_hash == alone.content_hash
    assert len(read_source(packed).frames) == len(files)


def test_what_an_archive_must_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = zipped(tmp_path / "inner.zip", {"a": b"x"})
    with pytest.raises(ReadError, match="another archive"):
        promptseg.read_volume(zipped(tmp_path / "outer.zip", {"inner.zip": inner.read_bytes()}))
    damaged = bytearray(zipped(tmp_path / "b.zip", {"a": bytes(5000)}).read_bytes())
    damaged[40:60] = bytes(20)
    (tmp_path / "b.zip").write_bytes(damaged)
    with pytest.raises(ReadError, match="damaged or encrypted"):
        promptseg.read_volume(tmp_path / "b.zip")
    monkeypatch.setattr("promptseg.io.archive.shutil.disk_usage", lambda _: type("", (), {"free": 10})())
    with pytest.raises(ReadError, match="TMPDIR"):
        promptseg.read_volume(zipped(tmp_path / "large.zip", {"a": bytes(100)}))
