"""Who may come in, from where, how much and how fast; every object belongs to a user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from promptseg.app.settings import Limits, ServeSettings
from promptseg.app.store import AuditEntry, Database
from promptseg.errors import SettingsError

from ..conftest import API, add_users

Serve = Callable[[ServeSettings], TestClient]
PASSWORD = "correct horse battery"


def people(settings: ServeSettings, *names: str) -> dict[str, str]:
    """Add users with a password; return a key for each."""
    return add_users(settings, *names, password=PASSWORD)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "seg.example", "::", "127.evil.example"])
def test_an_open_address_needs_users_or_a_word(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError, match="--auth"):
        ServeSettings(data=tmp_path, host=host)
    assert ServeSettings(data=tmp_path, host=host, insecure=True).insecure
    assert ServeSettings(data=tmp_path, host=host, auth="keys").auth == "keys"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_loopback_needs_none(tmp_path: Path, host: str) -> None:
    assert ServeSettings(data=tmp_path, host=host).auth == "none"


def test_without_a_known_key_nothing_but_health(serve: Serve, settings: ServeSettings) -> None:
    keyed = replace(settings, auth="keys")
    keys = people(keyed, "ada")
    client = serve(keyed)
    assert client.get(f"{API}/health").status_code == 200
    for path in ("studies", "sessions", "models", "metrics", "config", "openapi.json", "jobs/1"):
        answer = client.get(f"{API}/{path}")
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/").status_code == 401
    assert client.get(f"{API}/studies", headers=bearer("ps_wrong")).status_code == 401
    assert client.get(f"{API}/studies", headers=bearer(keys["ada"])).status_code == 200
    assert client.get(f"{API}/config", headers=bearer(keys["ada"])).json()["auth"] == "keys"


def test_every_object_of_another_user_answers_404(serve: Serve, settings: ServeSettings) -> None:
    keyed = replace(settings, auth="keys")
    keys = people(keyed, "ada", "bob")
    client = serve(keyed)
    ada, bob = bearer(keys["ada"]), bearer(keys["bob"])
    study = client.post(f"{API}/studies", json={"example": True}, headers=ada).json()["id"]
    session = client.post(f"{API}/sessions", json={"study": study, "model": "classical"}, headers=ada).json()["id"]
    click = {"prompts": [{"type": "point", "voxel": [24.0, 62.0, 54.0]}]}
    assert client.post(f"{API}/sessions/{session}/prompts", json=click, headers=ada).status_code == 200
    job = client.post(f"{API}/sessions/{session}/propagate", headers=ada).json()["id"]
    path = f"{API}/sessions/{session}"
    tried: list[tuple[str, str, Any]] = [
        ("GET", f"{API}/studies/{study}", None),
        ("DELETE", f"{API}/studies/{study}", None),
        ("GET", f"{API}/studies/{study}/series/1/thumbnail.png", None),
        ("POST", f"{API}/sessions", {"study": study}),
        ("GET", path, None),
        ("DELETE", path, None),
        ("POST", f"{path}/close", None),
        ("POST", f"{path}/prompts", click),
        ("PUT", f"{path}/prompts/1", {"prompt": click["prompts"][0]}),
        ("DELETE", f"{path}/prompts/1", None),
        ("POST", f"{path}/propagate", None),
        ("POST", f"{path}/undo", None),
        ("POST", f"{path}/redo", None),
        ("POST", f"{path}/edits", {"edit": {"kind": "grow", "by_mm": 1.0}}),
        ("POST", f"{path}/accept", {"index": 1}),
        ("POST", f"{path}/labels", {}),
        ("PATCH", f"{path}/labels/1", {"opacity": 0.1}),
        ("DELETE", f"{path}/labels/1", None),
        ("POST", f"{path}/labels/1/merge", {"into": 2}),
        *(
            ("GET", f"{path}/{part}", None)
            for part in ("image.nii", "labels.nii", "review", "confidence", "measurements")
        ),
        ("GET", f"{path}/export?format=nii.gz", None),
        ("GET", f"{API}/jobs/{job}", None),
        ("GET", f"{API}/jobs/{job}/events", None),
        ("DELETE", f"{API}/jobs/{job}", None),
    ]
    for method, url, body in tried:
        answer = client.request(method, url, json=body, headers=bob)
        assert answer.status_code == 404, (method, url, answer.text)
    for listing in ("studies", "sessions"):
        assert client.get(f"{API}/{listing}", headers=bob).json() == []
        assert len(client.get(f"{API}/{listing}", headers=ada).json()) == 1


def test_login_logout_and_a_cookie_that_scripts_and_other_sites_cannot_use(
    serve: Serve, settings: ServeSettings
) -> None:
    with_page = replace(settings, auth="password")
    people(with_page, "ada")
    client = serve(with_page)
    page = client.get("/", headers={"Accept": "text/html"}, follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    assert "not a medical device" in client.get("/login").text
    origin = {"Origin": "http://127.0.0.1:7860"}
    wrong = client.post("/login", data={"name": "ada", "password": "guess"}, headers=origin)
    assert wrong.status_code == 401
    form = {"name": "ada", "password": PASSWORD}
    right = client.post("/login", data=form, headers=origin, follow_redirects=False)
    cookie = right.headers["set-cookie"].lower()
    assert right.status_code == 303
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get(f"{API}/studies").status_code == 200
    body = {"example": True}
    assert client.post(f"{API}/studies", json=body).status_code == 403
    assert client.post(f"{API}/studies", json=body, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post(f"{API}/studies", json=body, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post(f"{API}/studies", json=body, headers=origin).status_code == 201
    client.post("/logout", headers=origin, follow_redirects=False)
    client.cookies.set("promptseg_login", right.cookies["promptseg_login"])
    assert client.get(f"{API}/studies").status_code == 401


def test_guessing_is_slowed_down(serve: Serve, settings: ServeSettings) -> None:
    few = replace(settings, auth="password", limits=Limits(logins_per_minute=3))
    keys = people(few, "ada")
    client = serve(few)
    codes = [client.get(f"{API}/studies", headers=bearer(f"ps_{n}")).status_code for n in range(6)]
    assert codes == [401, 401, 401, 429, 429, 429]
    blocked = client.get(f"{API}/studies", headers=bearer("ps_7"))
    assert int(blocked.headers["retry-after"]) > 0
    form = {"name": "ada", "password": "guess guess"}
    codes = [
        client.post("/login", data=form, headers={"Origin": "http://127.0.0.1:7860"}).status_code for _ in range(12)
    ]
    assert codes[-1] == 429
    assert keys["ada"] not in blocked.text


def test_on_loopback_another_sites_page_can_do_nothing(client: TestClient) -> None:
    body = {"example": True}
    assert client.post(f"{API}/studies", json=body, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post(f"{API}/studies", json=body, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.get(f"{API}/studies", headers={"Host": "evil.example"}).status_code == 421
    assert client.get(f"{API}/studies", headers={"Host": "localhost:7860"}).status_code == 200
    assert (
        "access-control-allow-origin"
        not in client.get(f"{API}/studies", headers={"Origin": "https://evil.example"}).headers
    )


def test_requests_have_a_size_and_a_rate(serve: Serve, settings: ServeSettings) -> None:
    small = Limits(body_bytes=2000, upload_bytes=5000, requests_per_s=0.1, request_burst=6)
    client = serve(replace(settings, limits=small))
    assert client.post(f"{API}/sessions", content=b"x" * 3000).status_code == 413

    def drops() -> Any:
        yield from (b"x" * 500 for _ in range(10))

    chunked = client.post(f"{API}/sessions", content=drops(), headers={"Content-Type": "application/json"})
    assert chunked.status_code == 413
    files = {"files": ("a.nii", b"x" * 9000)}
    assert client.post(f"{API}/studies", files=files).status_code == 413
    codes = [client.get(f"{API}/studies").status_code for _ in range(8)]
    assert codes[0] == 200
    assert codes[-1] == 429


def test_every_answer_has_its_security_headers(client: TestClient) -> None:
    for answer in (client.get(f"{API}/studies"), client.get(f"{API}/nothing"), client.get("/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors" in answer.headers["content-security-policy"]
        assert "http:" not in answer.headers["content-security-policy"]
    assert client.get(f"{API}/studies").headers["cache-control"] == "no-store"


def test_the_audit_log_says_who_what_and_which_study(serve: Serve, settings: ServeSettings) -> None:
    keyed = replace(settings, auth="keys")
    keys = people(keyed, "ada")
    client = serve(keyed)
    ada = bearer(keys["ada"])
    files = {"files": ("DOE^JANE 1931.nii.gz", Path(_example()).read_bytes())}
    study = client.post(f"{API}/studies", files=files, headers=ada).json()
    session = client.post(f"{API}/sessions", json={"study": study["id"], "model": "classical"}, headers=ada).json()[
        "id"
    ]
    click = {"prompts": [{"type": "point", "voxel": [24.0, 62.0, 54.0]}]}
    client.post(f"{API}/sessions/{session}/prompts", json=click, headers=ada)
    client.get(f"{API}/sessions/{session}/export?format=nii.gz", headers=ada)
    client.delete(f"{API}/sessions/{session}", headers=ada)
    client.__exit__(None, None, None)
    database = Database(keyed.store_url)
    with database.transaction() as store:
        entries = list(store.scalars(select(AuditEntry).order_by(AuditEntry.time)))
    database.close()
    actions = [entry.action for entry in entries]
    assert actions == ["study added", "session opened", "prompt", "export nii.gz", "session deleted"]
    assert len({entry.user_id for entry in entries}) == 1
    assert all(len(entry.study_hash) == 64 for entry in entries)
    assert "DOE" not in str([vars(entry) for entry in entries])
    stored = [path.name for path in keyed.data.rglob("*")]
    assert not any("DOE" in name for name in stored)


def _example() -> Path:
    from promptseg.example import example_path

    return example_path()
