"""Looking and measuring: typed windows, ruler, angle, ellipse, diameters of a label, all commands by their names."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from page_hand import Hand, ready

MIDDLE = (26, 52, 54)
SPACING = (2.0, 2.0, 4.8)  # x, y, z of the example


def test_a_radiologist_looks_and_measures(page: Any) -> None:
    hand = Hand(page)
    hand.open_example()
    hand.grows_by_itself(False)
    hand.show(MIDDLE)
    page.fill("[data-key=level]", "60")
    page.fill("[data-key=width]", "300")
    page.keyboard.press("Enter")
    assert hand.state("planes.window") == {"low": -90, "high": 210}

    hand.click("axial", MIDDLE)
    assert hand.state("session.prompts.length") == 1
    page.locator("[data-view=axial]").focus()
    page.keyboard.press("r")
    page.mouse.move(*hand.place("axial", (26, 30, 40)))
    page.mouse.down()
    page.mouse.move(*hand.place("axial", (26, 60, 80)), steps=3)
    page.mouse.up()
    page.keyboard.press("g")
    for voxel in ((26, 30, 40), (26, 30, 60), (26, 50, 60)):
        page.mouse.click(*hand.place("axial", voxel))
    page.keyboard.press("x")
    page.mouse.move(*hand.place("axial", (26, 45, 46)))
    page.mouse.down()
    page.mouse.move(*hand.place("axial", (26, 60, 62)), steps=3)
    page.mouse.up()
    assert hand.state("session.prompts.length") == 1  # measuring prompts nothing
    length, angle, ellipse = page.evaluate("() => promptseg.rulers.items.map((item) => promptseg.rulers.text(item))")
    assert abs(float(length.split()[0]) - math.hypot(40 * SPACING[0], 30 * SPACING[1])) < 2.5  # a pixel of the screen
    assert abs(float(angle[:-1]) - 90) < 3
    shown = page.evaluate("() => promptseg.rulers.items[2].points")
    values = page.evaluate("() => Array.from(promptseg.planes.image.data)")
    nx, ny, _ = hand.state("planes.image.dims")
    slice_ = np.array(values[26 * nx * ny : 27 * nx * ny]).reshape(ny, nx)
    y, x = np.mgrid[:ny, :nx]
    (x0, y0, _), (x1, y1, _) = shown
    inside = ((x - (x0 + x1) / 2) / (abs(x1 - x0) / 2)) ** 2 + ((y - (y0 + y1) / 2) / (abs(y1 - y0) / 2)) ** 2 <= 1
    assert ellipse.startswith(f"{slice_[inside].mean():.1f} ± {slice_[inside].std():.1f}")

    hand.tab("measure")
    page.locator(".ps-card td").first.wait_for()
    hand.wait("() => promptseg.rulers.diameters.length === 2")
    long, short = (
        math.dist(*(np.multiply(end, SPACING) for end in (line["start"], line["end"])))
        for line in hand.state("rulers.diameters")
    )
    said = page.evaluate("() => promptseg.rulers.diameters.map(({ text }) => parseFloat(text))")
    assert np.allclose([long, short], said, atol=0.1)

    page.keyboard.press("Control+k")
    page.keyboard.type("lung")
    page.keyboard.press("Enter")
    assert hand.state("planes.window") == {"low": -1350, "high": 150}
    page.reload()
    ready(page)
    hand.opened()
    assert hand.state("rulers.items.length") == 3


def test_masks_are_dropped_onto_the_picture(page: Any, tmp_path: Path) -> None:
    """Half of annotation: what another program has found, with names and colours, then corrected by a click."""
    hand = Hand(page)
    hand.open_example()
    hand.grows_by_itself(False)
    shape, origin, direction = (hand.state(f"session.{key}") for key in ("shape", "origin", "direction"))
    given = np.zeros(shape, np.uint8)
    given[20:30, 40:60, 44:70], given[22:26, 80:90, 120:140] = 1, 2
    image = sitk.GetImageFromArray(given)
    image.SetSpacing(hand.state("session.spacing_mm"))
    image.SetOrigin(origin)
    image.SetDirection(direction)
    for number, (name, colour) in enumerate([("liver", "1 0 0"), ("left kidney", "0 0.6 1")]):
        fields = {"ID": f"Segment_{number}", "Name": name, "Color": colour, "LabelValue": str(number + 1), "Layer": "0"}
        for key, value in fields.items():
            image.SetMetaData(f"Segment{number}_{key}", value)
    path = tmp_path / "found.seg.nrrd"
    sitk.WriteImage(image, str(path))
    data = page.evaluate_handle(
        "([name, bytes]) => { const data = new DataTransfer();"
        " data.items.add(new File([new Uint8Array(bytes)], name)); return data; }",
        [path.name, list(path.read_bytes())],
    )
    page.dispatch_event(".ps-stage", "drop", {"dataTransfer": data})
    hand.wait("() => promptseg.session.labels.length === 2 && promptseg.busy === 0")
    assert [(one["name"], one["colour"]) for one in hand.state("session.labels")] == [
        ("liver", "#ff0000"),
        ("left kidney", "#0099ff"),
    ]
    assert (hand.voxels(1), hand.voxels(2)) == ((given == 1).sum(), (given == 2).sum())
    page.keyboard.press("1")
    hand.settled()
    hand.show((25, 50, 57))
    hand.click("axial", (25, 50, 57), button="right")
    assert hand.voxels(1) < (given == 1).sum()
    assert hand.voxels(2) == (given == 2).sum()
