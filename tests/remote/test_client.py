"""The client against a real server: the same verbs, the same masks as the local session."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptseg
from promptseg.app.settings import ServeSettings
from promptseg.errors import Cancelled, ChangedError, PromptError, ReadError, RemoteError, UnknownModelError, WriteError
from promptseg.example import example_volume
from promptseg.prompts import Point
from promptseg.remote.client import Client, RemoteSession
from promptseg.session.session import Session

from ..app.servers import InThread

MODEL = "classical"
IN_LIVER = Point(voxel=(5, 62, 54))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with InThread(ServeSettings(data=tmp_path_factory.mktemp("server"))) as url, Client(url) as made:
        yield made


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The middle of the example: ten slices, all of them with liver."""
    whole = example_volume()
    middle = whole.cropped(((19, 0, 0), (29, *whole.geometry.shape[1:])))
    return promptseg.write_volume(middle, tmp_path_factory.mktemp("scan") / "scan.nii.gz")[0]


@pytest.fixture
def both(client: Client, scan: Path) -> tuple[Session, RemoteSession]:
    return promptseg.open_session(scan, MODEL), client.open_session(scan, MODEL)


def same(local: Session, remote: RemoteSession) -> None:
    np.testing.assert_array_equal(local.labelmap.array, remote.labelmap.array)
    assert dict(local.labels) == dict(remote.labels)
    assert (local.selected, local.can_undo, local.can_redo) == (remote.selected, remote.can_undo, remote.can_redo)
    assert local.prompts == remote.prompts


def test_propagation_gives_the_same_mask_and_tells_how_far_it_is(both: tuple[Session, RemoteSession]) -> None:
    local, remote = both
    told: list[Any] = []
    assert local.add(IN_LIVER) == remote.add(IN_LIVER, on_progress=told.append)
    same(local, remote)
    assert told
    assert all(0 <= one.done <= one.total for one in told)


def test_a_propagation_can_be_cancelled(both: tuple[Session, RemoteSession]) -> None:
    _, remote = both
    remote.add(IN_LIVER, propagate=False)
    before = remote.mask().copy()

    def stop(_: object) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        remote.propagate(on_progress=stop)
    np.testing.assert_array_equal(remote.mask(), before)


def test_a_session_is_found_again(client: Client, both: tuple[Session, RemoteSession]) -> None:
    _, remote = both
    remote.add(IN_LIVER, propagate=False)
    remote.close()
    again = client.resume(remote.id)
    np.testing.assert_array_equal(again.mask(), remote.mask())
    assert again.revision == remote.revision
    assert remote.id in [one["id"] for one in client.sessions()]
    remote.delete()
    with pytest.raises(RemoteError, match="no session") as caught:
        client.resume(remote.id)
    assert caught.value.status == 404


def test_a_session_of_other_weights_is_told_and_comes_back_as_is_wished(
    client: Client, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights(digest: str) -> None:
        monkeypatch.setattr("promptseg.models.loading.weights_hash", lambda _: digest)

    weights("old")
    remote = client.open_session(scan, MODEL)
    remote.add(IN_LIVER, propagate=False)
    remote.close()
    weights("new")
    with pytest.raises(ChangedError, match="other weights") as caught:
        client.resume(remote.id)
    assert "again" in caught.value.choices
    again = client.resume(remote.id, changed="again")
    np.testing.assert_array_equal(again.mask(), remote.mask())


def test_results(both: tuple[Session, RemoteSession], scan: Path, tmp_path: Path) -> None:
    local, remote = both
    for session in both:
        session.add(IN_LIVER, propagate=False)
    (path,) = remote.save(tmp_path / "mask.seg.nrrd")
    from promptseg.io import read_labelmap

    np.testing.assert_array_equal(read_labelmap(path).array, local.labelmap.array)
    replayed = promptseg.replay(scan, remote.export_prompts(tmp_path / "log.json"))
    np.testing.assert_array_equal(replayed.array, local.labelmap.array)
    volume = next(row["value"] for row in remote.measurements() if row["name"] == "volume")
    assert remote.volume_ml() == pytest.approx(volume) == pytest.approx(local.labelmap.volume_ml(1))
    with pytest.raises(WriteError, match="ends with"):
        remote.save(tmp_path / "mask.xyz")


def test_errors_are_of_the_local_kinds(
    client: Client, both: tuple[Session, RemoteSession], scan: Path, tmp_path: Path
) -> None:
    for session in both:
        with pytest.raises(PromptError):
            session.add(Point(voxel=(999, 0, 0)), propagate=False)
        with pytest.raises(PromptError, match="no label"):
            session.select("nothing")
    text = tmp_path / "text.nii"
    text.write_text("no image")
    with pytest.raises(ReadError, match="text file"):
        client.open_session(text)
    with pytest.raises(ReadError, match="no such file"):
        client.open_session(tmp_path / "missing")
    with pytest.raises(UnknownModelError):
        client.open_session(scan, "biultin")
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(RemoteError, match="does not answer"):
        nobody.health()


def test_it_needs_neither_torch_nor_the_server() -> None:
    code = (
        "import sys; from promptseg.remote.client import Client, RemoteSession; Client('http://127.0.0.1:9').close(); "
        "heavy = ('torch', 'fastapi', 'sqlalchemy', 'onnxruntime', 'gradio', 'SimpleITK'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
