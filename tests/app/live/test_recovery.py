"""What is on the disk comes back when the store is lost; a full disk keeps nobody's mask in; memory is asked first."""

from __future__ import annotations

import errno
import io
import shutil
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from promptseg.app.accounts import Accounts
from promptseg.app.live.recovery import find_orphans, recover
from promptseg.app.settings import Limits, ServeSettings
from promptseg.app.store import Database
from promptseg.app.studies.series import BYTES_PER_VOXEL, Series, VolumeCache
from promptseg.cli.main import main
from promptseg.errors import SettingsError
from promptseg.example import example_path

API = "/api/v1"
CLICK = {"prompts": [{"type": "point", "voxel": [24, 62, 54]}]}
Serve = Callable[[ServeSettings], TestClient]


def uploaded(client: TestClient) -> str:
    answer = client.post(f"{API}/studies", files={"files": ("a.nii.gz", example_path().read_bytes())})
    body = {"study": answer.json()["id"], "model": "classical"}
    session = str(client.post(f"{API}/sessions", json=body).json()["id"])
    assert client.post(f"{API}/sessions/{session}/prompts", json=CLICK).status_code == 200
    return session


def test_sessions_without_a_row_come_back(serve: Serve, settings: ServeSettings, tmp_path: Path) -> None:
    first = serve(settings)
    session = uploaded(first)
    voxels = first.get(f"{API}/sessions/{session}/labels.nii").content
    first.__exit__(None, None, None)
    (settings.data / "store.sqlite").write_bytes(b"no database any more" * 100)
    with pytest.raises(SettingsError, match="promptseg recover"):
        Database(settings.store_url)
    for left in settings.data.glob("store.sqlite*"):
        left.unlink()
    second = serve(settings)
    assert second.get(f"{API}/sessions").json() == []
    second.__exit__(None, None, None)
    database = Database(settings.store_url)
    assert [orphan.folder.name for orphan in find_orphans(settings, database)] == [session]
    with pytest.raises(SettingsError, match="no user 'ann'"):
        recover(settings, database, "ann")
    database.close()
    assert main(["recover", "--owner", "local", "--data", str(settings.data)]) == 0
    third = serve(settings)
    assert [one["id"] for one in third.get(f"{API}/sessions").json()] == [session]
    assert third.get(f"{API}/sessions/{session}/labels.nii").content == voxels
    assert third.post(f"{API}/sessions/{session}/undo").status_code == 200


def test_a_backup_of_the_folder_is_a_whole_server(serve: Serve, settings: ServeSettings, tmp_path: Path) -> None:
    first = serve(settings)
    session = uploaded(first)
    voxels = first.get(f"{API}/sessions/{session}/labels.nii").content
    first.__exit__(None, None, None)
    shutil.copytree(settings.data, tmp_path / "backup")
    shutil.rmtree(settings.data)
    shutil.copytree(tmp_path / "backup", settings.data)
    again = serve(settings)
    assert again.get(f"{API}/sessions/{session}/labels.nii").content == voxels


def test_a_full_disk_keeps_nobodys_mask_in(
    client: TestClient, settings: ServeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = uploaded(client)
    audit = client.app.state.promptseg.audit  # type: ignore[attr-defined]

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def no_store() -> None:
        raise OperationalError("insert", {}, Exception("database or disk is full"))

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        patched.setattr(audit, "_database", type("Full", (), {"transaction": staticmethod(no_store)})())
        refused = client.post(f"{API}/sessions/{session}/prompts", json=CLICK)
        assert refused.status_code == 507
        assert str(settings.data) not in refused.text
        for kind in ("nii.gz", "prompts", "csv"):
            assert client.get(f"{API}/sessions/{session}/export?format={kind}").status_code == 200, kind
    other = {"prompts": [{"type": "point", "voxel": [20, 62, 54]}]}
    assert client.post(f"{API}/sessions/{session}/prompts", json=other).json()["revision"] == 2


def test_memory_is_asked_before_anything_is_read(serve: Serve, settings: ServeSettings, tmp_path: Path) -> None:
    series = Series("1", "", None, (100, 200, 300), (1.0, 1.0, 1.0), 1, colour=True)
    cache = VolumeCache(tmp_path)
    assert cache.needed("s", series, None) == 3 * 6_000_000 * (2 + BYTES_PER_VOXEL)
    client = serve(replace(settings, limits=replace(Limits(), memory_bytes=1_000_000)))
    study = client.post(f"{API}/studies", json={"example": True}).json()["id"]
    answer = client.post(f"{API}/sessions", json={"study": study, "model": "classical"})
    assert answer.status_code == 503
    assert "memory" in answer.json()["detail"]


def test_a_zip_whose_entries_overlap_is_not_opened(client: TestClient) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.raw", b"\0" * 100_000)
    raw = buffer.getvalue()
    at = raw.index(b"PK\x01\x02")
    entry, end = raw[at : raw.index(b"PK\x05\x06")], raw[raw.index(b"PK\x05\x06") :]
    many = 60
    counts = struct.pack("<HHII", many, many, len(entry) * many, at)
    forged = raw[:at] + entry * many + end[:8] + counts + end[20:]
    answer = client.post(f"{API}/studies", files={"files": ("a.zip", forged)})
    assert (answer.status_code, "overlap" in answer.json()["detail"]) == (422, True)


def test_users_are_locked_out_deleted_and_their_keys_end(
    settings: ServeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data", str(settings.data)]
    for line in (
        ["add", "ann"],
        ["key", "ann", "--label", "script"],
        ["key", "ann", "--days", "-1"],
        ["disable", "ann"],
    ):
        assert main(["users", *line, *where]) == 0
    good, old = [text for text in capsys.readouterr().out.split() if text.startswith("ps_")]
    database = Database(settings.store_url)
    accounts = Accounts(database, settings)
    assert (accounts.of_key(good), accounts.of_key(old)) == (None, None)
    assert main(["users", "enable", "ann", *where]) == 0
    assert accounts.of_key(good) is not None
    assert accounts.of_key(old) is None
    assert main(["users", "keys", "ann", *where]) == 0
    listed = capsys.readouterr().out
    assert "script" in listed
    assert good not in listed
    assert main(["users", "revoke", "ann", "--key", "ffffffff", *where]) != 0
    assert main(["users", "delete", "ann", *where]) == 0
    database.close()
    capsys.readouterr()
    assert main(["audit", *where]) == 0
    told = capsys.readouterr().out
    assert "ann locked out" in told
    assert "ann deleted" in told
    assert good not in told
