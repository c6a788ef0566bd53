"""Two labels side by side: neither eats the other, unless a person says so; one slice, or one part, is kept."""

from __future__ import annotations

from typing import Any

from page_hand import Hand

MIDDLE = (26, 52, 54)


def test_a_label_takes_from_another_only_when_it_is_told_to(page: Any) -> None:
    hand = Hand(page)
    hand.open_example()
    hand.grows_by_itself(False)
    hand.show(MIDDLE)
    hand.click("axial", MIDDLE)
    first = hand.voxels(1)
    hand.new_label("other")
    page.mouse.click(*hand.place("axial", MIDDLE))
    page.locator(".ps-toast.ps-warning .ps-button").wait_for()
    assert (hand.voxels(1), hand.voxels(2)) == (first, 0)
    page.locator(".ps-toast.ps-warning .ps-button").click()
    hand.wait("() => promptseg.session.prompts.length === 2 && promptseg.busy === 0")
    assert hand.voxels(1) < first
    assert hand.voxels(2) > 0
    page.keyboard.press("Control+z")
    hand.wait("() => promptseg.session.prompts.length === 1 && promptseg.busy === 0")
    assert hand.voxels(1) == first
    assert page.locator("[data-key=overlap]").input_value() == "overwrite"
    page.keyboard.press("1")
    hand.settled()
    hand.grow()
    assert hand.voxels(1) > first
    hand.change("[data-key=edit-others]")
    kept = page.evaluate(
        "() => { const { labels, image } = promptseg.planes; const n = image.dims[0] * image.dims[1];"
        " return [...new Set([...labels.keys()].filter((i) => labels[i] === 1).map((i) => Math.floor(i / n)))]; }"
    )
    assert kept == [MIDDLE[0]]
