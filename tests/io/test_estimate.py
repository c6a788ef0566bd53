"""Memory is estimated from headers alone, and an image that does not fit is refused before a voxel is read."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from promptseg.errors import ReadError
from promptseg.io import read_volume, write_volume
from promptseg.io.estimate import estimate_bytes, header_size
from promptseg.volume import Geometry, Volume

Series = Callable[..., list[Path]]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".tif"])
def test_the_estimate_is_what_the_array_takes(ending: str, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
    write_volume(Volume.from_array(lettered, Geometry((4, 5, 7))), tmp_path / f"a{ending}")
    assert (
        estimate_bytes(tmp_path / f"a{ending}") == lettered.nbytes == read_volume(tmp_path / f"a{ending}").array.nbytes
    )


def test_other_formats(tmp_path: Path, lettered: NDArray[np.int16], oblique: Geometry, write_series: Series) -> None:
    nibabel.save(nibabel.MGHImage(lettered.T.copy(), np.eye(4)), tmp_path / "a.mgz")
    Image.fromarray(np.zeros((40, 56, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((40, 56), np.uint8)).save(tmp_path / "a.jpg")
    sizes = {"a.mgz": lettered.nbytes, "a.png": 40 * 56 * 3, "a.jpg": 40 * 56}
    assert {name: estimate_bytes(tmp_path / name) for name in sizes} == sizes
    assert estimate_bytes(write_series(lettered, oblique)[0]) == lettered[0].nbytes
    (tmp_path / "text").write_text("no image")
    assert estimate_bytes(tmp_path / "text") == 0


def test_zeros_that_unpack_to_gigabytes_are_refused_by_their_header(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    oblique: Geometry,
    lettered: NDArray[np.int16],
    write_series: Series,
) -> None:
    monkeypatch.setattr("promptseg.io.read.free_memory", lambda: 2**30)
    monkeypatch.setattr("promptseg.io.dicom.free_memory", lambda: 100)
    head = bytearray(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)).to_bytes()[:352])
    head[40:48] = np.array([3, 800, 800, 800], "<i2").tobytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(head)))
    meta = "NDims = 3\nDimSize = 800 800 800\nElementType = MET_FLOAT\nCompressedData = True\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(meta.encode() + zlib.compress(bytes(1000)))
    for name in ("a.nii.gz", "a.mha"):
        with pytest.raises(ReadError, match=r"its voxels take 1\.9 GiB of memory, and the limit is 1\.0 GiB"):
            read_volume(tmp_path / name)
    with pytest.raises(ReadError, match="the limit is"):
        read_volume(write_series(lettered, oblique)[0].parent)


def test_frames_and_values(tmp_path: Path, lettered: NDArray[np.int16]) -> None:
    four = np.stack([lettered, lettered, lettered])
    nibabel.save(nibabel.Nifti1Image(four.T, np.eye(4)), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti2Image(four.T, np.eye(4)), tmp_path / "b.nii")
    tifffile.imwrite(tmp_path / "c.tif", four.astype(np.uint16), imagej=True, metadata={"axes": "TZYX"})
    for name in ("a.nii.gz", "b.nii", "c.tif"):
        size = header_size(tmp_path / name)
        assert (size.frames, size.values) == (3, lettered.size)
