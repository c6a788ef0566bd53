"""Masks from other programs: names, colours, layers, number types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from promptseg.errors import ReadError
from promptseg.io import read_labelmap
from promptseg.volume import Label

ITK_SNAP = """\
# ITK-SnAP Label Description File
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0   10        1  1  1    "left kidney"
    4     0  255    0      0.5  1  0    "lesion (new)"
"""


def _write(path: Path, array: np.ndarray, fields: dict[str, str] | None = None, *, layers: bool = False) -> Path:
    image = sitk.GetImageFromArray(array, isVector=layers)
    image.SetSpacing((1.5, 2.5, 3.5))
    for key, value in (fields or {}).items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def mask() -> np.ndarray:
    array = np.zeros((3, 4, 5), dtype=np.int16)
    array[0, 1, 2], array[2, 3, 4], array[1, 1, 1] = 1, 4, 9
    return array


@pytest.mark.parametrize("beside", ["m.txt", "m.label.txt"])
def test_itk_snap_description(tmp_path: Path, mask: np.ndarray, beside: str) -> None:
    (tmp_path / beside).write_text(ITK_SNAP)
    labelmap = read_labelmap(_write(tmp_path / "m.nii.gz", mask))
    assert labelmap.array.dtype == np.uint8
    assert labelmap.label(1) == Label(1, "left kidney", (255, 0, 10))
    assert labelmap.label(4) == Label(4, "lesion (new)", (0, 255, 0))
    assert labelmap.label(9).name == "label 9"  # in the voxels, not in the description


def test_other_text_beside_a_mask_is_not_taken(tmp_path: Path, mask: np.ndarray) -> None:
    (tmp_path / "m.txt").write_text("my notes about this case\n1 2 3\n")
    assert set(read_labelmap(_write(tmp_path / "m.nii.gz", mask)).labels) == {1, 4, 9}


def test_slicer_single_layer(tmp_path: Path, mask: np.ndarray) -> None:
    fields = {
        "Segment0_Name": "tumour: core",
        "Segment0_LabelValue": "4",
        "Segment0_Color": "1 0.5 0",
        "Segment0_Layer": "0",
        "Segment1_Name": "rest",
        "Segment1_LabelValue": "1",
        "Segment1_Layer": "0",
    }
    labelmap = read_labelmap(_write(tmp_path / "m.seg.nrrd", mask, fields))
    assert labelmap.label("tumour: core") == Label(4, "tumour: core", (255, 128, 0))
    assert labelmap.mask("rest").sum() == 1
    np.testing.assert_array_equal(labelmap.array, mask)


TWO_LAYERS = {
    "Segment0_Name": "a",
    "Segment0_LabelValue": "1",
    "Segment0_Layer": "0",
    "Segment1_Name": "b",
    "Segment1_LabelValue": "1",
    "Segment1_Layer": "1",
}


class TestSlicerLayers:
    def test_apart(self, tmp_path: Path) -> None:
        layers = np.zeros((3, 4, 5, 2), dtype=np.uint8)
        layers[0, 1, 2, 0] = layers[2, 3, 4, 1] = 1
        labelmap = read_labelmap(_write(tmp_path / "m.seg.nrrd", layers, TWO_LAYERS, layers=True))
        assert labelmap.array[0, 1, 2] == labelmap.label("a").value == 1
        assert labelmap.array[2, 3, 4] == labelmap.label("b").value == 2
        assert np.count_nonzero(labelmap.array) == 2

    def test_overlapping(self, tmp_path: Path) -> None:
        layers = np.ones((3, 4, 5, 2), dtype=np.uint8)
        with pytest.raises(ReadError, match="'b' overlaps others in 60 voxels"):
            read_labelmap(_write(tmp_path / "m.seg.nrrd", layers, TWO_LAYERS, layers=True))


def test_whole_numbers_stored_as_floats(tmp_path: Path, mask: np.ndarray) -> None:
    labelmap = read_labelmap(_write(tmp_path / "m.nii.gz", mask.astype(np.float64) * 100))
    assert labelmap.array.dtype == np.uint16
    np.testing.assert_array_equal(labelmap.array, mask * 100)


def test_grey_picture_with_four_channels(tmp_path: Path) -> None:
    channels = np.zeros((4, 5, 4), dtype=np.uint8)
    channels[1, 2], channels[..., 3] = 255, 255
    labelmap = read_labelmap(_write_flat(tmp_path / "m.png", channels))
    assert labelmap.array.shape == (1, 4, 5)
    assert set(labelmap.labels) == {255}


def _write_flat(path: Path, channels: np.ndarray) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(channels, isVector=True), str(path))
    return path


class TestRefused:
    def test_fractions(self, tmp_path: Path, mask: np.ndarray) -> None:
        with pytest.raises(ReadError, match="fractions"):
            read_labelmap(_write(tmp_path / "m.nii.gz", mask + np.float32(0.5)))

    def test_negative_values(self, tmp_path: Path, mask: np.ndarray) -> None:
        with pytest.raises(ReadError, match="run from -1 to 8"):
            read_labelmap(_write(tmp_path / "m.nii.gz", mask - 1))

    def test_colours(self, tmp_path: Path) -> None:
        picture = np.random.default_rng(0).integers(0, 255, (4, 5, 3), dtype=np.uint8)
        with pytest.raises(ReadError, match="colour picture"):
            read_labelmap(_write_flat(tmp_path / "m.png", picture))

    def test_jpeg(self, tmp_path: Path) -> None:
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((8, 8), dtype=np.uint8)), str(tmp_path / "m.jpg"))
        with pytest.raises(ReadError, match="JPEG changes voxel values"):
            read_labelmap(tmp_path / "m.jpg")

    def test_folder_and_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ReadError, match="it is a folder"):
            read_labelmap(tmp_path)
        with pytest.raises(ReadError, match="no such file"):
            read_labelmap(tmp_path / "m.nii")
