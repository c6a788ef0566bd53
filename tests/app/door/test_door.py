"""Who comes in: wrong logins count, right ones do not; proxies are named; other sites' pages do nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from promptseg.app.application import create_app
from promptseg.app.door.login import Failures
from promptseg.app.door.logs import REQUEST, JsonLines, TextLines, new_request_id
from promptseg.app.settings import Limits, ServeSettings
from promptseg.errors import SettingsError

from ..conftest import add_users

API = "/api/v1"
SECRET = "long enough for ten"
Serve = Callable[[ServeSettings], TestClient]


def with_users(settings: ServeSettings, *names: str, auth: str = "password") -> tuple[ServeSettings, dict[str, str]]:
    settings = replace(settings, auth=auth, limits=replace(Limits(), logins_per_minute=3))
    return settings, add_users(settings, *names, password=SECRET)


def login(client: TestClient, name: str, password: str = SECRET, **headers: str) -> int:
    headers = {"Origin": "http://127.0.0.1:7860", **headers}
    data = {"name": name, "password": password}
    return client.post("/login", data=data, headers=headers, follow_redirects=False).status_code


def test_wrong_logins_count_and_right_ones_do_not(serve: Serve, settings: ServeSettings) -> None:
    settings, _ = with_users(settings, "ann", "bob")
    client = serve(settings)
    assert [login(client, "ann") for _ in range(5)] == [303] * 5  # a department behind one address
    invented = [login(client, "ann", "wrong", **{"X-Forwarded-For": f"10.1.1.{n}"}) for n in range(6)]
    assert invented == [401] * 3 + [429] * 3  # nobody has named a proxy: its header counts for nothing
    assert login(client, "bob") == 303  # a colleague at the same address


def test_failures_are_counted_by_account_and_address() -> None:
    failures = Failures(2)
    for _ in range(2):
        failures.count("ann", "1.1.1.1")
    assert failures.wait_s("ann", "1.1.1.1") > 0
    assert failures.wait_s("ann", "2.2.2.2") == 0  # ann herself is not locked out by somebody elsewhere
    for number in range(20):
        failures.count(f"user{number}", "3.3.3.3")
    assert failures.wait_s("new", "3.3.3.3") > 0  # one address that tries all accounts


def test_a_named_proxy_tells_who_asks(settings: ServeSettings) -> None:
    settings, _ = with_users(settings, "ann")
    settings = replace(settings, trusted_proxies=("10.77.0.0/24",))
    app = create_app(settings)
    with TestClient(app, base_url="http://127.0.0.1:7860", client=("10.77.0.9", 5000)) as proxy:
        found = [login(proxy, "ann", "wrong", **{"X-Forwarded-For": "1.1.1.1"}) for _ in range(4)]
        assert found == [401, 401, 401, 429]
        assert login(proxy, "ann", **{"X-Forwarded-For": "2.2.2.2"}) == 303
        stranger = TestClient(app, base_url="http://127.0.0.1:7860", client=("10.99.0.9", 5000))
        found = [login(stranger, "ann", "wrong", **{"X-Forwarded-For": f"8.8.8.{n}"}) for n in range(4)]
        assert found == [401, 401, 401, 429]
    with pytest.raises(SettingsError, match="trusted-proxy"):
        replace(settings, trusted_proxies=("proxy",))


def test_a_server_with_keys_has_a_page_to_log_in_on(serve: Serve, settings: ServeSettings) -> None:
    settings, keys = with_users(settings, "ann", auth="keys")
    client = serve(settings)
    answer = client.get("/", headers={"Accept": "text/html"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert 'name="key"' in client.get("/login").text
    origin = {"Origin": "http://127.0.0.1:7860"}
    assert client.post("/login", data={"key": "ps_wrong"}, headers=origin).status_code == 401
    assert client.post("/login", data={"key": keys["ann"]}, headers=origin, follow_redirects=False).status_code == 303
    assert client.get(f"{API}/sessions").status_code == 200  # by the cookie


def test_another_sites_page_cannot_ask_what_acts_on_get(client: TestClient) -> None:
    for path in ("/v2/start_session/nnInteractive", "/start_session", "/end_session/abc", f"{API}/sessions"):
        for site in ("cross-site", "same-site"):
            for mode in ("no-cors", "navigate"):
                headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
                assert client.get(path, headers=headers).status_code == 403, (path, headers)
    assert client.get("/start_session").status_code == 200  # the viewer itself sends no such header
    visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=visit).status_code != 403


def test_a_key_is_needed_to_hear_that_it_is_valid(serve: Serve, settings: ServeSettings) -> None:
    settings, keys = with_users(settings, "ann", auth="keys")
    client = serve(settings)
    assert client.get("/auth/").json() == {"enabled": True}
    assert client.get("/auth/token/valid").status_code == 401
    known = {"Authorization": f"Bearer {keys['ann']}"}
    assert client.get("/auth/token/valid", headers=known).json() == {"valid": True}


def test_one_user_takes_no_more_than_a_few_places(serve: Serve, settings: ServeSettings) -> None:
    settings, keys = with_users(settings, "ann", "bob", auth="keys")
    client = serve(settings)
    claims = [client.post("/claim", headers={"Authorization": f"Bearer {keys['ann']}"}) for _ in range(6)]
    assert [answer.status_code for answer in claims] == [200] * 4 + [503] * 2
    assert "your 4 places" in claims[-1].json()["detail"]
    assert client.post("/claim", headers={"Authorization": f"Bearer {keys['bob']}"}).status_code == 200


def test_deep_json_is_refused_and_gradios_own_doors_are_closed(client: TestClient) -> None:
    token = client.post("/claim").json()["lease_token"]
    deep = "[" * 30_000
    answer = client.post("/add_scribble_interaction", headers={"X-Lease-Token": token, "X-Meta": deep}, content=b"x")
    assert answer.status_code == 400
    assert client.post("/infer/promptseg_click?image=x", data={"params": deep}).status_code == 400
    for path in ("upload", "queue/join", "run/predict", "component_server", "file=/etc/passwd"):
        assert client.post(f"/gradio_api/{path}").status_code == 404, path


def test_each_dicom_source_gets_its_own_password(settings: ServeSettings) -> None:
    one = replace(settings, dicom_sources=("http://a:1/dicom-web",), dicom_auth="ann:secret")
    assert one.dicom_password("http://a:1/dicom-web") == "ann:secret"
    both = replace(one, dicom_sources=("http://a:1/dicom-web", "http://b:2/dw"))
    with pytest.raises(SettingsError, match="ADDRESS=user:password"):
        both.dicom_password("http://a:1/dicom-web")
    named = replace(both, dicom_auth="http://a:1/dicom-web=ann:se=cret")
    assert named.dicom_password("http://a:1/dicom-web") == "ann:se=cret"
    assert named.dicom_password("http://b:2/dw") == ""


def test_the_data_folder_is_nobody_elses(
    client: TestClient, settings: ServeSettings, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    assert settings.data.stat().st_mode & 0o777 == 0o700
    wide = settings.data.with_name("wide")
    wide.mkdir(mode=0o755)
    wide.chmod(0o755)
    serve(replace(settings, data=wide))
    assert "chmod -R go-rwx" in caplog.text


def test_a_log_line_has_time_request_and_no_forged_lines(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "promptseg.access")
    answer = client.get(f"{API}/sessions/abcdef", headers={"X-Request-ID": "from-the-proxy-1"})
    assert answer.headers["x-request-id"] == "from-the-proxy-1"
    record = caplog.records[-1]
    line = json.loads(JsonLines().format(record))
    assert (line["status"], line["method"], line["address"]) == (404, "GET", "testclient")
    assert "abcdef" not in json.dumps(line)
    assert line["time"].endswith("+00:00")
    assert len(new_request_id("a\nb")) == 16
    REQUEST.set("r1")
    forged = logging.LogRecord("promptseg", logging.WARNING, "", 0, "a\n2026 CRITICAL forged", (), None)
    assert TextLines().format(forged).count("\n") == 0
    assert "[r1]" in TextLines().format(forged)
