"""NIfTI headers that disagree with themselves, compared with nibabel and with ITK."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from promptseg.errors import ReadError
from promptseg.io import read_labelmap, read_volume, write_labelmap
from promptseg.volume import Geometry, Labelmap

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
NIFTI = (nibabel.Nifti1Image, nibabel.Nifti2Image)


def _saved(
    path: Path, array: NDArray[Any], qform: Any, sform: Any, codes: tuple[int, int], kind: Any = NIFTI[0], **fields: Any
) -> Path:
    """Write with nibabel, then set header fields as they are given."""
    image = kind(np.ascontiguousarray(array.T), None)
    image.set_qform(qform, 1)
    image.set_sform(sform, 1)
    header = image.header
    header["qform_code"], header["sform_code"] = codes
    for name, value in fields.items():
        header[name] = value
    header["magic"] = header["magic"]
    header["vox_offset"] = 352 if kind is NIFTI[0] else 544
    path.write_bytes(header.binaryblock + b"\0" * 4 + np.ascontiguousarray(array).tobytes())
    return path


def _oblique(oblique: Geometry, shift: float = 0.0) -> NDArray[np.float64]:
    affine = LPS @ oblique.affine
    affine[:3, 3] += shift
    return np.asarray(affine)


@pytest.mark.parametrize("codes", list(product(range(5), range(5))))
def test_the_frame_that_counts_is_the_one_that_itk_takes(
    codes: tuple[int, int], tmp_path: Path, lettered: NDArray[np.int16], oblique: Geometry
) -> None:
    path = _saved(tmp_path / "a.nii", lettered, _oblique(oblique), _oblique(oblique, 50.0), codes)
    volume, truth = read_volume(path), sitk.ReadImage(str(path))
    np.testing.assert_allclose(volume.geometry.origin, truth.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(volume.geometry.spacing, truth.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(volume.geometry.direction, truth.GetDirection(), atol=1e-5)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(truth))
    conflict = [finding.code for finding in volume.findings if finding.code == "qform-sform-conflict"]
    assert bool(conflict) is (min(codes) > 0)


@pytest.mark.parametrize("kind", NIFTI)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", ">i2", "i4", ">u4", "i8", ">f4", "f8"])
def test_types_and_byte_orders_against_nibabel(
    kind: Any, dtype: str, tmp_path: Path, lettered: NDArray[np.int16], oblique: Geometry
) -> None:
    array = (lettered - lettered.min() if dtype[-2] == "u" else lettered).astype(dtype)
    array = array % 100 if dtype[-1] == "1" else array
    header = kind.header_class(endianness=">" if dtype.startswith(">") else "<")
    header.set_data_dtype(np.dtype(dtype))
    image = kind(np.ascontiguousarray(array.T), _oblique(oblique), header)
    for name in ("a.nii", "a.nii.gz"):
        nibabel.save(image, tmp_path / name)
        volume = read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.array, np.asarray(nibabel.load(tmp_path / name).dataobj).T)
        assert volume.array.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_allclose(volume.geometry.affine, oblique.affine, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("pixdim", [0.0, 1.0, -2.0])
@pytest.mark.parametrize("codes", [(0, 1), (0, 2), (0, 4)])
def test_a_right_sform_counts_whatever_pixdim_says(
    pixdim: float, codes: tuple[int, int], tmp_path: Path, lettered: NDArray[np.int16], oblique: Geometry
) -> None:
    lengths = [1, pixdim, pixdim, pixdim, 1, 1, 1, 1]
    path = _saved(tmp_path / "a.nii", lettered, None, _oblique(oblique), codes, pixdim=lengths)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.geometry.affine, oblique.affine, rtol=1e-5, atol=1e-4)
    assert "pixdim-conflict" in [finding.code for finding in volume.findings]
    header = nibabel.Nifti1Header(path.read_bytes()[:348], check=False)
    np.testing.assert_allclose(LPS @ header.get_sform(), volume.geometry.affine, atol=1e-4)


def test_negative_pixdim_is_a_length(tmp_path: Path, lettered: NDArray[np.int16], oblique: Geometry) -> None:
    """nifti1.h: pixdim 1 to 3 are positive; nibabel drops the sign with a warning too."""
    lengths = [1, -0.7, 1.3, -2.9, 1, 1, 1, 1]
    path = _saved(tmp_path / "a.nii", lettered, _oblique(oblique), None, (1, 0), pixdim=lengths)
    volume = read_volume(path)
    truth = np.asarray(nibabel.load(path).affine)
    np.testing.assert_allclose(volume.geometry.affine, LPS @ truth, rtol=1e-5, atol=1e-4)
    assert [finding.code for finding in volume.findings] == ["negative-pixdim"]


@pytest.mark.parametrize(("slope", "inter"), [(0, 5), (np.nan, 5), (np.inf, 0), (1, 0), (2, 7), (0.5, -3), (-1, 0)])
def test_scaling_against_nibabel(slope: float, inter: float, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
    fields = {"scl_slope": slope, "scl_inter": inter}
    path = _saved(tmp_path / "a.nii", lettered, np.eye(4), None, (1, 0), **fields)
    np.testing.assert_allclose(read_volume(path).array, np.asarray(nibabel.load(path).dataobj).T)


@pytest.mark.parametrize(("slope", "inter"), [(1e-50, 0.0), (1e-3, 1e7), (3.0, 1e300)])
def test_scaling_that_float32_would_lose(
    slope: float, inter: float, tmp_path: Path, lettered: NDArray[np.int16]
) -> None:
    import nibabel

    image = nibabel.Nifti2Image(lettered.T.copy(), np.diag([0.7, 1.1, 3.0, 1.0]))  # whose slope is a double
    image.header.set_slope_inter(slope, inter)
    nibabel.save(image, tmp_path / "a.nii")
    truth = np.asarray(nibabel.load(tmp_path / "a.nii").dataobj).T
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").array, truth, rtol=1e-12)


@pytest.mark.parametrize("name", ["scan", "scan.img.bak", "scan.nii", "scan.dcm"])
def test_names_do_not_matter(name: str, tmp_path: Path, lettered: NDArray[np.int16]) -> None:
    import gzip

    content = nibabel.Nifti1Image(lettered.T.copy(), np.eye(4)).to_bytes()
    for data in (content, gzip.compress(content)):
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(read_volume(tmp_path / name).array, lettered)


@pytest.mark.parametrize("codes", [(1, 2), (2, 1), (4, 3)])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_mask_states_both_places_of_its_image(
    codes: tuple[int, int], ending: str, tmp_path: Path, lettered: NDArray[np.int16], oblique: Geometry
) -> None:
    other = Geometry(oblique.shape, (0.7, 1.3, 2.9), (4, 5, 6), (0, 1, 0, -1, 0, 0, 0, 0, 1))
    path = _saved(tmp_path / "a.nii", lettered, _oblique(oblique), LPS @ other.affine, codes)
    volume = read_volume(path)
    mask = Labelmap((lettered > 0).astype(np.uint8), volume.geometry)
    write_labelmap(mask, tmp_path / f"m{ending}")
    written, truth = nibabel.load(tmp_path / f"m{ending}"), nibabel.load(path)
    np.testing.assert_allclose(written.get_sform(), truth.get_sform(), atol=1e-4)
    np.testing.assert_allclose(written.get_qform(), truth.get_qform(), atol=1e-4)
    assert [int(written.header[f"{form}_code"]) for form in ("qform", "sform")] == list(codes)
    np.testing.assert_array_equal(np.asarray(written.dataobj).T, mask.array)
    assert read_labelmap(tmp_path / f"m{ending}").geometry.same_as(volume.geometry)


def test_both_frames_sheared(tmp_path: Path, lettered: NDArray[np.int16]) -> None:
    sheared = np.diag([2.0, 3.0, 4.0, 1.0])
    sheared[0, 1] = 1.0
    path = _saved(tmp_path / "a.nii", lettered, None, sheared, (0, 1))
    with pytest.raises(ReadError, match=r"its sform is sheared by 18\.4 degrees.*check a\.nii --fix OUT"):
        read_volume(path)
    assert read_volume(path, fix=True).geometry.shape[0] >= 4


def test_no_length_at_all(tmp_path: Path, lettered: NDArray[np.int16]) -> None:
    path = _saved(tmp_path / "a.nii", lettered, None, None, (0, 0), pixdim=[1, 0, 0, 0, 0, 0, 0, 0])
    assert [finding.code for finding in read_volume(path).findings] == ["no-orientation", "no-geometry"]
