"""What MONAI Label's clients leave: no name in clear, counted, deleted; labels of images that lie elsewhere."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from promptseg.app.errors import UploadTooLargeError
from promptseg.app.protocols.datastore import FINAL, Datastore
from promptseg.app.settings import Limits, ServeSettings
from promptseg.app.store import Database
from promptseg.app.studies.quota import Quota
from promptseg.errors import ReadError
from promptseg.example import example_path

NAME = "Mueller^Hans 1950"
IMAGE = example_path().read_bytes()


def put(store: Datastore, name: str = NAME, **how: object) -> None:
    store.put(name, "image.nii.gz", io.BytesIO(IMAGE), **how)  # type: ignore[arg-type]


def test_no_name_stands_in_clear_on_the_disk(tmp_path: Path) -> None:
    store = Datastore(tmp_path, "ann", Limits())
    put(store)
    put(store, tag=FINAL)
    assert list(Datastore(tmp_path, "ann", Limits()).objects()) == [NAME]  # also for the next process
    for file in tmp_path.rglob("*"):
        assert "Mueller" not in str(file)
        assert file.is_dir() or b"Mueller" not in file.read_bytes()
    assert (tmp_path / "names.key").stat().st_mode & 0o077 == 0


def test_objects_are_deleted_and_count_in_the_users_room(tmp_path: Path, settings: ServeSettings) -> None:
    settings = replace(settings, limits=replace(Limits(), user_bytes=3 * len(IMAGE)))
    settings.data.mkdir()
    database = Database(settings.store_url)
    quota = Quota(settings, database)
    store = Datastore(settings.data / "datastore", "ann", settings.limits, lambda: quota.require("ann", 0))
    put(store)
    put(store, tag=FINAL)
    assert 2 * len(IMAGE) < quota.used_bytes("ann") < 3 * len(IMAGE)
    with pytest.raises(UploadTooLargeError, match="delete some first"):
        put(store, "another")
    assert quota.used_bytes("bob") == 0
    assert store.delete(NAME, FINAL)
    assert store.label(NAME, FINAL) is None
    assert store.image(NAME) is not None
    assert not store.delete(NAME, FINAL)
    assert store.delete(NAME)
    assert store.objects() == {}
    put(store, "another")
    database.close()


def test_a_label_of_an_image_that_lies_elsewhere(tmp_path: Path) -> None:
    store = Datastore(tmp_path, "ann", Limits())
    with pytest.raises(ReadError, match="known image"):
        put(store, "1.2.3", tag=FINAL)
    put(store, "1.2.3", tag=FINAL, known=True)
    assert store.label("1.2.3", FINAL) is not None


def test_the_routes(client: TestClient, settings: ServeSettings) -> None:
    files = {"file": ("a.nii.gz", IMAGE)}
    assert client.put("/datastore/image", params={"image": NAME}, files=files).status_code == 200
    assert client.delete("/datastore/image", params={"image": "none"}).status_code == 404
    assert client.delete("/datastore/", params={"id": NAME}).status_code == 200
    assert client.get("/datastore/").json() == {"objects": {}}
    label = {"label": ("a.nii.gz", IMAGE)}
    refused = client.put("/datastore/label", params={"image": "1.2.840.9", "tag": "final"}, files=label)
    assert refused.status_code == 400
