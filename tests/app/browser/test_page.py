"""The whole job in a real browser: open, click, correct, grow, review, export; and what must not go wrong meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from page_hand import Hand, Server, ready, write_ball

from promptseg.example import example_truth_path

LIVER = (26, 52, 54)  # deep inside the example's liver: a maximum of the distance to its border


def array(path: Path) -> NDArray[Any]:
    """Voxels as (z, y, x) by a reader that is not ours."""
    return np.asarray(nibabel.load(path).dataobj).T


def dice(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def is_tinted(rgb: list[int]) -> bool:
    """The first label is orange (230, 159, 0) over grey."""
    return rgb[0] - rgb[2] > 25


@pytest.fixture(scope="module")
def truth() -> NDArray[Any]:
    return array(example_truth_path())


def test_example_from_the_first_click_to_the_exported_file(page: Any, truth: NDArray[Any], tmp_path: Path) -> None:
    hand = Hand(page)
    hand.open_example()
    hand.grows_by_itself(False)
    hand.new_label("liver")
    hand.show(LIVER)
    assert not is_tinted(hand.colour("axial", LIVER))
    hand.click("axial", LIVER)
    for view in ("axial", "coronal", "sagittal"):
        assert is_tinted(hand.colour(view, LIVER)), view
    first = hand.voxels()
    assert first > 500

    mask = np.array(page.evaluate("() => [...promptseg.planes.labels.slice(26 * 140 * 180, 27 * 140 * 180)]"))
    y, x = _deepest(mask.reshape(140, 180) == 1, truth[26] == 1)
    hand.click("axial", (26, y, x), button="right")  # "this is not liver"
    corrected = hand.voxels()
    assert corrected < first
    assert hand.state("session.prompts[1].prompt.positive") is False
    page.keyboard.press("Control+z")
    hand.wait("() => promptseg.session.prompts.length === 1 && promptseg.busy === 0")
    assert hand.voxels() == first
    page.keyboard.press("Control+Shift+Z")
    hand.wait("() => promptseg.session.prompts.length === 2 && promptseg.busy === 0")
    assert hand.voxels() == corrected

    hand.press("b")
    liver = np.argwhere(truth[26] == 1)
    (y0, x0), (y1, x1) = liver.min(axis=0).tolist(), liver.max(axis=0).tolist()
    hand.drag("axial", (26, y0, x0), (26, y1, x1))
    before = hand.voxels()
    hand.press("Space")
    hand.wait("() => promptseg.job && (document.querySelector('[data-key=cancel]').click(), true)")
    hand.settled()
    assert hand.voxels() == before
    hand.grow()
    assert hand.voxels() > 3 * before

    hand.new_label("spleen")
    hand.show((22, 75, 145))
    spleen = np.argwhere(truth[:, 75] == 2)
    (z0, x0), (z1, x1) = spleen.min(axis=0).tolist(), spleen.max(axis=0).tolist()
    hand.drag("coronal", (z0, 75, x0), (z1, 75, x1))
    assert hand.state("session.prompts.at(-1).prompt.voxel") == [[z0, 75, x0], [z1 + 1, 76, x1 + 1]]
    assert hand.voxels(2) > 100

    hand.press("1")
    hand.wait("() => promptseg.session.selected === 1 && promptseg.review?.items.length && promptseg.busy === 0")
    hand.tab("review")
    worst = hand.state("review.items[0]")
    page.click("[data-key=review-0]")
    assert hand.state("planes.crosshair")[2] == worst["index"]
    exported = array(hand.export("nii.gz", tmp_path))
    assert dice(exported == 1, truth == 1) > 0.6  # a click, a correction and a box: what the model makes of them
    assert dice(exported[:, 75] == 2, truth[:, 75] == 2) > 0.6


def _deepest(mask: NDArray[Any], right: NDArray[Any]) -> tuple[int, int]:
    """The middle of the largest spill (else of the background): where a person would click "not this"."""
    from scipy import ndimage

    wrong = mask & ~ndimage.binary_dilation(right, iterations=2)
    depth = ndimage.distance_transform_edt(wrong if wrong.any() else mask)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(y), int(x)


def test_a_dicom_folder_is_uploaded_clicked_and_exported(page: Any, shared_data: Path, tmp_path: Path) -> None:
    case = shared_data / "ct_ts_dicom_j2k"
    reference = nibabel.as_closest_canonical(nibabel.load(case / "label_total.nii.gz"))
    hand = Hand(page)
    hand.open_folder(case / "dicom")
    hand.opened()
    hand.grows_by_itself(False)
    shape = hand.state("session.shape")
    assert shape == [20, 512, 512]
    assert hand.state("session.modality") == "CT"
    liver = np.asarray(reference.dataobj) == 5  # RAS; the scan's x and y run the other way
    here = liver[::-1, ::-1].T
    z = int(here.sum(axis=(1, 2)).argmax())
    rows, columns = np.where(here[z])
    hand.show((z, int(rows.mean()), int(columns.mean())))
    hand.press("b")
    hand.drag("axial", (z, int(rows.min()), int(columns.min())), (z, int(rows.max()), int(columns.max())))
    hand.grow()
    exported = nibabel.as_closest_canonical(nibabel.load(hand.export("nii.gz", tmp_path)))
    assert np.allclose(exported.affine, reference.affine, atol=1e-3)
    assert dice(np.asarray(exported.dataobj) == 1, liver) > 0.7


def test_a_chest_x_ray_is_one_large_view(page: Any, shared_data: Path, tmp_path: Path) -> None:
    case = shared_data / "images2d" / "xray_lung"
    lungs = _grey(case / "1-mask.png") > 127
    hand = Hand(page)
    hand.open_files(case / "1.jpg")
    hand.opened()
    assert page.locator(".ps-pane:visible").count() == 1
    scale = np.array(hand.state("session.shape")[1:]) / np.array(lungs.shape)
    assert scale[0] == scale[1]
    from scipy import ndimage

    parts, _ = ndimage.label(lungs)
    largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1
    y, x = _deepest(parts == largest, np.zeros_like(lungs))
    hand.click("axial", (0, y * scale[0], x * scale[1]))
    rows, columns = np.where(parts == largest)
    hand.press("b")
    hand.drag(
        "axial",
        (0, rows.min() * scale[0], columns.min() * scale[1]),
        (0, rows.max() * scale[0], columns.max() * scale[1]),
    )
    found = _labels(hand)[0]
    step = int(scale[0]) if scale[0] >= 1 else 1
    assert dice(found[::step, ::step] == 1, parts == largest) > 0.6


def _grey(path: Path) -> NDArray[Any]:
    from PIL import Image

    return np.asarray(Image.open(path).convert("L"))


def _labels(hand: Hand) -> NDArray[Any]:
    return np.array(hand.page.evaluate("() => [...promptseg.planes.labels]")).reshape(hand.state("session.shape"))


def test_two_people_see_their_own_study_and_a_reload_and_a_killed_server_lose_nothing(
    new_page: Callable[[], Any], server: Server, tmp_path: Path
) -> None:
    one, other = Hand(new_page()), Hand(new_page())
    phantom = write_ball(tmp_path / "ball.nii.gz")
    one.open_example()
    other.open_files(phantom)
    other.opened()
    assert one.state("session.shape") == [48, 140, 180]
    assert other.state("session.shape") == [9, 40, 50]
    for hand, voxel in ((one, LIVER), (other, (4, 20, 25))):
        hand.grows_by_itself(False)
        hand.show(voxel)
        hand.click("axial", voxel)
    counts = one.voxels(), other.voxels()
    assert min(counts) > 50
    assert one.state("session.id") != other.state("session.id")
    assert len(one.state("session.prompts")) == len(other.state("session.prompts")) == 1

    one.page.reload()
    ready(one.page)
    one.opened()
    assert one.voxels() == counts[0]

    server.kill()
    server.start()
    one.wait("() => !document.querySelector('.ps-away')")
    one.show((27, 52, 54))
    one.click("axial", (27, 52, 54))
    assert one.voxels() > counts[0]
    other.page.reload()
    ready(other.page)
    other.opened()
    assert other.voxels() == counts[1]
    listed = other.page.evaluate(
        "() => fetch('/api/v1/sessions').then((r) => r.json()).then((s) => s.map((x) => x.id))"
    )
    assert other.state("session.id") in listed


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_nothing(page: Any, theme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    def problems(where: str) -> list[str]:
        answer = Axe().run(page, options={"resultTypes": ["violations"]}).response
        return [
            f"{where}: {found['id']}: {[node['html'][:120] for node in found['nodes']][:3]}"
            for found in answer["violations"]
        ]

    hand = Hand(page)
    if theme == "light":
        page.click("[data-key=theme]")
    found = problems("start")
    hand.open_example()
    hand.grows_by_itself(False)
    hand.new_label("liver")
    hand.show(LIVER)
    hand.click("axial", LIVER)
    for tab in ("segment", "review", "measure", "automatic", "export"):
        hand.tab(tab)
        found += problems(tab)
    assert not found, "\n".join(found)


def test_everything_is_done_with_the_keyboard_alone(page: Any) -> None:
    hand = Hand(page)
    page.focus("[data-key='open.example']")
    page.keyboard.press("Enter")
    hand.opened()
    hand.grows_by_itself(False)
    page.focus(".ps-surface[data-view=axial]")
    before = hand.state("planes.crosshair")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("]")
    after = hand.state("planes.crosshair")
    assert [b - a for a, b in zip(before, after, strict=True)] == [-1, 0, 1]
    page.keyboard.press("Enter")
    hand.wait("() => promptseg.session.prompts.length === 1 && promptseg.busy === 0")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    for key in ("ArrowRight", "ArrowDown"):
        page.keyboard.press(f"Shift+{key}")
    page.keyboard.press("Enter")
    hand.wait("() => promptseg.session.prompts.length === 2 && promptseg.busy === 0")
    assert hand.state("session.prompts[1].prompt.type") == "box"
    page.focus("[data-key='drop-2']")
    page.keyboard.press("Enter")
    hand.wait("() => promptseg.session.prompts.length === 1 && promptseg.busy === 0")


def test_bad_files_get_a_sentence_and_the_page_stays_up(page: Any, shared_data: Path, tmp_path: Path) -> None:
    empty = tmp_path / "scan.nii.gz"
    empty.write_bytes(b"")
    pdf = tmp_path / "report.dcm"
    pdf.write_bytes(b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n" * 40)
    hand = Hand(page)
    robust = shared_data / "robustness"
    singles = [*sorted((robust / "dicom_single").iterdir()), *sorted((robust / "volumes").iterdir())]
    folders = [
        path for path in sorted(robust.iterdir()) if path.is_dir() and path.name not in ("dicom_single", "volumes")
    ]
    outcomes = {}
    for path in (empty, pdf, *singles, *folders):
        outcomes[path.name] = _outcome(hand, path)
    for name in ("scan.nii.gz", "report.dcm", "MR_truncated.dcm", "no-pixel-data.dcm", "rtplan_truncated.dcm"):
        assert len(outcomes[name].split()) > 4, (name, outcomes[name])
    for name, said in outcomes.items():
        assert "Traceback" not in said, (name, said)
        assert "unexpected" not in said, (name, said)
        assert "undefined" not in said, (name, said)
    assert outcomes["mr_compressed_j2k"] == "opened"
    assert outcomes["ct_ge_gantrytilt_uneven_gap"] != "opened"
    hand.page.evaluate("() => { location.hash = ''; }")
    hand.wait("() => !promptseg.session")
    hand.open_example()


OUTCOME = """() => {
  const said = document.querySelector(".ps-problem:not([hidden])")?.textContent;
  if (said) return said;
  if (document.querySelector("dialog.ps-series[open]")) return "chooser";
  const { session } = promptseg;
  return session && location.hash.includes(session.id) ? "opened" : null;
}"""


def _outcome(hand: Hand, path: Path) -> str:
    """Upload a file or folder; return the sentence, "chooser" or "opened"; then go back to the start page."""
    if path.is_dir():
        hand.open_folder(path)
    else:
        hand.open_files(path)
    hand.wait(OUTCOME)
    said = str(hand.page.evaluate(OUTCOME))
    if said == "chooser":
        hand.page.click("dialog.ps-series > .ps-button")
    if said == "opened":
        hand.settled()
        hand.page.click(".ps-logo")
        hand.wait("() => !promptseg.session")
    hand.page.evaluate("() => { document.querySelector('.ps-problem').hidden = true; }")
    return said


def test_too_large_an_upload_is_refused_before_it_is_sent(page: Any) -> None:
    said = page.evaluate(
        """async () => {
          const file = { size: 5 * 2 ** 30, name: "huge.nii", webkitRelativePath: "" };
          const input = document.querySelector("[data-input=files]");
          Object.defineProperty(input, "files", { value: [file] });
          input.dispatchEvent(new Event("change"));
          return document.querySelector(".ps-problem").textContent;
        }"""
    )
    assert "5.0 GiB" in said
    assert "4.0 GiB" in said


def test_chinese_is_a_file(page: Any, server: Server) -> None:
    page.goto(f"{server.address}/?lang=zh-CN")
    ready(page)
    assert page.locator(".ps-research").inner_text() == "仅供研究使用，非医疗器械"
    assert page.locator("html").get_attribute("lang") == "zh-CN"
