"""No result replaces what it is made from, under whatever name; what cannot be written is said before the work."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import dicom_phantoms
import numpy as np
import pytest

import promptseg
from promptseg.errors import WriteError
from promptseg.io.outputs import require_folder, require_output
from promptseg.io.write import MASK_EXTENSIONS
from promptseg.volume import Geometry, Volume

SLICES = np.arange(5 * 9 * 7, dtype=np.int16).reshape(5, 9, 7)
GRID = Geometry((5, 9, 7), (0.7, 1.1, 3.0), (4.0, -5.0, 6.0))


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    values = np.arange(np.prod(GRID.shape), dtype=np.int16).reshape(GRID.shape)
    return promptseg.write_volume(Volume.from_array(values, GRID), tmp_path / "scan.nii.gz")[0]


def names_of(scan: Path) -> dict[str, Path]:
    """The image under other names: each would be replaced by a write."""
    folder = scan.parent
    (folder / "linked.nii.gz").symlink_to(scan)
    os.link(scan, folder / "hard.nii.gz")
    (folder / "elsewhere").symlink_to(folder)
    (folder / "sub").mkdir()
    return {
        "itself": scan,
        "relative": Path(os.path.relpath(scan)),
        "around": folder / "sub" / ".." / "scan.nii.gz",
        "link": folder / "linked.nii.gz",
        "hard link": folder / "hard.nii.gz",
        "linked folder": folder / "elsewhere" / "scan.nii.gz",
        "case": folder / "SCAN.nii.GZ",
    }


@pytest.mark.parametrize("name", ["itself", "relative", "around", "link", "hard link", "linked folder", "case"])
def test_an_input_is_never_replaced(scan: Path, name: str) -> None:
    before = scan.read_bytes()
    with pytest.raises(WriteError, match="which it would replace"):
        require_output(names_of(scan)[name], MASK_EXTENSIONS, inputs=[scan])
    session = promptseg.Session(promptseg.read_volume(scan), None)  # type: ignore[arg-type]
    with pytest.raises(WriteError, match="which it would replace"):
        session.save(names_of_again(scan)[name])
    assert scan.read_bytes() == before


def names_of_again(scan: Path) -> dict[str, Path]:
    for made in ("linked.nii.gz", "hard.nii.gz", "elsewhere"):
        (scan.parent / made).unlink()
    (scan.parent / "sub").rmdir()
    return names_of(scan)


def test_voxels_beside_a_header_are_inputs_too(tmp_path: Path, scan: Path) -> None:
    promptseg.write_volume(promptseg.read_volume(scan), tmp_path / "one.mhd")
    header = (tmp_path / "one.mhd").read_text().replace("one.raw", "two.raw")
    (tmp_path / "one.mhd").write_text(header)
    (tmp_path / "one.raw").rename(tmp_path / "two.raw")
    with pytest.raises(WriteError, match=r"two\.raw"):
        require_output(tmp_path / "two.mhd", MASK_EXTENSIONS, inputs=[tmp_path / "one.mhd"])
    assert require_output(tmp_path / "three.mhd", MASK_EXTENSIONS, inputs=[tmp_path / "one.mhd"]).name == "three.mhd"


def test_no_image_of_a_folder_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    dicom_phantoms.write_dicom(folder, SLICES, GRID)
    image = sorted(folder.iterdir())[2]
    copy = tmp_path / "linked.dcm"
    copy.symlink_to(image)
    for path in (image, copy):
        with pytest.raises(WriteError, match="one of the images"):
            require_output(path, inputs=[folder])
    (folder / "seg.nii.gz").write_bytes(b"an earlier result")
    require_output(folder / "seg.nii.gz", MASK_EXTENSIONS, inputs=[folder])
    require_output(folder / "new.dcm", (".dcm",), inputs=[folder])


def test_what_goes_into_a_folder(tmp_path: Path, scan: Path) -> None:
    shutil.copy(scan, tmp_path / "mask.nii.gz")
    with pytest.raises(WriteError, match="which it would replace"):
        require_folder(tmp_path, ["mask.nii.gz"], inputs=[tmp_path / "mask.nii.gz"])
    with pytest.raises(WriteError, match="it is a file"):
        require_folder(scan)
    assert not require_folder(tmp_path / "new" / "deep").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no/such/m.nii.gz", "does not exist"),
        ("m.xyz", "ends with one of"),
        ("m.nii.gzz", r"did you mean '.nii.gz'"),
        (".nii.gz", "ends with one of"),
        ("folder.nii.gz", "it is a folder"),
        ("scan.nii.gz/m.nii.gz", "is no folder"),
    ],
)
def test_mistakes_are_one_sentence(scan: Path, name: str, sentence: str) -> None:
    (scan.parent / "folder.nii.gz").mkdir()
    with pytest.raises(WriteError, match=sentence):
        require_output(scan.parent / name, MASK_EXTENSIONS, inputs=[scan])
