"""NIfTI files with a sheared affine, resampled on request; their masks go back to the slices."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from promptseg.cli.main import main
from promptseg.errors import ReadError
from promptseg.io import read_labelmap, read_volume, write_labelmap
from promptseg.io.regrid import read_regridded
from promptseg.volume import Labelmap

SHAPE = (21, 17, 6)  # x, y, z
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def _affine(*, leaning: int = 2, lean: float = 0.35, flip: bool = False) -> NDArray[np.float64]:
    """LPS affine of an oblique, anisotropic grid off the origin, of which one axis leans on another."""
    turn, tip = np.radians([20, -35])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tip), -np.sin(tip)], [0, np.sin(tip), np.cos(tip)]])
    axes = about_z @ about_x
    columns = axes * [0.9, 0.7, 3.0]
    columns[:, leaning] += axes[:, (leaning + 1) % 3] * lean * np.linalg.norm(columns[:, leaning])
    if flip:
        columns[:, leaning] *= -1
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = columns, (-10.0, 4.0, 100.0)
    return affine


def _field(world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intensity that is linear in space: linear interpolation gives it back without error."""
    return np.asarray(world @ np.array([7.0, -5.0, 9.0]) - 900)


def _write(path: Path, affine: NDArray[np.float64]) -> Path:
    index = np.stack(np.indices(SHAPE), axis=-1)
    values = _field(index @ affine[:3, :3].T + affine[:3, 3])
    image = nib.Nifti1Image(values.astype(np.float32), RAS @ affine)
    image.set_sform(RAS @ affine, 1)
    image.set_qform(None, 0)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("leaning", [0, 1, 2])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_values_stand_where_they_were(tmp_path: Path, leaning: int, flip: bool, ending: str) -> None:
    affine = _affine(leaning=leaning, flip=flip)
    path = _write(tmp_path / f"a.{ending}", affine)
    with pytest.raises(ReadError, match=r"sheared.*--fix"):
        read_volume(path)
    volume = read_volume(path, fix=True)
    np.testing.assert_array_equal(volume.array, read_regridded(path).volume.array)
    index = np.indices(volume.shape).reshape(3, -1).T
    world = volume.geometry.voxel_to_world(index)
    inside = (np.linalg.inv(affine) @ np.column_stack([world, np.ones(len(world))]).T)[:3].T
    sure = ((inside >= 0.5) & (inside <= np.array(SHAPE) - 1.5)).all(axis=1)
    assert sure.sum() > 300
    assert np.abs(volume.array.ravel()[sure] - _field(world[sure])).max() < 0.01
    (finding,) = volume.findings
    assert (finding.code, finding.done) == ("sheared-grid", "resampled")
    assert "19.3 degrees" in finding  # atan(0.35)


def test_labels_drawn_on_the_slices_return_bit_for_bit(tmp_path: Path) -> None:
    slices = read_regridded(_write(tmp_path / "a.nii", _affine())).slices
    labels = np.random.default_rng(1).integers(0, 4, (6, 17, 21), dtype=np.uint8)
    np.testing.assert_array_equal(slices.to_slices(slices.to_grid(labels)), labels)


def test_the_command_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    affine = _affine()
    path, fixed = _write(tmp_path / "a.nii.gz", affine), tmp_path / "fixed.nrrd"
    assert main(["check", str(path)]) == 3
    assert main(["check", str(path), "--fix", str(fixed)]) == 0
    assert "resampled onto a regular grid" in capsys.readouterr().out
    volume = read_volume(fixed)
    write_labelmap(Labelmap((volume.array > 0).astype(np.uint8), volume.geometry), tmp_path / "mask.nii.gz")
    back = tmp_path / "back"
    assert main(["check", str(fixed), "--back", str(tmp_path / "mask.nii.gz"), "-o", str(back)]) == 0
    for z, file in enumerate(sorted(back.iterdir())):
        part = read_labelmap(file)
        np.testing.assert_allclose(part.geometry.origin, affine[:3, 3] + z * affine[:3, 2], atol=1e-3)
        np.testing.assert_allclose(part.geometry.affine[:3, :2], affine[:3, :2], atol=1e-4)


def test_what_cannot_be_fixed_says_so(tmp_path: Path) -> None:
    affine = _affine()
    affine[:3, 1] += affine[:3, 0] * 0.3
    with pytest.raises(ReadError, match="no two of its axes are perpendicular"):
        read_regridded(_write(tmp_path / "a.nii", affine))
    with pytest.raises(ReadError, match="needs no fix"):
        read_regridded(_write(tmp_path / "b.nii", _affine(lean=0.0)))
    assert read_volume(tmp_path / "b.nii", fix=True).shape == SHAPE[::-1]


def test_a_frame_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.nii", _affine(lean=0.0))
    data = bytearray(path.read_bytes())
    data[280:284] = np.float32(np.nan).tobytes()  # srow_x[0] of nifti1.h
    path.write_bytes(data)
    with pytest.raises(ReadError, match="its sform holds numbers that are not finite"):
        read_volume(path)
