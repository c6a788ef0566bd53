"""What a person does to a mask by hand: edits, prompts moved and deleted, labels; and the exports of all that."""

from __future__ import annotations

import csv
import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from page_hand import Hand, write_ball
from scipy import ndimage

import promptseg

MIDDLE = (4, 20, 25)  # of the ball


def masks(hand: Hand) -> NDArray[np.uint8]:
    """All labels as the page's own texture has them, (z, y, x)."""
    values = hand.page.evaluate("() => Array.from(promptseg.planes.labels)")
    return np.array(values, np.uint8).reshape(hand.state("session.shape"))


def brush(hand: Hand, tool: str, radius_mm: float, *voxels: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Paint or erase along a stroke on the axial slice; return the labels."""
    hand.press(tool)
    hand.page.fill(".ps-brush", str(radius_mm))
    hand.stroke("axial", *voxels)
    return masks(hand)


def disc(shape: tuple[int, ...], centre: tuple[int, int, int], radius_mm: float) -> NDArray[np.bool_]:
    """The voxels of one axial slice whose centres lie in a circle; the ball's pixels are 0.9 mm wide."""
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    near = (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= (radius_mm / 0.9) ** 2 + 1e-9
    return np.asarray((z == centre[0]) & near)


def test_paint_erase_and_the_edits_by_hand(page: Any, tmp_path: Path) -> None:
    hand = Hand(page)
    hand.opened_files(write_ball(tmp_path / "ball.nii.gz"))
    hand.new_label("disc")
    hand.show(MIDDLE)
    shape = tuple(hand.state("session.shape"))
    found = brush(hand, "d", 6.5, MIDDLE)
    large = disc(shape, MIDDLE, 6.5)
    np.testing.assert_array_equal(found == 1, large)

    found = brush(hand, "e", 2.0, MIDDLE)
    hole = disc(shape, MIDDLE, 2.0)
    np.testing.assert_array_equal(found == 1, large & ~hole)
    hand.change("[data-key='edit-fill']")
    np.testing.assert_array_equal(masks(hand) == 1, large)

    island = (4, 6, 8)
    assert brush(hand, "d", 2.0, island)[island] == 1
    hand.change("[data-key='edit-islands']")
    np.testing.assert_array_equal(masks(hand) == 1, large)
    hand.page.keyboard.press("Control+z")
    hand.wait("() => promptseg.session.can_redo && promptseg.busy === 0")
    assert masks(hand)[island] == 1
    hand.page.keyboard.press("Control+Shift+z")
    hand.wait("() => !promptseg.session.can_redo && promptseg.busy === 0")

    hand.page.fill(".ps-number", "2")
    hand.change("[data-key='edit-shrink']")
    inner = ndimage.distance_transform_edt(large, sampling=(4.0, 0.9, 0.9)) > 2.0
    np.testing.assert_array_equal(masks(hand) == 1, inner)
    hand.page.keyboard.press("Control+z")
    hand.wait("() => promptseg.session.can_redo && promptseg.busy === 0")

    for z in (2, 6):  # two slices, and what lies between them
        hand.show((z, 20, 25))
        brush(hand, "d", 6.5, (z, 20, 25))
    hand.change("[data-key='edit-interpolate']")
    filled = masks(hand) == 1
    for z in range(2, 7):
        np.testing.assert_array_equal(filled[z], large[4])
    hand.show((4, 20, 25))
    brush(hand, "d", 0.5, (4, 20, 33))  # a thorn
    assert masks(hand)[4, 20, 33] == 1
    hand.change("[data-key='edit-smooth']")
    smooth = masks(hand) == 1
    assert not smooth[4, 20, 33]
    assert smooth[MIDDLE]
    hand.change("[data-key='edit-grow']")
    grown = masks(hand) == 1
    assert grown[smooth].all()
    reach = ndimage.distance_transform_edt(~smooth, sampling=(4.0, 0.9, 0.9)) <= 2.0
    np.testing.assert_array_equal(grown, smooth | reach)


def test_prompts_are_drawn_moved_and_deleted(page: Any, tmp_path: Path) -> None:
    hand = Hand(page)
    hand.opened_files(write_ball(tmp_path / "ball.nii.gz"))
    hand.show(MIDDLE)
    hand.click("axial", MIDDLE)
    ball = masks(hand) == 1
    hand.stroke("axial", MIDDLE, (4, 4, 4))  # the mark itself: dragged off the ball
    moved = hand.state("session.prompts[0].prompt.voxel")
    assert np.allclose(moved, (4, 4, 4), atol=0.6)
    assert not np.array_equal(masks(hand) == 1, ball)
    hand.press("Delete")
    hand.wait("() => !promptseg.session.prompts.length && promptseg.busy === 0")
    assert not masks(hand).any()

    hand.press("b")
    hand.drag("axial", (4, 9, 11), (4, 31, 39))
    assert hand.state("session.prompts[0].prompt.voxel") == [[4, 9, 11], [5, 32, 40]]
    whole = (masks(hand) == 1).sum()
    assert 0.8 < whole / (np.pi * 11 * 14) < 1.2
    hand.stroke("axial", (4, 31.5, 39.5), (4, 21.5, 39.5))  # its lower right corner
    assert hand.state("session.prompts[0].prompt.voxel")[1][1] in (21, 22, 23)
    assert (masks(hand) == 1).sum() < 0.8 * whole
    hand.change("[data-key^='drop-']")
    assert not masks(hand).any()

    hand.press("s")
    hand.drag("axial", (4, 20, 15), (4, 20, 35))
    assert hand.state("session.prompts[0].prompt.type") == "scribble"
    assert (masks(hand) == 1)[4, 20, 15:36].all()
    hand.change("[data-key^='drop-']")

    hand.press("l")
    hand.stroke("axial", (4, 8, 11), (4, 8, 39), (4, 32, 39), (4, 32, 11))
    assert hand.state("session.prompts[0].prompt.type") == "lasso"
    assert 0.7 < (masks(hand) == 1).sum() / (np.pi * 11 * 14) < 1.3
    hand.press("p")


def test_labels_are_renamed_coloured_locked_hidden_merged_and_deleted(page: Any, tmp_path: Path) -> None:
    hand = Hand(page)
    hand.opened_files(write_ball(tmp_path / "ball.nii.gz"))
    hand.show(MIDDLE)
    for name, centre in (("one", (4, 20, 15)), ("two", (4, 20, 35))):
        hand.new_label(name)
        brush(hand, "d", 4.0, centre)
    one, two = (int((masks(hand) == value).sum()) for value in (1, 2))

    page.dblclick("[data-key=label-1]")
    page.fill("[data-label='1'] input[type=text]", "left kidney")
    before = hand.state("session.revision")
    page.keyboard.press("Enter")
    hand.wait("n => promptseg.session.revision !== n && promptseg.busy === 0", before)
    assert [label["name"] for label in hand.state("session.labels")] == ["left_kidney", "two"]

    page.evaluate(
        """() => { const field = document.querySelector("[data-label='1'] input[type=color]");
          field.value = "#ff0000"; field.dispatchEvent(new Event("change")); }"""
    )
    hand.wait("() => promptseg.session.labels[0].colour === '#ff0000' && promptseg.busy === 0")
    red, green, blue = hand.colour("axial", (4, 20, 15))
    assert red > green + 40 < blue + 80
    assert red > blue + 40

    page.click("[data-key=lock-1]")
    hand.wait("() => promptseg.session.labels[0].locked && promptseg.busy === 0")
    page.click("[data-key=label-2]")
    hand.settled()
    brush(hand, "d", 4.0, (4, 20, 17))  # over the locked one
    assert (masks(hand) == 1).sum() == one
    assert (masks(hand) == 2).sum() > two
    page.click("[data-key=lock-1]")
    hand.wait("() => !promptseg.session.labels[0].locked && promptseg.busy === 0")

    page.click("[data-key=eye-1]")
    hand.wait("() => promptseg.session.labels[0].visible === false && promptseg.busy === 0")
    red, green, blue = hand.colour("axial", (4, 20, 13))
    assert max(red, green, blue) - min(red, green, blue) < 12

    total = int((masks(hand) > 0).sum())
    page.click("[data-key=more-2]")
    page.select_option("[data-label='2'] .ps-menu select", "1")
    hand.wait("() => promptseg.session.labels.length === 1 && promptseg.busy === 0")
    assert (masks(hand) == 1).sum() == total
    page.click("[data-key=more-1]")
    page.click("[data-label='1'] .ps-danger")
    hand.wait("() => !promptseg.session.labels.length && promptseg.busy === 0")
    assert not masks(hand).any()
    page.keyboard.press("Control+z")
    hand.wait("() => promptseg.session.labels.length === 1 && promptseg.busy === 0")
    assert (masks(hand) == 1).sum() == total


def test_every_export_has_what_is_on_the_screen(page: Any, tmp_path: Path) -> None:
    hand = Hand(page)
    path = write_ball(tmp_path / "ball.nii.gz")
    hand.opened_files(path)
    hand.new_label("ball")
    hand.show(MIDDLE)
    hand.click("axial", MIDDLE)
    hand.grow()
    shown = masks(hand)
    assert (shown.any(axis=(1, 2))).sum() >= 5
    image = sitk.ReadImage(str(path))
    for kind in ("nrrd", "seg.nrrd", "mha"):
        written = sitk.ReadImage(str(hand.export(kind, tmp_path)))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(written), shown, err_msg=kind)
        assert np.allclose(written.GetOrigin(), image.GetOrigin(), atol=1e-3), kind
        assert np.allclose(written.GetDirection(), image.GetDirection(), atol=1e-5), kind

    corners = _stl_points(hand.export("stl", tmp_path))
    world = nibabel.affines.apply_affine(nibabel.load(path).affine, np.argwhere(shown.T))
    assert np.allclose(np.abs(corners).max(axis=0), np.abs(world).max(axis=0), atol=4.5)  # up to a voxel; LPS or RAS

    log = hand.export("prompts", tmp_path)
    np.testing.assert_array_equal(promptseg.replay(promptseg.read_volume(path), log).array, shown)

    with hand.export("csv", tmp_path).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    volume = next(row for row in rows if row["name"] == "volume")
    assert abs(float(volume["value"]) - shown.sum() * 0.9 * 0.9 * 4.0 / 1000) < 0.01

    report = hand.export("report.html", tmp_path).read_text(encoding="utf-8")
    assert "ball" in report
    assert "not a medical device" in report.lower()
    assert hand.export("report.pdf", tmp_path).read_bytes().startswith(b"%PDF-")
    picture = sitk.ReadImage(str(hand.export("png", tmp_path)))
    assert min(picture.GetSize()) > 400
    assert np.ptp(sitk.GetArrayFromImage(picture)[..., :3], axis=-1).max() > 60  # the mask's colour is in it


def _stl_points(path: Path) -> NDArray[np.float32]:
    content = path.read_bytes()
    (count,) = struct.unpack_from("<I", content, 80)
    assert len(content) == 84 + 50 * count
    triangles = np.frombuffer(content, np.dtype([("v", "<f4", (4, 3)), ("pad", "<u2")]), count, 84)
    return np.asarray(triangles["v"][:, 1:].reshape(-1, 3))
