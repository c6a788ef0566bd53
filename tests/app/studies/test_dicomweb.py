"""Studies of a DICOMweb server: a real Orthanc; and that nobody can make this server ask any other address."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_phantoms import SECRET, write_dicom
from fastapi.testclient import TestClient

from promptseg.app.settings import Limits, ServeSettings
from promptseg.errors import SettingsError
from promptseg.volume import Geometry

from ..conftest import API
from ..orthanc import PASSWORD, USER, binary, running

Serve = Callable[[ServeSettings], TestClient]
STUDY, SERIES = "1.2.826.0.1.3680043.10.77", "1.2.826.0.1.3680043.10.77.1"
SHAPE = (14, 40, 52)  # no two axes alike
CENTRE = [6.0, 19.0, 30.0]
TILTED = Geometry(  # oblique, anisotropic, off the origin
    shape=SHAPE,
    spacing=(0.8, 0.9, 3.0),
    origin=(-80.5, 22.25, 1000.0),
    direction=(0.0, 0.955336489, -0.295520207, -1.0, 0.0, 0.0, 0.0, 0.295520207, 0.955336489),
)


@dataclass
class Archive:
    """An Orthanc and the files that it holds."""

    url: str
    files: list[Path]

    @property
    def series(self) -> str:
        return f"{self.url}/studies/{STUDY}/series/{SERIES}"


def ball() -> np.ndarray[Any, np.dtype[np.int16]]:
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    inside = ((z - 6) / 4) ** 2 + ((y - 19) / 9) ** 2 + ((x - 30) / 11) ** 2 <= 1
    return (40 + 120 * inside + np.random.default_rng(3).normal(0, 4, SHAPE)).astype(np.int16)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    program = binary()
    if program is None:
        pytest.skip("Orthanc is not installed (Debian: apt-get install orthanc orthanc-dicomweb)")
    folder = tmp_path_factory.mktemp("orthanc")
    files = write_dicom(folder / "files", ball(), TILTED, uid=SERIES, tags={"StudyInstanceUID": STUDY})
    with running(program, folder, files) as url:
        yield Archive(url, files)


@pytest.fixture
def open_to(archive: Archive, settings: ServeSettings) -> ServeSettings:
    return replace(settings, dicom_sources=(archive.url,), dicom_auth=f"{USER}:{PASSWORD}")


def clicked(client: TestClient, study: dict[str, Any]) -> bytes:
    session = client.post(f"{API}/sessions", json={"study": study["id"], "model": "classical"}).json()["id"]
    body = {"prompts": [{"type": "point", "voxel": CENTRE}], "propagate": False}
    assert client.post(f"{API}/sessions/{session}/prompts", json=body).status_code == 200
    return client.get(f"{API}/sessions/{session}/labels.nii").content


def test_a_study_by_its_address_is_the_same_as_its_files_sent(
    archive: Archive, open_to: ServeSettings, serve: Serve
) -> None:
    client = serve(open_to)
    assert client.get(f"{API}/config").json()["dicom_sources"] == [archive.url]
    answer = client.post(f"{API}/studies", json={"dicomweb": archive.series})
    assert answer.status_code == 201, answer.text
    study = answer.json()
    assert SECRET not in answer.text
    assert study["series"][0]["shape"] == list(SHAPE)
    np.testing.assert_allclose(study["series"][0]["spacing_mm"], TILTED.spacing, rtol=1e-5)
    sent = [("files", (file.name, file.read_bytes())) for file in archive.files]
    uploaded = client.post(f"{API}/studies", files=sent).json()
    fetched_mask, uploaded_mask = clicked(client, study), clicked(client, uploaded)
    assert np.frombuffer(fetched_mask[352:], np.uint8).any()
    assert fetched_mask == uploaded_mask  # header, so geometry, included
    whole = client.post(f"{API}/studies", json={"dicomweb": f"{archive.url}/studies/{STUDY}"}).json()
    assert [one["shape"] for one in whole["series"]] == [list(SHAPE)]
    stored = open_to.data / "studies" / study["id"]
    assert {file.suffix for file in stored.iterdir()} == {".dcm"}
    assert client.delete(f"{API}/studies/{whole['id']}").status_code == 204
    assert not (open_to.data / "studies" / whole["id"]).exists()


def test_ohif_over_monai_label_finds_a_series_of_the_archive(
    archive: Archive, open_to: ServeSettings, serve: Serve
) -> None:
    client = serve(replace(open_to, models=("classical",)))
    params = {"foreground": [[30, 19, 6]], "background": [], "result_extension": ".nrrd", "result_dtype": "uint8"}
    sent = {"params": (None, json.dumps(params))}
    answer = client.post("/infer/promptseg_click", params={"image": SERIES, "output": "image"}, files=sent)
    assert answer.status_code == 200, answer.text
    header, _, voxels = answer.content.partition(b"\n\n")
    assert b"encoding: raw" in header
    mask = np.frombuffer(voxels, np.uint8).reshape(SHAPE) != 0
    truth = ball() > 100
    assert mask[6, 19, 30]
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.8
    unknown = client.post("/infer/promptseg_click", params={"image": "1.2.3", "output": "image"}, files=sent)
    assert unknown.status_code == 404
    assert not list((open_to.data / "cache").rglob("*.dcm"))


def test_what_the_archive_refuses_is_one_sentence(archive: Archive, open_to: ServeSettings, serve: Serve) -> None:
    client = serve(open_to)
    answer = client.post(f"{API}/studies", json={"dicomweb": f"{archive.url}/studies/1.2.3"})
    assert answer.status_code == 422, answer.text
    assert not list((open_to.data / "studies").iterdir())
    wrong = serve(replace(open_to, data=open_to.data.parent / "other", dicom_auth=f"{USER}:wrong"))
    answer = wrong.post(f"{API}/studies", json={"dicomweb": archive.series})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "the DICOM source refused with status 401"


def test_more_than_one_upload_may_have_is_refused_and_leaves_nothing(
    archive: Archive, open_to: ServeSettings, serve: Serve
) -> None:
    for name, limits in (("bytes", Limits(upload_bytes=20_000)), ("files", Limits(upload_files=3))):
        few = replace(open_to, data=open_to.data.parent / name, limits=limits)
        answer = serve(few).post(f"{API}/studies", json={"dicomweb": archive.series})
        assert answer.status_code == 413, answer.text
        assert not list((few.data / "studies").iterdir())


@dataclass
class Stranger:
    """A server that counts who comes; as a configured source it sends everybody elsewhere."""

    port: int
    came: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def strangers() -> Iterator[tuple[Stranger, Stranger]]:
    """A source that redirects to the second one, and the second one."""
    came: tuple[list[str], list[str]] = ([], [])
    servers: list[ThreadingHTTPServer] = []

    def handler(number: int) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                came[number].append(self.path)
                self.send_response(302)
                self.send_header("Location", f"http://127.0.0.1:{servers[1].server_port}/secret")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...  # type: ignore[override]

        return Handler

    servers.extend(ThreadingHTTPServer(("127.0.0.1", 0), handler(number)) for number in (0, 1))
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    yield Stranger(servers[0].server_port, came[0]), Stranger(servers[1].server_port, came[1])
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        server.server_close()
        thread.join()


def test_no_other_address_is_ever_asked(
    strangers: tuple[Stranger, Stranger], settings: ServeSettings, serve: Serve
) -> None:
    source, other = strangers
    client = serve(replace(settings, dicom_sources=(f"{source.url}/dicom-web/",)))
    known = f"{source.url}/dicom-web"
    for url in (
        f"{other.url}/dicom-web/studies/1.2",
        f"{known}.example/studies/1.2",
        f"{known}@127.0.0.1:{other.port}/studies/1.2",
        f"{known}/../secret/studies/1.2",
        f"{known}/studies/..%2f..%2fsecret",
        f"{known}/studies/1.2/series/../../x",
        f"{known}/studies/1.2?next={other.url}",
        f"{known}/studies/1.2#x",
        f"{known}/studies/1.2\r\nHost: x",
        "file:///etc/passwd",
        "studies/1.2",
    ):
        answer = client.post(f"{API}/studies", json={"dicomweb": url})
        assert answer.status_code == 422, url
    assert source.came == other.came == []
    answer = client.post(f"{API}/studies", json={"dicomweb": f"{known}/studies/1.2"})  # the source redirects
    assert answer.status_code == 422
    assert str(other.port) not in answer.text
    assert source.came
    assert other.came == []
    assert not list((settings.data / "studies").iterdir())


def test_without_a_configured_source_there_is_none(client: TestClient, settings: ServeSettings) -> None:
    answer = client.post(f"{API}/studies", json={"dicomweb": "http://127.0.0.1:8042/dicom-web/studies/1.2"})
    assert answer.status_code == 422
    assert "--dicom-source" in answer.json()["detail"]
    for source in ("ftp://host/x", "host:8042", "http://me:secret@host/dicom-web", "http://host/x?y=1"):
        with pytest.raises(SettingsError, match="--dicom-source") as caught:
            replace(settings, dicom_sources=(source,))
        assert "secret" not in str(caught.value)
