"""What a hand that knows other viewers expects: a notch is a slice, the readout is true, deleting asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from page_hand import Hand


def test_a_notch_is_one_slice_however_long_and_small_steps_add_up(page: Any) -> None:
    hand = Hand(page)
    hand.open_example()
    hand.show((26, 52, 54))
    page.mouse.move(*hand.place("axial", (26, 52, 54)))
    start = hand.state("planes.crosshair")[2]
    page.mouse.wheel(0, 100)
    hand.wait("n => Math.abs(promptseg.planes.crosshair[2] - n) === 1", start)
    way = hand.state("planes.crosshair")[2] - start
    at = start + way
    for deltas, notches in (((120,), 1), ((-240,), -1), ((15, 15, 15), 1)):
        for delta in deltas:
            page.mouse.wheel(0, delta)
        at += way * notches
        hand.wait("n => promptseg.planes.crosshair[2] === n", at)
        hand.settled()
        assert hand.state("planes.crosshair")[2] == at


def test_the_readout_is_of_the_slice_that_is_shown(page: Any) -> None:
    hand = Hand(page)
    hand.open_example()
    hand.show((26, 52, 54))
    page.mouse.move(*hand.place("axial", (26, 52, 54)))
    page.keyboard.press("]")
    hand.settled()
    z, y, x = hand.state("hovered.voxel")
    assert z == hand.state("planes.crosshair")[2] == 27
    shown = page.evaluate("([x, y, z]) => promptseg.planes.probe([x, y, z])", [x, y, z])
    assert hand.state("hovered.value") == shown["value"]
    assert f"{shown['world'][2]:.1f} mm" in page.locator(".ps-readout").inner_text()


def test_looking_leaves_no_prompt(page: Any) -> None:
    hand = Hand(page)
    hand.open_example()
    page.keyboard.press("c")
    page.mouse.click(*hand.place("axial", (26, 40, 30)))
    hand.wait("() => Math.abs(promptseg.planes.crosshair[0] - 30) < 1")
    assert hand.state("session.prompts.length") == 0


def test_a_name_gives_the_keys_back(page: Any) -> None:
    hand = Hand(page)
    hand.open_example()
    page.locator(".ps-add input").first.fill("liver")
    page.locator(".ps-add input").first.press("Enter")
    hand.wait("() => promptseg.session.labels.length === 1 && promptseg.busy === 0")
    page.keyboard.press("b")
    assert hand.state("tool") == "box"
    page.click("[data-key='more-1']")
    assert "null" not in page.locator("[data-label='1'] .ps-menu").inner_text()


def test_deleting_a_session_asks(page: Any) -> None:
    hand = Hand(page)
    hand.open_example()
    session = hand.state("session.id")
    page.click(".ps-logo")
    row = page.locator(f"li:has([data-session='{session}'])")
    row.locator("[data-remove]").click()
    page.click("dialog [data-choice='']")
    assert row.count() == 1
    row.locator("[data-remove]").click()
    page.click("dialog [data-choice='yes']")
    row.wait_for(state="detached")


def test_numbers_of_one_study_never_stand_under_another(page: Any, tmp_path: Path) -> None:
    hand = Hand(page)
    hand.open_example()
    hand.grows_by_itself(False)
    hand.show((26, 52, 54))
    hand.click("axial", (26, 52, 54))
    hand.tab("measure")
    page.locator(".ps-card").wait_for()
    other = np.random.default_rng(2).integers(0, 900, (21, 18, 7)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(other, np.diag([-1.0, -1.0, 2.0, 1.0])), tmp_path / "other.nii.gz")
    page.click(".ps-logo")
    hand.open_files(tmp_path / "other.nii.gz")
    hand.wait("n => promptseg.session && promptseg.session.title.includes(n)", "other")
    assert page.locator(".ps-card").count() == 0
