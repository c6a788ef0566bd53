"""ITK-SNAP's protocol, with requests built part for part as the client builds them."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests
from viewers import SHAPE, dice, phantom

METADATA = {
    "component_type": "float32",
    "components_per_pixel": 1,
    "dimensions": list(SHAPE[::-1]),
    "direction": [0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0],
    "origin": [-80.5, 22.25, 1000.0],
    "spacing": [0.7, 0.7, 3.0],
}
CENTRE = (8, 13, 25)


class Snap:
    """Sends what ITK-SNAP sends; coordinates are (z, y, x) here and x, y, z on the wire."""

    def __init__(self, address: str, generation: int = 2) -> None:
        self.address, self.generation = address, generation
        start = "/v2/start_session/nnInteractive" if generation == 2 else "/start_session"
        self.id = requests.get(address + start, timeout=60).json()["session_id"]

    def send(self, what: str, array: np.ndarray, metadata: Any = METADATA, **headers: str) -> requests.Response:
        raw = gzip.compress(np.ascontiguousarray(array, "<f4").tobytes())
        files = {
            "file": ("image.gz", raw, "application/gzip"),
            "metadata": (None, json.dumps(metadata, indent=1), "application/json"),
        }
        return requests.post(f"{self.address}{what}", files=files, headers=headers, timeout=120)

    def upload(self, array: np.ndarray | None = None) -> Snap:
        image = phantom()[0] if array is None else array
        answer = self.send(f"/upload_raw/{self.id}?filename=upload.nii.gz", image)
        assert answer.status_code == 200, answer.text
        return self

    def point(self, at: tuple[int, int, int], foreground: bool = True) -> requests.Response:
        z, y, x = at
        sign = "true" if foreground else "false"
        if self.generation == 1:
            query = f"/process_point_interaction/{self.id}?x={x}&y={y}&z={z}&foreground={sign}"
        else:
            query = f"/v2/process_point_interaction/{self.id}?point={x}&point={y}&point={z}&foreground={sign}"
        return requests.get(self.address + query, timeout=120)

    def mask(self, kind: str, mask: np.ndarray, foreground: bool = True) -> requests.Response:
        return self.send(f"/process_{kind}_interaction/{self.id}?foreground={str(foreground).lower()}", mask)


def result(answer: requests.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "success"
    voxels = np.frombuffer(gzip.decompress(base64.b64decode(answer.json()["result"])), np.int8)
    assert len(voxels) == np.prod(SHAPE)
    assert set(np.unique(voxels)) <= {0, 1}
    return voxels.reshape(SHAPE)


def test_16_status_and_models_are_what_the_client_parses(address: str) -> None:
    status = requests.get(f"{address}/status", timeout=30).json()
    assert status["status"] == "ok"
    assert tuple(int(part) for part in status["version"].split(".")) >= (0, 1, 2)
    (model,) = requests.get(f"{address}/v2/models", timeout=30).json()["models"]
    assert model["id"] == "nnInteractive"
    assert (model["channels"], model["dimensions"]) == ([1], 3)
    assert {"point", "scribble", "lasso"} <= set(model["interactions"])
    assert requests.get(f"{address}/v2/start_session/other", timeout=30).status_code == 404


@pytest.mark.parametrize("generation", [1, 2])
def test_17_a_click_marks_the_object_where_it_was_made(address: str, generation: int) -> None:
    snap = Snap(address, generation).upload()
    mask = result(snap.point(CENTRE))
    assert mask[CENTRE] == 1
    assert dice(mask, phantom()[1]) > 0.8
    less = result(snap.point((8, 17, 25), foreground=False))
    assert less[8, 17, 25] == 0


def test_17_scribble_and_lasso_are_masks_of_the_whole_volume(address: str) -> None:
    snap = Snap(address).upload()
    stroke = np.zeros(SHAPE)
    stroke[8, 13, 20:30] = 1
    assert result(snap.mask("scribble", stroke))[8, 13, 20:30].all()
    requests.get(f"{address}/reset_interactions/{snap.id}", timeout=30)
    region = np.zeros(SHAPE)
    region[8] = phantom()[1][8]
    assert dice(result(snap.mask("lasso", region))[8], region[8]) > 0.85
    assert not result(snap.mask("lasso", region, foreground=False))[8][region[8] > 0].any()
    assert result(snap.mask("scribble", np.zeros(SHAPE))).shape == SHAPE  # nothing painted: the mask as it is


def test_18_reset_and_a_new_image_begin_anew_and_sessions_are_apart(address: str) -> None:
    one, two = Snap(address).upload(), Snap(address).upload()
    assert one.id != two.id
    assert result(one.point(CENTRE)).any()
    assert not result(two.mask("scribble", np.zeros(SHAPE))).any()
    assert requests.get(f"{address}/reset_interactions/{one.id}", timeout=30).json()["status"] == "success"
    assert not result(one.mask("scribble", np.zeros(SHAPE))).any()
    result(one.point(CENTRE))
    one.upload()
    assert not result(one.mask("scribble", np.zeros(SHAPE))).any()


def test_18_a_large_upload_may_wait_for_the_go_ahead(address: str) -> None:
    snap = Snap(address)
    noise = np.random.default_rng(0).normal(size=(40, 90, 100)).astype("<f4")
    answer = snap.send(
        f"/upload_raw/{snap.id}", noise, {**METADATA, "dimensions": [100, 90, 40]}, Expect="100-continue"
    )
    assert answer.status_code == 200


def test_19_nothing_but_a_whole_result_is_answered_with_200(address: str) -> None:
    snap = Snap(address)
    assert snap.point(CENTRE).status_code == 409
    assert snap.mask("scribble", np.zeros(SHAPE)).status_code == 409
    upload = f"/upload_raw/{snap.id}"
    wrong: list[dict[str, Any]] = [
        {"dimensions": [40, 30, 21]},
        {"dimensions": [40, 30]},
        {"dimensions": [40, 30, 0]},
        {"dimensions": [1 << 40, 1 << 40, 1]},
        {"dimensions": "x"},
        {"component_type": "int16"},
        {"components_per_pixel": 2},
        {"direction": [1.0, 0, 0, 0.5, 1, 0, 0, 0, 1]},
        {"spacing": [0.0, 1, 1]},
    ]
    for change in wrong:
        answer = snap.send(upload, phantom()[0], {**METADATA, **change})
        assert answer.status_code == 400, change
        assert "expected" in answer.json()["detail"]
    assert requests.post(address + upload, files={"file": b"x"}, timeout=30).status_code == 400
    assert requests.post(address + upload, data=b"x", timeout=30).status_code in (400, 422)
    snap.upload()
    assert snap.mask("scribble", np.zeros((20, 30, 41))).status_code == 400
    assert snap.point((20, 0, 0)).status_code == 400
    requests.get(f"{address}/v2/end_session/{snap.id}", timeout=30)
    assert snap.point(CENTRE).status_code == 404


def test_the_image_keeps_its_frame(listen: Callable[..., str]) -> None:
    apps: list[Any] = []
    snap = Snap(listen(apps.append)).upload()
    viewer = apps[0].state.itksnap.find("local", snap.id)
    geometry = viewer.content.drawing.volume.geometry
    assert geometry.spacing == (0.7, 0.7, 3.0)
    assert geometry.origin == (-80.5, 22.25, 1000.0)
    assert list(geometry.direction) == METADATA["direction"]
