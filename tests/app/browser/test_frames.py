"""A beating heart: masks belong to the frame that is shown, are carried on, and are there again; frames play."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from page_hand import Hand

AFFINE = np.diag([-1.1, -1.1, 3.0, 1.0])
INSIDE = (3, 12, 14)
PROBE = "() => promptseg.planes.probe([14, 12, 3]).value"


def test_masks_belong_to_the_frame_that_is_shown(page: Any, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 20, (30, 26, 6, 4)).astype(np.int16)  # x, y, z, t
    for frame in range(4):
        array[8:20, 6:18, 1:5, frame] += 200 + 100 * frame
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), tmp_path / "cine.nii.gz")
    organ = np.zeros((30, 26, 6), np.uint8)
    organ[22:26, 3:9, 2:4] = 1
    nibabel.save(nibabel.Nifti1Image(organ, AFFINE), tmp_path / "spleen.nii.gz")
    hand = Hand(page)
    hand.opened_files(tmp_path / "cine.nii.gz")
    page.set_input_files("[data-input=masks]", str(tmp_path / "spleen.nii.gz"))
    hand.wait("() => promptseg.session.labels.length === 1 && promptseg.busy === 0")
    assert page.locator("[data-label='1'] .ps-name").inner_text().endswith("spleen")
    assert hand.voxels() == organ.sum()
    first = hand.state("session.id")
    slider = page.locator(".ps-frames input")
    slider.fill("2")
    hand.wait("() => promptseg.shownFrame === 2 && promptseg.busy === 0")
    assert page.evaluate(PROBE) == array[14, 12, 3, 2]
    hand.show(INSIDE)
    hand.click("axial", INSIDE)
    assert (hand.state("session.frame"), hand.voxels() > 0) == (2, True)
    assert page.url.endswith(hand.state("session.id"))
    here = hand.voxels()
    page.click("[data-key=carry]")
    hand.wait("() => promptseg.session.frame === 3 && promptseg.shownFrame === 3 && promptseg.busy === 0")
    assert (hand.voxels(), page.evaluate(PROBE)) == (here, array[14, 12, 3, 3])
    slider.fill("0")
    hand.wait("() => promptseg.shownFrame === 0 && promptseg.busy === 0")
    assert (hand.state("session.id"), hand.voxels()) == (first, organ.sum())
    page.select_option(".ps-frames select", "20")
    page.click("[data-key=play]")
    for frame in (1, 2, 3, 0):
        hand.wait("n => promptseg.shownFrame === n", frame)
    page.click("[data-key=play]")
    hand.wait("() => !promptseg.frames.playing && promptseg.busy === 0")
