"""Siemens mosaics: places compared with nibabel's MosaicWrapper; what cannot be proved is refused."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from mosaic_phantom import csa, mosaic, save, tile_centres

from promptseg.errors import ReadError, WriteError
from promptseg.export import read_source
from promptseg.io import list_series, read_volume
from promptseg.io.siemens_mosaic import read_csa
from promptseg.volume import Geometry

SHAPE = (7, 10, 12)  # 3 x 3 tiles, of which two are empty


def _oblique() -> Geometry:
    """Return a grid turned about all three axes: no cosine is 0, no two spacings agree."""
    a, b, c = np.radians((20.0, -35.0, 50.0))
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return Geometry(SHAPE, (1.9, 2.3, 3.3), (-31.0, 47.5, 12.25), tuple((x @ y @ z).ravel().tolist()))


@pytest.fixture
def geometry() -> Geometry:
    return _oblique()


@pytest.fixture
def array() -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.random.default_rng(5).permutation(np.prod(SHAPE)).reshape(SHAPE).astype(np.int16)


def _close(ours: Geometry, wanted: Geometry) -> bool:
    corners = [(z, y, x) for z in (0, 6) for y in (0, 9) for x in (0, 11)]
    apart = [np.subtract(ours.voxel_to_world(c), wanted.voxel_to_world(c)) for c in corners]
    return ours.shape == wanted.shape and float(np.abs(apart).max()) < 1e-3


@pytest.mark.parametrize("side", [1, -1])
def test_every_voxel_lies_where_nibabel_puts_it(array: Any, geometry: Geometry, side: int, tmp_path: Path) -> None:
    dataset = mosaic(array, geometry, side=side)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls its DICOM readers experimental
        from nibabel.nicom.dicomwrappers import MosaicWrapper, wrapper_from_data

        wrapped = wrapper_from_data(dataset)
        assert isinstance(wrapped, MosaicWrapper)
        theirs, affine = np.asarray(wrapped.get_data()), np.asarray(wrapped.affine)
    volume = read_volume(save(dataset, tmp_path / "m.dcm"))
    assert [finding.code for finding in volume.findings] == ["mosaic"]  # type: ignore[attr-defined]
    for index in np.ndindex(theirs.shape):
        z, y, x = volume.geometry.world_to_voxel((affine @ (*index, 1))[:3])
        place = tuple(np.rint((z, y, x)).astype(int))
        assert np.allclose((z, y, x), place, atol=1e-3)
        assert volume.array[place] == theirs[index]


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("evidence", ["image header", "protocol", "both"])
def test_the_volume_comes_back(array: Any, geometry: Geometry, side: int, evidence: str, tmp_path: Path) -> None:
    centres = None if evidence == "image header" else tile_centres(geometry, 1)  # the protocol's order says nothing
    dataset = mosaic(array, geometry, side=side, with_image_header=evidence != "protocol", centres=centres)
    volume = read_volume(save(dataset, tmp_path / "m.dcm"))
    assert np.array_equal(volume.array, array)
    assert _close(volume.geometry, geometry)


def test_a_series_of_mosaics_is_4d(array: Any, geometry: Geometry, tmp_path: Path) -> None:
    for time in range(3):
        dataset = mosaic(array + time, geometry)
        dataset.InstanceNumber = dataset.AcquisitionNumber = str(time + 1)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.10.44.{time + 1}"
        save(dataset, tmp_path / "s" / f"{9 - time}.dcm")
    assert list_series(tmp_path / "s")[0].volumes == tuple(f"AcquisitionNumber {n}" for n in (1, 2, 3))
    assert np.array_equal(read_volume(tmp_path / "s", frame=2).array, array + 2)


def _with(**fields: list[str]) -> dict[str, list[str]]:
    normal = [f"{v:.8f}" for v in np.asarray(_oblique().direction).reshape(3, 3)[:, 2]]
    return {"NumberOfImagesInMosaic": ["7"], "SliceNormalVector": normal, **fields}


@pytest.mark.parametrize(
    ("fields", "protocol", "said"),
    [
        ({}, False, r"do not say how many slices"),
        (_with(NumberOfImagesInMosaic=["0"]), False, r"do not say how many slices"),
        (_with(NumberOfImagesInMosaic=["99999999999"]), False, r"do not say how many slices"),
        (_with(NumberOfImagesInMosaic=["20"]), False, r"20 slices do not divide its 36 x 30 pixels"),
        (_with(SliceNormalVector=[]), False, r"in which order its tiles lie"),
        (_with(SliceNormalVector=["1", "0", "0"]), False, r"SliceNormalVector is not perpendicular"),
        (_with(ProtocolSliceNumber=["6"]), False, r"in which order its tiles lie"),
        (
            _with(SliceNormalVector=[str(-float(v)) for v in _with()["SliceNormalVector"]]),
            True,
            r"contradict each other",
        ),
    ],
)
def test_what_cannot_be_proved_is_refused(
    fields: dict[str, list[str]], protocol: bool, said: str, array: Any, geometry: Geometry, tmp_path: Path
) -> None:
    centres = tile_centres(geometry, 1) if protocol else None
    path = save(mosaic(array, geometry, fields=fields, centres=centres), tmp_path / "m.dcm")
    with pytest.raises(ReadError, match=rf"Siemens mosaic, and .*{said}"):
        read_volume(path)


def test_another_distance_of_slices_is_refused(array: Any, geometry: Geometry, tmp_path: Path) -> None:
    dataset = mosaic(array, geometry, centres=tile_centres(geometry, 1))
    dataset.SpacingBetweenSlices = "3.0"
    with pytest.raises(ReadError, match=r"\(0018,0088\) says 3 mm, its protocol 3.3 mm"):
        read_volume(save(dataset, tmp_path / "m.dcm"))


def test_masks_do_not_refer_to_mosaics(array: Any, geometry: Geometry, tmp_path: Path) -> None:
    path = save(mosaic(array, geometry), tmp_path / "m.dcm")
    with pytest.raises(WriteError, match="holds mosaics"):
        read_source(path)


def test_a_scanners_mosaic_lies_where_its_protocol_says(shared_data: Path) -> None:
    """A file without the CSA image header: its tiles run from the protocol's last slice (88 mm) to its first."""
    folder = shared_data / "robustness" / "mr_siemens_mosaic"
    volume = read_volume(folder)
    text = next(folder.iterdir()).read_bytes().decode("latin-1")
    for index, z in ((0, 0), (24, 24), (49, 49)):
        said = re.findall(rf"asSlice\[{index}\]\.sPosition\.d(?:Sag|Cor|Tra) *= (\S+)", text)
        centre = volume.geometry.voxel_to_world((z, 39.5, 39.5)) + 1.25 * (
            np.asarray(volume.geometry.direction).reshape(3, 3)[:, :2].sum(axis=1)
        )
        normal = np.asarray(volume.geometry.direction).reshape(3, 3)[:, 2]
        assert (np.asarray(said, dtype=float) - centre) @ normal == pytest.approx(0, abs=0.15)
    tile = np.frombuffer(pydicom.dcmread(next(folder.iterdir())).PixelData, "<u2").reshape(640, 640)[:80, :80]
    assert np.array_equal(volume.array[49], tile)


def test_damaged_headers_give_what_is_whole() -> None:
    whole = csa(_with())
    assert read_csa(whole) == _with()
    for cut in range(len(whole)):
        assert set(read_csa(whole[:cut])) <= set(_with())
    rng = np.random.default_rng(1)
    for _ in range(500):
        data = bytearray(whole)
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
        read_csa(bytes(data))
