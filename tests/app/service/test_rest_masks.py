"""Labels from elsewhere: mask files on another grid, and the labels of another frame; sessions as a list of work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from fastapi.testclient import TestClient

API = "/api/v1"
AFFINE = np.array([[-0.9, 0.0, 0.0, 31.0], [0.0, -1.1, 0.0, -17.0], [0.0, 0.0, 3.0, 250.0], [0.0, 0.0, 0.0, 1.0]])
SNAP = '0 0 0 0 0 0 0 "Clear Label"\n2 10 20 30 1 1 1 "left kidney"\n5 200 0 100 1 1 1 "liver"\n'


@pytest.fixture
def cine(client: TestClient, tmp_path: Path) -> str:
    """A session on the first of three frames, x, y, z = 30, 26, 6."""
    frames = np.random.default_rng(0).integers(0, 20, (30, 26, 6, 3)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(frames, AFFINE), tmp_path / "cine.nii.gz")
    with (tmp_path / "cine.nii.gz").open("rb") as file:
        study = client.post(f"{API}/studies", files={"files": ("cine.nii.gz", file)}).json()
    return str(client.post(f"{API}/sessions", json={"study": study["id"]}).json()["id"])


def labels(client: TestClient, session: str) -> Any:
    """uint8 (x, y, z)."""
    raw = client.get(f"{API}/sessions/{session}/labels.nii").content
    return np.asarray(nibabel.Nifti1Image.from_bytes(raw).dataobj)


def mask_files(folder: Path, array: Any, affine: Any) -> list[tuple[str, tuple[str, bytes]]]:
    nibabel.save(nibabel.Nifti1Image(array, affine), folder / "organs.nii.gz")
    sent = ("files", ("organs.nii.gz", (folder / "organs.nii.gz").read_bytes()))
    return [sent, ("files", ("organs.label.txt", SNAP.encode()))]


def test_masks_are_put_onto_the_grid_with_their_names_and_colours(
    client: TestClient, cine: str, tmp_path: Path
) -> None:
    given = np.zeros((30, 26, 6), np.uint8)
    given[3:9, 4:11, 1:5], given[15:22, 9:17, 2:4] = 2, 5
    turned, affine = given[::-1, :, 1:], AFFINE.copy()  # another axis order and extent of the same space
    affine[:3, 3] = (AFFINE @ [29, 0, 1, 1])[:3]
    affine[:3, 0] *= -1
    delta = client.post(f"{API}/sessions/{cine}/masks", files=mask_files(tmp_path, turned, affine)).json()
    assert [(one["name"], one["colour"]) for one in delta["labels"]] == [
        ("left kidney", "#0a141e"),
        ("liver", "#c80064"),
    ]
    expected = np.where(given == 2, 1, np.where(given == 5, 2, 0))
    np.testing.assert_array_equal(labels(client, cine), expected)
    again = client.post(f"{API}/sessions/{cine}/masks", files=mask_files(tmp_path, turned, affine)).json()
    assert [one["name"] for one in again["labels"][2:]] == ["left kidney 2", "liver 2"]
    np.testing.assert_array_equal(labels(client, cine), expected)  # what is there stays
    text = client.post(f"{API}/sessions/{cine}/masks", files=[("files", ("note.nii.gz", b"no image"))])
    assert text.status_code == 422
    assert "note.nii.gz" in text.json()["detail"]
    assert "f0000" not in text.json()["detail"]  # the name that it has here


def test_each_frame_has_labels_of_its_own_which_can_be_carried_on(
    client: TestClient, cine: str, tmp_path: Path
) -> None:
    given = np.zeros((30, 26, 6), np.uint8)
    given[3:9, 4:11, 1:5] = 2
    client.post(f"{API}/sessions/{cine}/masks", files=mask_files(tmp_path, given, AFFINE))
    client.patch(f"{API}/sessions/{cine}", json={"title": "beating heart"})
    second = client.post(f"{API}/sessions/{cine}/frames/1").json()
    assert (second["frame"], second["title"]) == (1, "beating heart")
    assert [(one["name"], one["voxels"]) for one in second["labels"]] == [("left kidney", 0)]
    third = client.post(f"{API}/sessions/{cine}/frames/2", json={"carry": True}).json()
    np.testing.assert_array_equal(labels(client, third["id"]), np.where(given, 1, 0))
    assert client.post(f"{API}/sessions/{third['id']}/frames/0").json()["id"] == cine
    assert client.post(f"{API}/sessions/{cine}/frames/1").json()["id"] == second["id"]
    assert client.post(f"{API}/sessions/{cine}/frames/3").status_code == 422


def test_sessions_are_a_list_of_work(client: TestClient, cine: str, tmp_path: Path) -> None:
    line = client.get(f"{API}/sessions").json()[0]
    assert (line["state"], line["labels"], line["note"]) == ("new", [], "")
    client.post(f"{API}/sessions/{cine}/masks", files=mask_files(tmp_path, np.ones((30, 26, 6), np.uint8) * 2, AFFINE))
    assert client.get(f"{API}/sessions").json()[0]["state"] == "work"
    client.post(f"{API}/sessions/{cine}/close")
    assert client.get(f"{API}/sessions").json()[0]["labels"] == ["left kidney"]  # also when it is put away
    state = client.patch(f"{API}/sessions/{cine}", json={"state": "done", "note": "second reader agrees"}).json()
    assert (state["state"], state["note"]) == ("done", "second reader agrees")
    assert client.patch(f"{API}/sessions/{cine}", json={"state": "finished"}).status_code == 422
    assert client.get(f"{API}/sessions").json()[0]["state"] == "done"
