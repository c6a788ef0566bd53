"""DICOM SEG and RTSTRUCT from the page's own buttons, read back by others' readers on the images they refer to."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
from numpy.typing import NDArray
from page_hand import Hand
from scipy import ndimage
from skimage.draw import polygon2mask

LABELS = """() => {
  const { labels } = promptseg.planes;
  let text = "";
  for (let i = 0; i < labels.length; i += 32768) text += String.fromCharCode(...labels.subarray(i, i + 32768));
  return btoa(text);
}"""


def shown(hand: Hand) -> NDArray[np.uint8]:
    """All labels as the page's own texture has them, (z, y, x)."""
    found = np.frombuffer(base64.b64decode(hand.page.evaluate(LABELS)), np.uint8)
    return found.reshape(hand.state("session.shape"))


def uids(images: list[pydicom.Dataset]) -> list[str]:
    """The images' names; whoever took the patient out of these files took them out of the data sets too."""
    return [str(image.file_meta.MediaStorageSOPInstanceUID) for image in images]


def on_source(hand: Hand, images: list[pydicom.Dataset]) -> NDArray[np.uint8]:
    """The page's labels as (image, row, column) of the source, through LPS mm of both."""
    labels = shown(hand)
    ras = np.array(hand.state("planes.image.affine"))
    zyx = np.argwhere(labels)
    lps = (zyx[:, ::-1] @ ras[:, :3].T + ras[:, 3]) * (-1, -1, 1)
    found = np.zeros((len(images), images[0].Rows, images[0].Columns), np.uint8)
    along, down = np.split(np.array(images[0].ImageOrientationPatient, float), 2)
    corners = np.array([image.ImagePositionPatient for image in images], float)
    normal = np.cross(along, down)
    index = np.abs((lps @ normal)[:, None] - corners @ normal).argmin(1)
    assert np.allclose((lps - corners[index]) @ normal, 0, atol=0.01)
    row_mm, column_mm = images[0].PixelSpacing
    rows = (lps - corners[index]) @ down / row_mm
    columns = (lps - corners[index]) @ along / column_mm
    assert np.allclose([rows, columns], np.rint([rows, columns]), atol=0.01)
    found[index, np.rint(rows).astype(int), np.rint(columns).astype(int)] = labels[tuple(zyx.T)]
    return found


def filled(roi: pydicom.Dataset, images: list[pydicom.Dataset]) -> NDArray[np.bool_]:
    """The pixels whose centres lie in a region of interest; holes come out by exclusive or."""
    where = {uid: i for i, uid in enumerate(uids(images))}
    mask = np.zeros((len(images), images[0].Rows, images[0].Columns), np.bool_)
    for contour in roi.ContourSequence:
        i = where[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        along, down = np.split(np.array(images[i].ImageOrientationPatient, float), 2)
        points = np.array(contour.ContourData, float).reshape(-1, 3) - np.array(images[i].ImagePositionPatient, float)
        assert np.allclose(points @ np.cross(along, down), 0, atol=0.01)
        row_mm, column_mm = images[i].PixelSpacing
        mask[i] ^= polygon2mask(mask.shape[1:], np.stack([points @ down / row_mm, points @ along / column_mm], 1))
    return mask


def test_seg_and_rtstruct_hold_the_masks_of_the_page(page: Any, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "ct_ts_dicom_j2k" / "dicom"
    hand = Hand(page)
    hand.open_folder(folder)
    hand.opened()
    hand.grows_by_itself(False)
    middle = (10, 250, 170)
    hand.new_label("liver")
    hand.show(middle)
    hand.press("b")
    hand.drag("axial", (10, 200, 100), (10, 320, 240))
    hand.grow()
    hand.new_label("ring")
    hand.show((5, 380, 256))
    for tool, radius in (("d", "14"), ("e", "5")):
        hand.press(tool)
        page.fill(".ps-brush", radius)
        hand.stroke("axial", (5, 380, 256))

    images = [pydicom.dcmread(file) for file in sorted(folder.iterdir())]
    right = on_source(hand, images)
    assert (right == 1).any(axis=(1, 2)).sum() >= 5
    assert (right == 2).any(axis=(1, 2)).sum() == 1

    segmentation = highdicom.seg.segread(hand.export("dicom-seg", tmp_path))
    names = [segment.SegmentLabel for segment in segmentation.SegmentSequence]
    assert names == ["liver", "ring"]
    pixels = segmentation.get_pixels_by_source_instance(
        uids(images), combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(pixels, right)

    structures = pydicom.dcmread(hand.export("rtstruct", tmp_path))
    assert [roi.ROIName for roi in structures.StructureSetROISequence] == names
    for value, roi in enumerate(structures.ROIContourSequence, 1):
        wrong = filled(roi, images) != (right == value)
        assert wrong.sum() <= 0.01 * (right == value).sum()
        inner = np.array([ndimage.binary_erosion(cut == value) | ndimage.binary_erosion(cut != value) for cut in right])
        assert not (wrong & inner).any()  # only pixels at the border
