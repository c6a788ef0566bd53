"""Images of other libraries, opened and given back: the same voxels at the same place, told by those libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dicom_phantoms
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

import promptseg
from promptseg.errors import ReadError
from promptseg.volume import Geometry, Labelmap, Volume

GRID = Geometry((4, 6, 5), (0.7, 1.1, 3.0), (4.0, -5.0, 6.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
VOXELS = np.arange(4 * 6 * 5, dtype=np.int16).reshape(GRID.shape)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Written by SimpleITK, an independent writer."""
    made = sitk.GetImageFromArray(VOXELS)
    made.SetSpacing(GRID.spacing)
    made.SetOrigin(GRID.origin)
    made.SetDirection(GRID.direction)
    sitk.WriteImage(made, str(tmp_path / "image.nii.gz"))
    return tmp_path / "image.nii.gz"


def require_same(volume: Volume, geometry: Geometry = GRID, atol: float = 1e-4) -> None:
    assert np.array_equal(volume.array, VOXELS)
    assert volume.array.dtype == VOXELS.dtype
    for name in ("spacing", "origin", "direction"):
        np.testing.assert_allclose(getattr(volume.geometry, name), getattr(geometry, name), atol=atol)


def test_nibabel_and_back(image: Path) -> None:
    loaded = nibabel.load(image)
    require_same(promptseg.read_volume(loaded))
    made = Labelmap(VOXELS.astype(np.uint8), GRID).to_nibabel()
    np.testing.assert_allclose(made.affine, loaded.affine, atol=1e-5)
    assert np.array_equal(np.asarray(made.dataobj), np.asarray(loaded.dataobj).astype(np.uint8))


def test_nibabel_in_metres_and_of_four_dimensions(image: Path) -> None:
    loaded = nibabel.load(image)
    scaled = nibabel.Nifti1Image(np.asarray(loaded.dataobj), np.diag([0.001, 0.001, 0.001, 1]) @ loaded.affine)
    scaled.header.set_xyzt_units("meter")
    require_same(promptseg.read_volume(scaled), atol=1e-3)
    both = np.stack([np.zeros_like(np.asarray(loaded.dataobj)), np.asarray(loaded.dataobj)], axis=-1)
    four = nibabel.Nifti1Image(both, loaded.affine)
    require_same(promptseg.read_volume(four, frame=1))
    assert any("frame" in str(finding) for finding in promptseg.read_volume(four).findings)


def test_sitk_and_back(image: Path) -> None:
    require_same(promptseg.read_volume(sitk.ReadImage(str(image))))
    made = promptseg.read_volume(image).to_sitk()
    assert made.TransformIndexToPhysicalPoint((4, 2, 1)) == pytest.approx(
        sitk.ReadImage(str(image)).TransformIndexToPhysicalPoint((4, 2, 1)), abs=1e-4
    )


def test_an_array_with_its_place(image: Path) -> None:
    require_same(promptseg.read_volume((VOXELS, GRID)))
    plain = Geometry(GRID.shape, GRID.spacing)
    require_same(promptseg.read_volume((VOXELS, GRID.spacing)), plain)
    loaded = nibabel.load(image)
    affine = promptseg.read_volume((np.asarray(loaded.dataobj), loaded.affine))
    require_same(affine)
    assert any("as nibabel" in str(finding) for finding in affine.findings)


@pytest.mark.torch
def test_torch_and_monai(image: Path) -> None:
    torch = pytest.importorskip("torch")
    require_same(promptseg.read_volume((torch.from_numpy(VOXELS.copy()), GRID)))
    data = pytest.importorskip("monai.data")
    loaded = nibabel.load(image)
    tensor = data.MetaTensor(torch.from_numpy(np.asarray(loaded.dataobj).copy())[None], affine=loaded.affine)
    require_same(promptseg.read_volume(tensor))
    back = Labelmap(VOXELS.astype(np.uint8), GRID).to_torch()
    np.testing.assert_allclose(back.affine.numpy(), loaded.affine, atol=1e-5)
    assert back.shape == (1, 5, 6, 4)


def test_pydicom_datasets(tmp_path: Path) -> None:
    files = dicom_phantoms.write_dicom(tmp_path / "series", VOXELS, GRID)
    volume = promptseg.read_volume([pydicom.dcmread(file) for file in files])
    require_same(volume)
    assert volume.modality == "CT"
    assert volume.sources == ()


class DataArray:
    """What this program asks of an xarray.DataArray; xarray itself is no dependency."""

    def __init__(self, values: Any, dims: tuple[str, ...], coords: dict[str, Any], attrs: dict[str, Any]) -> None:
        self.values, self.dims, self.attrs = values, dims, attrs
        self.coords = {name: type("C", (), {"values": np.asarray(given)}) for name, given in coords.items()}
        self.sizes = dict(zip(dims, values.shape, strict=True))

    def transpose(self, *dims: str) -> DataArray:
        values = self.values.transpose([self.dims.index(name) for name in dims])
        return DataArray(values, dims, {n: c.values for n, c in self.coords.items()}, self.attrs)


def test_xarray_by_its_dimensions_names() -> None:
    coords = {name: GRID.origin[i] + GRID.spacing[i] * np.arange(GRID.shape[2 - i]) for i, name in enumerate("xyz")}
    attrs = {"direction": np.reshape(GRID.direction, (3, 3))}
    turned = DataArray(VOXELS.transpose(2, 0, 1), ("x", "z", "y"), coords, attrs)
    require_same(promptseg.read_volume(turned))
    with pytest.raises(ReadError, match="evenly spaced"):
        promptseg.read_volume(DataArray(VOXELS, ("z", "y", "x"), {**coords, "z": [0, 1, 2, 9]}, attrs))
    with pytest.raises(ReadError, match="dimensions z, y and x"):
        promptseg.read_volume(DataArray(VOXELS, ("t", "y", "x"), {}, {}))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (3, "got int"),
        (b"bytes", "got bytes"),
        ([1, 2], "a list of int"),
        (VOXELS, r"pass \(array, None\)"),
        ((VOXELS, "1 mm"), r"got \(array, str\)"),
        ((VOXELS, (1, 1)), r"got \(array, tuple\)"),
        ((VOXELS, np.zeros((4, 4))), "three axes"),
        ((VOXELS, (1, 0, 1)), "spacing"),
    ],
)
def test_other_things_are_refused_with_what_is_taken(source: Any, sentence: str) -> None:
    with pytest.raises(ReadError, match=sentence):
        promptseg.read_volume(source)


def test_modality_and_window_by_name() -> None:
    hu = np.where(VOXELS > 50, 40, -950).astype(np.int16)
    session = promptseg.open_session((hu, GRID), "classical", modality="CT")
    assert (session.volume.modality, session.volume.window.source) == ("CT", "preset:soft-tissue")
    lung = promptseg.open_session((hu, GRID), "classical", window="lung").volume.window
    assert (lung.level, lung.width) == (-600, 1500)
    with pytest.raises(promptseg.errors.SettingsError, match="did you mean 'lung'"):
        promptseg.open_session((hu, GRID), "classical", window="lug")
