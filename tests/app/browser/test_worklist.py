"""A day's list: cases are named, noted, done, the next one opens, and all that is done leaves in one archive."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from page_hand import Hand, write_ball


def test_cases_are_worked_off_and_taken_away(page: Any, tmp_path: Path) -> None:
    hand = Hand(page)
    sessions = []
    for name in ("first", "second"):
        hand.opened_files(write_ball(tmp_path / f"{name}.nii.gz"))
        sessions.append(hand.state("session.id"))
    first, second = sessions
    page.click(".ps-logo")
    page.click(f"[data-session='{first}']")
    hand.opened()
    hand.show((4, 20, 25))
    hand.click("axial", (4, 20, 25))
    page.select_option("[data-key=case-state]", "done")
    hand.wait("() => promptseg.session.state === 'done'")
    page.click("[data-key=next-case]")
    hand.wait("id => promptseg.session?.id === id && promptseg.busy === 0", second)
    page.click(".ps-logo")
    page.click(f"[data-describe='{second}']")
    page.locator("dialog input").fill("Ward 3, bed 2")
    page.locator("dialog textarea").fill("ask the surgeon")
    page.click("dialog [data-choice=yes]")
    page.locator(f"[data-session='{second}']", has_text="ask the surgeon").wait_for()
    page.fill(".ps-worklist-head input", "surgeon ward")
    assert page.locator("[data-session]").count() == 1
    page.fill(".ps-worklist-head input", "")
    page.select_option("[data-key=state-filter]", "done")
    assert page.locator(f"[data-session='{first}']").count() == 1
    assert page.locator(f"[data-session='{second}']").count() == 0
    with page.expect_download() as download:
        page.click("[data-key=export-done]")
    archive = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
    listed = {line["id"]: line for line in json.loads(archive.read("sessions.json"))}
    assert listed[first]["state"] == "done"
    assert second not in listed
    assert any(first[:8] in name and name.endswith(".nii.gz") for name in archive.namelist())
