"""Whole body, a text, and the choice of a model with its download."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_hand import Hand

from promptseg.io import write_volume
from promptseg.volume import Geometry

SHAPE = (14, 40, 44)
LIVER = (3, 10, 11)  # middle of the first octant


def test_a_text_and_the_whole_body_become_labels_that_clicks_choose_and_correct(page: Any, tmp_path: Path) -> None:
    pytest.importorskip("totalsegmentator", reason="TotalSegmentator is not installed")
    from wholebody_phantoms import blocks, expected

    write_volume(blocks(Geometry(SHAPE, (3.0, 3.0, 3.0), (12.0, -7.5, 100.0))), tmp_path / "blocks.nii.gz")
    right = expected(SHAPE, (2, 3, 3))
    hand = Hand(page)
    hand.opened_files(tmp_path / "blocks.nii.gz")
    hand.tab("automatic")
    page.fill("[data-key=text]", "kidney")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-choice=kidney_left]")
    page.click("[data-choice=kidney_left]")
    hand.wait("() => promptseg.session.labels.length === 1")
    hand.settled()
    assert hand.state("session.labels[0].name") == "kidney_left"
    found = _labels(hand)
    assert (found[right == 3] == 1).all()

    page.click("[data-key=wholebody]")
    hand.wait("() => promptseg.session.labels.length === 8")
    hand.settled()
    names = {label["name"]: label["value"] for label in hand.state("session.labels")}
    assert "liver" in names
    found = _labels(hand)
    for class_id, name in ((5, "liver"), (3, "kidney_left"), (116, "sternum")):
        assert (found[right == class_id] == names[name]).all(), name

    hand.tab("segment")
    hand.grows_by_itself(False)
    hand.show(LIVER)
    page.keyboard.down("Control")
    page.mouse.click(*hand.place("axial", LIVER))
    page.keyboard.up("Control")
    hand.wait("v => promptseg.session.selected === v && promptseg.busy === 0", names["liver"])
    assert hand.state("session.prompts.length") == 0
    hand.click("axial", LIVER, button="right")
    assert _labels(hand)[LIVER] != names["liver"]


def _labels(hand: Hand) -> Any:
    values = hand.page.evaluate("() => Array.from(promptseg.planes.labels)")
    return np.array(values, np.uint8).reshape(hand.state("session.shape"))


def test_a_model_is_chosen_with_its_licence_and_downloaded_with_progress(page: Any, models_folder: Path) -> None:
    hand = Hand(page)
    hand.open_example()
    hand.tab("automatic")
    row = page.locator("[data-model=own]")
    row.wait_for()
    for said in ("Our own model", "As fast as it looks.", "CC-BY-NC-4.0", "no commercial use", "4 MB"):
        assert said in row.inner_text(), said
    row.get_by_role("button").click()
    dialog = page.locator("dialog[open]")
    assert "CC-BY-NC-4.0" in dialog.inner_text()
    dialog.get_by_role("button").nth(1).click()  # no
    assert row.get_by_role("button").inner_text().strip() == "Download"
    row.get_by_role("button").click()
    page.locator("dialog[open]").get_by_role("button").nth(0).click()
    hand.wait("() => Number(document.querySelector('.ps-job .ps-bar').getAttribute('aria-valuenow')) >= 40")
    assert page.locator(".ps-job").is_visible()
    (models_folder / "go").touch()
    hand.wait("() => document.querySelector('[data-model=own] button')?.textContent === 'Use'")
    hand.settled()

    session = hand.state("session.id")
    page.locator("[data-model=classical]").get_by_role("button").click()
    hand.wait("id => promptseg.session && promptseg.session.id !== id && promptseg.busy === 0", session)
    assert hand.state("session.model") == "classical"
    assert page.locator(".ps-chip").first.inner_text()  # the device


def test_a_model_without_a_published_hash_is_fetched_when_a_person_says_so(page: Any, models_folder: Path) -> None:
    hand = Hand(page)
    hand.open_example()
    hand.tab("automatic")
    row = page.locator("[data-model=rare]")
    row.get_by_role("button").click()
    dialog = page.locator("dialog[open]")
    assert "rare.pth" in dialog.locator(".ps-caution").inner_text()
    download = dialog.get_by_role("button").nth(0)
    assert download.is_disabled()
    dialog.get_by_role("checkbox").check()
    assert download.is_enabled()
    dialog.get_by_role("checkbox").uncheck()
    assert download.is_disabled()
    assert not (models_folder / "rare" / "rare.pth").exists()
    dialog.get_by_role("checkbox").check()
    download.click()
    hand.wait("() => document.querySelector('[data-model=rare] button')?.textContent === 'Use'")
    content = (models_folder / "rare" / "rare.pth").read_bytes()
    pins = json.loads((models_folder / "trusted.json").read_text(encoding="utf-8"))
    assert hashlib.sha256(content).hexdigest() in json.dumps(pins)
    assert "trust-on-first-use" in json.dumps(pins)


def test_without_that_word_nothing_is_fetched(page: Any, models_folder: Path) -> None:
    (models_folder / "rare" / "rare.pth").unlink(missing_ok=True)
    (models_folder / "trusted.json").unlink(missing_ok=True)
    said = page.evaluate(
        """async () => {
          const { api } = promptseg;
          const { id } = await api.post("/models/rare/pull", { accept_licence: true });
          return (await api.follow(id, () => {})).detail;
        }"""
    )
    assert "nobody published a hash of rare.pth" in said
    assert not (models_folder / "rare" / "rare.pth").exists()
