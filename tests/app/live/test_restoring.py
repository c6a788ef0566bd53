"""A served session comes back as it was, or says that it cannot and what can be done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from promptseg.app.settings import ServeSettings
from promptseg.example import example_path

API = "/api/v1"
CLICKS = ([24.0, 62.0, 54.0], [20.0, 75.0, 60.0], [23.0, 62.0, 70.0])
Serve = Callable[[ServeSettings], TestClient]
Weights = Callable[[str], None]


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> Weights:
    """Return a function that says which weights every model has from now on."""
    return lambda digest: monkeypatch.setattr("promptseg.models.loading.weights_hash", lambda _: digest)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "scan.nii.gz").write_bytes(example_path().read_bytes())
    return tmp_path / "scans"


@pytest.fixture
def settings(tmp_path: Path, root: Path) -> ServeSettings:
    return ServeSettings(data=tmp_path / "data", roots=(root,))


def worked(client: TestClient, root: Path) -> str:
    """Open a session on the scan below the root, click, and put it away."""
    study = client.post(f"{API}/studies", json={"path": str(root / "scan.nii.gz")}).json()["id"]
    session = str(client.post(f"{API}/sessions", json={"study": study, "model": "classical"}).json()["id"])
    for voxel in CLICKS:
        click(client, session, voxel)
    return session


def click(client: TestClient, session: str, voxel: list[float]) -> dict[str, Any]:
    body = {"prompts": [{"type": "point", "voxel": voxel}]}
    answer = client.post(f"{API}/sessions/{session}/prompts", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def labels(client: TestClient, session: str) -> NDArray[np.uint8]:
    answer = client.get(f"{API}/sessions/{session}/labels.nii")
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content[352:], np.uint8)


def close(client: TestClient, session: str) -> None:
    assert client.post(f"{API}/sessions/{session}/close").status_code == 204


def test_other_weights_are_a_409_that_offers_what_can_be_done(
    serve: Serve, settings: ServeSettings, root: Path, weights: Weights
) -> None:
    weights("old")
    client = serve(settings)
    session = worked(client, root)
    before = labels(client, session)
    close(client, session)
    weights("new")
    for answer in (client.get(f"{API}/sessions/{session}"), client.post(f"{API}/sessions/{session}/undo")):
        assert answer.status_code == 409
        told = answer.json()
        assert (told["code"], told["choices"][-2:]) == ("changed", ["again", "new"])
        assert "other weights of the model 'classical'" in told["detail"]
    weights("old")
    np.testing.assert_array_equal(labels(client, session), before)


@pytest.mark.parametrize("how", ["stored", "again"])
def test_a_changed_session_comes_back_in_the_way_that_is_chosen(
    serve: Serve, settings: ServeSettings, root: Path, weights: Weights, how: str
) -> None:
    weights("old")
    client = serve(settings)
    session = worked(client, root)
    before = labels(client, session)
    client.__exit__(None, None, None)  # writes the snapshot
    weights("new")
    second = serve(settings)
    assert "stored" in second.get(f"{API}/sessions/{session}").json()["choices"]
    answer = second.post(f"{API}/sessions/{session}/restore", json={"how": how})
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(labels(second, session), before)
    assert len(answer.json()["prompts"]) == (0 if how == "stored" else len(CLICKS))
    click(second, session, [22.0, 62.0, 54.0])
    after = labels(second, session)
    close(second, session)
    np.testing.assert_array_equal(labels(second, session), after)  # from then on it is as any other


def test_an_image_that_has_changed_is_never_given_the_old_masks(
    serve: Serve, settings: ServeSettings, root: Path
) -> None:
    client = serve(settings)
    session = worked(client, root)
    client.__exit__(None, None, None)
    image = nibabel.load(root / "scan.nii.gz")
    voxels = np.asarray(image.dataobj)
    nibabel.save(nibabel.Nifti1Image(voxels[::-1].copy(), image.affine), root / "scan.nii.gz")
    second = serve(settings)
    answer = second.get(f"{API}/sessions/{session}")
    assert answer.status_code == 409, answer.text
    assert (answer.json()["code"], answer.json()["choices"]) == ("changed", ["new"])
    assert second.get(f"{API}/sessions/{session}/labels.nii").status_code == 409


def test_undo_and_redo_go_on_after_a_restart_in_their_order(serve: Serve, settings: ServeSettings, root: Path) -> None:
    client = serve(settings)
    session = worked(client, root)
    states = [labels(client, session)]
    for _ in range(2):
        client.post(f"{API}/sessions/{session}/undo")
        states.append(labels(client, session))
    client.__exit__(None, None, None)
    (path,) = settings.data.glob("sessions/*/session.snapshot")
    for snapshot in (True, False):
        if not snapshot:
            path.unlink(missing_ok=True)
        second = serve(settings)
        np.testing.assert_array_equal(labels(second, session), states[2])
        for wanted in (states[1], states[0]):
            second.post(f"{API}/sessions/{session}/redo")
            np.testing.assert_array_equal(labels(second, session), wanted)
        assert second.post(f"{API}/sessions/{session}/redo").json()["changed"] is None
        for _ in range(2):
            second.post(f"{API}/sessions/{session}/undo")
        second.__exit__(None, None, None)
