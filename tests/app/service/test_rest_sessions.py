"""REST: a session from the first click to the export, and back from its journal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from fastapi.testclient import TestClient

from promptseg.app.settings import ServeSettings
from promptseg.example import example_path, example_volume

from ..conftest import API, open_example, voxels

LIVER = [24.0, 62.0, 54.0]


def click(client: TestClient, session: str, voxel: list[float], **more: Any) -> dict[str, Any]:
    body = {"prompts": [{"type": "point", "voxel": voxel, **more}]}
    answer = client.post(f"{API}/sessions/{session}/prompts", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def labels_of(client: TestClient, session: str) -> Any:
    raw = client.get(f"{API}/sessions/{session}/labels.nii").content
    return np.frombuffer(raw[352:], np.uint8).reshape(48, 140, 180)


def test_a_delta_is_what_changed(client: TestClient, example: str) -> None:
    before = labels_of(client, example).copy()
    delta = click(client, example, LIVER)
    (z0, y0, x0), (z1, y1, x1) = delta["changed"]
    assert (z0, z1) == (24, 25)
    before[z0:z1, y0:y1, x0:x1] = voxels(delta)
    np.testing.assert_array_equal(before, labels_of(client, example))
    label = delta["labels"][0]
    assert label["voxels"] == int((before == 1).sum()) > 0
    assert label["volume_ml"] == pytest.approx(label["voxels"] * 2 * 2 * 4.8 / 1000, rel=1e-6)
    assert delta["prompts"][0]["prompt"]["voxel"] == LIVER
    assert delta["revision"] == 1


def test_undo_redo_and_a_moved_prompt(client: TestClient, example: str) -> None:
    click(client, example, LIVER)
    first = labels_of(client, example)
    undone = client.post(f"{API}/sessions/{example}/undo").json()
    assert undone["can_redo"]
    assert not labels_of(client, example).any()
    client.post(f"{API}/sessions/{example}/redo")
    np.testing.assert_array_equal(labels_of(client, example), first)
    prompt = {"type": "point", "voxel": [20.0, 62.0, 54.0], "positive": True, "plane": "axial"}
    moved = client.put(f"{API}/sessions/{example}/prompts/1", json={"prompt": prompt}).json()
    assert [item["id"] for item in moved["prompts"]] == [1]
    now = labels_of(client, example)
    assert now[20].any()
    assert not now[24].any()
    gone = client.delete(f"{API}/sessions/{example}/prompts/1").json()
    assert gone["prompts"] == []
    assert not labels_of(client, example).any()


def test_labels_are_made_named_coloured_locked_merged_and_deleted(client: TestClient, example: str) -> None:
    path = f"{API}/sessions/{example}/labels"
    client.post(path, json={"name": "liver"})
    click(client, example, LIVER)
    client.post(path, json={"name": "spine"})
    click(client, example, [24.0, 95.0, 90.0], plane="axial")
    changed = client.patch(f"{path}/2", json={"name": "vertebra", "colour": "#102030", "opacity": 0.25}).json()
    assert changed["labels"][1]["name"] == "vertebra"
    assert changed["labels"][1]["colour"] == "#102030"
    assert changed["labels"][1]["opacity"] == 0.25
    total = int((labels_of(client, example) > 0).sum())
    merged = client.post(f"{path}/2/merge", json={"into": 1}).json()
    assert [label["value"] for label in merged["labels"]] == [1]
    assert int((labels_of(client, example) == 1).sum()) == total
    client.patch(f"{path}/1", json={"locked": True})
    refused = client.post(f"{API}/sessions/{example}/edits", json={"edit": {"kind": "grow", "by_mm": 2.0}})
    assert refused.status_code == 422
    assert "locked" in refused.json()["detail"]
    client.patch(f"{path}/1", json={"locked": False})
    assert client.delete(f"{path}/1").json()["labels"] == []


def test_propagation_is_a_job_whose_mask_grows(client: TestClient, example: str) -> None:
    click(client, example, LIVER)
    job = client.post(f"{API}/sessions/{example}/propagate").json()
    shown = labels_of(client, example).copy()
    kinds = []
    with client.stream("GET", f"{API}/jobs/{job['id']}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                event = json.loads(line[5:])
                kinds.append(event["kind"])
                delta = event.get("delta")
                if delta and delta["changed"]:
                    (z0, y0, x0), (z1, y1, x1) = delta["changed"]
                    shown[z0:z1, y0:y1, x0:x1] = voxels(delta)
    assert kinds[-1] == "done"
    np.testing.assert_array_equal(shown, labels_of(client, example))
    assert len(np.flatnonzero(shown.any(axis=(1, 2)))) > 5
    assert client.get(f"{API}/jobs/{job['id']}").json()["state"] == "done"
    assert client.get(f"{API}/sessions/{example}/review").json()
    strip = client.get(f"{API}/sessions/{example}/confidence").json()
    assert len(strip) == 48
    assert strip[24] == 1.0


def test_a_closed_session_and_a_new_server_bring_everything_back(
    serve: Callable[[ServeSettings], TestClient], settings: ServeSettings
) -> None:
    first = serve(settings)
    session = open_example(first)
    click(first, session, LIVER)
    click(first, session, [24.0, 62.0, 70.0], positive=False)
    click(first, session, [23.0, 62.0, 54.0])
    first.post(f"{API}/sessions/{session}/undo")
    mask, state = labels_of(first, session), first.get(f"{API}/sessions/{session}").json()
    assert first.post(f"{API}/sessions/{session}/close").status_code == 204
    np.testing.assert_array_equal(labels_of(first, session), mask)
    first.__exit__(None, None, None)
    second = serve(settings)
    assert [one["id"] for one in second.get(f"{API}/sessions").json()] == [session]
    again = second.get(f"{API}/sessions/{session}").json()
    np.testing.assert_array_equal(labels_of(second, session), mask)
    for key in ("revision", "labels", "prompts", "can_undo", "can_redo", "selected"):
        assert again[key] == state[key], key
    second.post(f"{API}/sessions/{session}/redo")
    assert labels_of(second, session)[23].any()


def test_the_image_for_the_viewer_lies_where_the_file_lies(client: TestClient, example: str, tmp_path: Path) -> None:
    answer = client.get(f"{API}/sessions/{example}/image.nii")
    (tmp_path / "image.nii").write_bytes(answer.content)
    ours, original = nibabel.load(tmp_path / "image.nii"), nibabel.load(example_path())
    assert ours.get_data_dtype() == np.int16
    np.testing.assert_allclose(ours.affine, original.affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(original.dataobj))
    tag = answer.headers["etag"]
    assert client.get(f"{API}/sessions/{example}/image.nii", headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize("kind", ["nii.gz", "nii", "nrrd", "seg.nrrd", "mha"])
def test_an_exported_mask_reads_back(client: TestClient, example: str, tmp_path: Path, kind: str) -> None:
    from promptseg.io import read_labelmap

    click(client, example, LIVER)
    answer = client.get(f"{API}/sessions/{example}/export", params={"format": kind})
    assert answer.status_code == 200
    path = tmp_path / f"mask.{kind}"
    path.write_bytes(answer.content)
    back = read_labelmap(path)
    np.testing.assert_array_equal(back.array, labels_of(client, example))
    assert back.geometry.same_as(example_volume().geometry)


@pytest.mark.parametrize("kind", ["stl", "obj", "png", "prompts", "csv", "json", "report.html", "report.pdf"])
def test_every_other_export_is_a_file_of_its_kind(client: TestClient, example: str, kind: str) -> None:
    click(client, example, LIVER)
    answer = client.get(f"{API}/sessions/{example}/export", params={"format": kind})
    assert answer.status_code == 200, answer.text
    heads = {"obj": b"PK", "png": b"\x89PNG", "prompts": b"{", "json": b"[", "report.pdf": b"%PDF"}
    assert answer.content.startswith(heads.get(kind, b""))
    assert len(answer.content) > 200


def test_an_error_says_to_programs_what_its_sentence_says_to_people(client: TestClient, example: str) -> None:
    path = f"{API}/sessions/{example}"
    client.post(f"{path}/labels", json={"name": "liver"})
    outside = {"prompts": [{"type": "point", "voxel": [999.0, 0.0, 0.0]}]}
    study = client.get(f"{API}/studies").json()[0]["id"]
    told = {
        "prompt": client.post(f"{path}/prompts", json=outside),
        "invalid": client.post(f"{path}/prompts", json={"prompts": [{"type": "wish"}]}),
        "unknown_name": client.delete(f"{path}/labels/77"),
        "unknown_model": client.post(f"{API}/sessions", json={"study": study, "model": "biultin"}),
        "write": client.get(f"{path}/export", params={"format": "dicom-seg"}),
        "not_found": client.get(f"{API}/sessions/nope"),
        "method_not_allowed": client.put(f"{API}/studies"),
    }
    assert {code: answer.json()["code"] for code, answer in told.items()} == {code: code for code in told}
    assert client.get(f"{API}/nope").json()["code"] == "not_found"
    assert told["unknown_name"].json()["choices"] == ["liver"]
    assert all("code" not in answer.json()["detail"] for answer in told.values())


def test_what_makes_no_sense_is_refused_in_one_sentence(client: TestClient, example: str) -> None:
    path = f"{API}/sessions/{example}"
    outside = client.post(f"{path}/prompts", json={"prompts": [{"type": "point", "voxel": [999.0, 0.0, 0.0]}]})
    unknown = client.post(f"{path}/prompts", json={"prompts": [{"type": "wish"}]})
    dicom = client.get(f"{path}/export", params={"format": "dicom-seg"})
    assert [outside.status_code, unknown.status_code] == [422, 422]
    for answer in (outside, unknown, dicom, client.get(f"{API}/sessions/nope"), client.get(f"{API}/nope")):
        assert 400 <= answer.status_code < 500
        assert isinstance(answer.json()["detail"], str)
        assert "\n" not in answer.json()["detail"]


def test_probabilities_of_a_3d_network_come_as_nifti(client: TestClient, example: str) -> None:
    click(client, example, LIVER)
    refused = client.get(f"{API}/sessions/{example}/probabilities.nii")
    assert refused.status_code == 422
    assert "3D network" in refused.json()["detail"]
    study = client.post(f"{API}/studies", json={"example": True}).json()["id"]
    session = client.post(f"{API}/sessions", json={"study": study, "model": "builtin"}).json()["id"]
    click(client, session, LIVER)
    job = client.post(f"{API}/sessions/{session}/propagate", json={"afresh": True}).json()
    with client.stream("GET", f"{API}/jobs/{job['id']}/events") as stream:
        assert any('"done"' in line for line in stream.iter_lines())
    raw = client.get(f"{API}/sessions/{session}/probabilities.nii").content
    found = np.frombuffer(raw, "<f4", offset=352).reshape(48, 140, 180)
    np.testing.assert_array_equal(found > 0.5, labels_of(client, session) == 1)
    assert 0 < found.max() <= 1
