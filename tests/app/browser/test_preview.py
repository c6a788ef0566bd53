"""What a processor draws while the hand moves: nearly the picture that stands there when it rests, and much sooner."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from page_hand import Hand, write_ball

MIDDLE = (4, 20, 25)  # of the ball
PICTURE = """(preview) => {
  const { planes } = promptseg;
  planes.draw(undefined, preview);
  const { gl, canvas } = planes;
  const pixels = new Uint8Array(4 * canvas.width * canvas.height);
  gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  let text = "";
  for (let i = 0; i < pixels.length; i += 32768) text += String.fromCharCode(...pixels.subarray(i, i + 32768));
  return [canvas.height, canvas.width, btoa(text)];
}"""
COUNT = """() => {
  const { nv } = promptseg.planes;
  const draw = nv.drawScene.bind(nv);
  window.fullPictures = 0;
  nv.drawScene = () => { window.fullPictures += 1; draw(); };
}"""
MAPS = "() => [...promptseg.planes.panes.values()].flatMap((p) => [...p.origin, ...p.right, ...p.down, p.scale])"


def picture(hand: Hand, preview: bool = False) -> NDArray[np.int16]:
    """The planes' canvas as RGBA, lowest row first, drawn anew in full or as a preview."""
    height, width, text = hand.page.evaluate(PICTURE, preview)
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4).astype(np.int16)


@pytest.fixture
def hand(page: Any, tmp_path: Path) -> Hand:
    """The ball, open, with a painted disc in it."""
    hand = Hand(page)
    hand.opened_files(write_ball(tmp_path / "ball.nii.gz"))
    hand.new_label("disc")
    hand.show(MIDDLE)
    hand.press("d")
    page.fill(".ps-brush", "6.5")
    hand.stroke("axial", MIDDLE)
    hand.press("p")
    return hand


def assert_alike(hand: Hand, share: float) -> None:
    """The preview differs from the full picture only where labels meet: on at most a share of the pixels."""
    full, preview = picture(hand), picture(hand, preview=True)
    assert full[..., :3].max() > 150
    off = np.abs(full - preview).max(axis=-1) > 3  # of 255: rounding twice
    assert off.mean() <= share
    assert (preview[..., 3] == full[..., 3]).all()


def test_a_preview_looks_like_the_full_picture(hand: Hand) -> None:
    hand.page.evaluate("() => { promptseg.planes.strength.fill = 0.7; }")
    assert_alike(hand, share=0.06)
    hand.page.evaluate("() => promptseg.planes.setLut(new Uint8Array(1024))")  # labels hidden
    assert_alike(hand, share=0.0005)
    hand.page.evaluate(
        """() => { const { planes } = promptseg;
          planes.zoomAt("axial", 150, 90, 2.5); planes.panBy("coronal", 31, -17);
          planes.zoomAt("sagittal", 60, 200, 0.8); }"""
    )
    followed = hand.page.evaluate(MAPS)
    assert_alike(hand, share=0.0005)
    np.testing.assert_allclose(followed, hand.page.evaluate(MAPS), atol=1e-5)  # as NiiVue lays it out


def test_a_colour_picture_has_a_preview_too(page: Any, tmp_path: Path) -> None:
    from PIL import Image

    hand = Hand(page)
    y, x = np.mgrid[:300, :2000]  # wider than a preview's picture: every second pixel
    colours = np.stack([x * 255 // 1999, y * 255 // 299, 255 - x * 255 // 1999], -1).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "smooth.png")
    hand.open_files(tmp_path / "smooth.png")
    hand.opened()
    assert_alike(hand, share=0.002)


def test_a_window_drag_is_drawn_by_previews_and_ends_in_the_full_picture(hand: Hand) -> None:
    hand.page.evaluate(COUNT)
    x, y = hand.place("axial", MIDDLE)
    before = hand.state("planes.window")
    hand.settled()
    shown = picture(hand)
    hand.page.evaluate("() => { window.fullPictures = 0; promptseg.refineLater = () => {}; }")  # the hand never rests
    hand.page.mouse.move(x, y)
    hand.page.mouse.down(button="right")
    hand.page.mouse.move(x + 80, y - 40, steps=8)
    hand.wait("() => !promptseg.frameRequest")
    assert hand.page.evaluate("() => window.fullPictures") == 0
    assert hand.state("planes.window") != before
    hand.page.mouse.up(button="right")
    hand.wait("() => window.fullPictures === 1 && !promptseg.frameRequest")
    assert (picture(hand) != shown).mean() > 0.05
    assert hand.state("session.prompts.length") == 0  # a drag is no click
