"""Prompts from elsewhere."""

import numpy as np
import pytest
from phantoms import OBLIQUE, ORIGIN, SHAPE, X, Y, Z, volume_of

import promptseg
from promptseg.errors import GeometryMismatchError, PromptError, ReadError
from promptseg.export.read import mask_prompt
from promptseg.io.foreign import read_challenge_npz, recist_box

WIDE = promptseg.Geometry(SHAPE, (0.5, 1.0, 4.0), ORIGIN, OBLIQUE)  # columns half as wide as rows


def test_a_recist_line_becomes_the_square_around_its_middle():
    along_x = recist_box((7, 30, 20), (7, 30, 60), WIDE)  # 40 columns = 20 mm: 20 rows high
    assert along_x.voxel == ((7, 20, 20), (8, 41, 61))
    along_y = recist_box((7, 20, 40), (7, 40, 40), WIDE)  # 20 rows = 20 mm: 40 columns wide
    assert along_y.voxel == along_x.voxel


def test_a_disc_lies_in_the_box_of_any_of_its_diameters():
    disc = ((Y[7] - 35) ** 2 + ((X[7] - 45) * 0.5) ** 2) <= 12**2
    for angle in np.linspace(0, np.pi, 7):
        dy, dx = 12 * np.sin(angle), 24 * np.cos(angle)
        (_, y0, x0), (_, y1, x1) = recist_box((7, 35 - dy, 45 - dx), (7, 35 + dy, 45 + dx), WIDE).voxel
        outside = disc.copy()
        outside[int(y0) : int(y1), int(x0) : int(x1)] = False
        assert not outside.any()


def test_a_box_is_cut_at_the_image():
    (_, y0, _), (_, y1, x1) = recist_box((7, 30, 60), (7, 30, 91), WIDE).voxel
    assert (y0 >= 0, y1 <= SHAPE[1], x1) == (True, True, SHAPE[2])


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ((7, 1, 1), (8, 1, 5), "one axial slice"),
        ((7, 1, 1), (7, 1, 1), "expected a line"),
        ((7, 1, 1), (7, 1, 500), "outside the image"),
    ],
)
def test_a_line_that_is_none_is_refused(start, end, message):
    with pytest.raises(PromptError, match=message):
        recist_box(start, end, WIDE)


def test_a_mask_file_must_lie_on_the_images_grid(tmp_path):
    truth = (Y - 35) ** 2 + (X - 45) ** 2 + (Z - 12) ** 2 * 25 < 400
    volume = volume_of(truth)
    label = promptseg.Label.default(3, "tumour")
    promptseg.write_labelmap(
        promptseg.Labelmap(np.where(truth, np.uint8(3), np.uint8(0)), volume.geometry, {3: label}), tmp_path / "m.nrrd"
    )
    assert np.array_equal(mask_prompt(tmp_path / "m.nrrd", volume).mask, truth)
    moved = promptseg.Volume(
        volume.array, promptseg.Geometry(SHAPE, volume.geometry.spacing, (0, 0, 0), OBLIQUE), volume.window
    )
    with pytest.raises(GeometryMismatchError, match="image and mask must lie"):
        mask_prompt(tmp_path / "m.nrrd", moved)


def test_challenge_files_hold_inclusive_boxes(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 9), dtype=np.uint8)
    np.savez(tmp_path / "3d.npz", imgs=image, boxes=np.array([[1, 2, 0, 4, 5, 3]]), spacing=np.array([0.5, 0.6, 3.0]))
    volume, (box,) = read_challenge_npz(tmp_path / "3d.npz")
    assert np.array_equal(volume.array, image)
    assert volume.geometry.spacing == (0.5, 0.6, 3.0)
    assert box.voxel == ((0, 2, 1), (4, 6, 5))
    np.savez(tmp_path / "2d.npz", imgs=np.zeros((7, 9, 3), np.uint8), boxes=np.array([[1, 2, 4, 5]]))
    volume, (box,) = read_challenge_npz(tmp_path / "2d.npz")
    assert (volume.is_rgb, volume.shape) == (True, (1, 7, 9))
    assert box.voxel == ((0, 2, 1), (1, 6, 5))


def test_a_bad_challenge_file_is_one_sentence(tmp_path):
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "objects.npz", imgs=np.zeros((2, 3, 4), np.uint8), boxes=np.array([{"z_min": 1}], dtype=object))
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    for name in ("text", "objects", "other", "missing"):
        with pytest.raises(ReadError, match="cannot read"):
            read_challenge_npz(tmp_path / f"{name}.npz")
