"""Logging in at an OpenID Connect provider: a published one in its own process, and one that can misbehave."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from joserfc.jwk import RSAKey

from promptseg.app.settings import Oidc, ServeSettings

from ..conftest import API
from ..provider import CLIENT, CLIENT_SECRET, Claims, Person, Provider, ProviderInThread
from ..servers import InThread, free_port

Serve = Callable[[ServeSettings], TestClient]


@pytest.fixture(scope="module")
def honest() -> Iterator[Provider]:
    with ProviderInThread() as provider:
        yield provider


@pytest.fixture
def provider(honest: Provider) -> Iterator[Provider]:
    yield honest
    fresh = Provider(key=honest.key)
    honest.person, honest.spoil, honest.signer, honest.algorithm = fresh.person, fresh.spoil, None, "RS256"


def with_oidc(settings: ServeSettings, discovery: str) -> ServeSettings:
    return replace(settings, auth="oidc", oidc=Oidc(discovery, CLIENT, CLIENT_SECRET))


def to_provider(client: TestClient) -> str:
    """Return where the login page sends a browser."""
    page = client.get("/login", headers={"Accept": "text/html"})
    link = re.search(r'href="([^"]*start[^"]*)"', page.text)
    assert link is not None
    answer = client.get(link[1], follow_redirects=False)
    assert answer.status_code in (302, 307)
    return str(answer.headers["location"])


def log_in(client: TestClient) -> httpx.Response:
    """Go through all three steps as a browser does; return the last answer."""
    back = httpx.get(to_provider(client), timeout=60).headers["location"]
    return client.get(back, follow_redirects=False)


def same_site(client: TestClient) -> dict[str, str]:
    return {"Origin": str(client.base_url), "Sec-Fetch-Site": "same-origin"}


def test_a_person_logs_in_comes_back_as_the_same_user_and_leaves(
    provider: Provider, settings: ServeSettings, serve: Serve
) -> None:
    client = serve(with_oidc(settings, provider.discovery))
    assert client.get(f"{API}/sessions").status_code == 401
    page = client.get("/", headers={"Accept": "text/html"}, follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    answer = log_in(client)
    assert answer.status_code in (302, 303), answer.text
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite" in cookie
    config = client.get(f"{API}/config").json()
    study = client.post(f"{API}/studies", json={"example": True}, headers=same_site(client)).json()["id"]
    client.post("/logout", headers=same_site(client))
    assert client.get(f"{API}/studies").status_code == 401
    provider.person = Person(name="ada lovelace, renamed")  # the subject counts, not the name
    log_in(client)
    assert client.get(f"{API}/config").json()["user"] == config["user"]
    assert [one["id"] for one in client.get(f"{API}/studies").json()] == [study]
    provider.person = Person(sub="subject-2", name="ada")  # another person of the same name
    client.cookies.clear()
    log_in(client)
    assert client.get(f"{API}/config").json()["user"] != config["user"]
    assert client.get(f"{API}/studies/{study}").status_code == 404


def test_what_is_asked_of_the_provider(provider: Provider, settings: ServeSettings, serve: Serve) -> None:
    asked = httpx.URL(to_provider(serve(with_oidc(settings, provider.discovery))))
    assert str(asked).startswith(f"{provider.url}/authorize?")
    assert asked.params["code_challenge_method"] == "S256"
    assert len(asked.params["nonce"]) >= 16
    assert len(asked.params["state"]) >= 16
    assert asked.params["redirect_uri"].endswith("/login/oidc/back")
    assert CLIENT_SECRET not in str(asked)


def old(claims: Claims) -> Claims:
    return {**claims, "iat": claims["iat"] - 9000, "exp": claims["exp"] - 9000}


SPOILED: dict[str, Callable[[Claims], Claims]] = {
    "another nonce": lambda claims: {**claims, "nonce": "x" * 20},
    "no nonce": lambda claims: {k: v for k, v in claims.items() if k != "nonce"},
    "for another client": lambda claims: {**claims, "aud": "somebody else"},
    "from another issuer": lambda claims: {**claims, "iss": "https://evil.example"},
    "no subject": lambda claims: {k: v for k, v in claims.items() if k != "sub"},
    "too old": old,
}


def refused(client: TestClient, answer: httpx.Response) -> None:
    assert answer.status_code == 401, answer.text
    assert "The login failed" in answer.text
    assert client.get(f"{API}/sessions").status_code == 401


@pytest.mark.parametrize("kind", SPOILED)
def test_a_token_that_is_not_for_this_login_is_refused(
    provider: Provider, settings: ServeSettings, serve: Serve, kind: str
) -> None:
    client = serve(with_oidc(settings, provider.discovery))
    provider.spoil = SPOILED[kind]
    refused(client, log_in(client))


def test_a_token_of_another_key_is_refused(provider: Provider, settings: ServeSettings, serve: Serve) -> None:
    client = serve(with_oidc(settings, provider.discovery))
    provider.signer = RSAKey.generate_key(2048, {"kid": "one"})
    refused(client, log_in(client))


def test_an_answer_that_was_not_asked_for_is_refused(provider: Provider, settings: ServeSettings, serve: Serve) -> None:
    client = serve(with_oidc(settings, provider.discovery))
    back = httpx.URL(httpx.get(to_provider(client), timeout=60).headers["location"])
    strange = back.copy_set_param("state", "somebody else's")
    refused(client, client.get(str(strange), follow_redirects=False))
    stranger = serve(with_oidc(replace(settings, data=settings.data.parent / "two"), provider.discovery))
    refused(stranger, stranger.get(back.raw_path.decode(), follow_redirects=False))  # no cookie of the first step
    refused(client, client.get(f"{back.path}?error=access_denied&state={back.params['state']}", follow_redirects=False))


def test_a_provider_that_is_away_is_a_sentence(settings: ServeSettings, serve: Serve) -> None:
    client = serve(with_oidc(settings, f"http://127.0.0.1:{free_port()}/.well-known/openid-configuration"))
    answer = client.get("/login/oidc/start", follow_redirects=False)
    assert answer.status_code == 502
    assert "Traceback" not in answer.text
    assert CLIENT_SECRET not in answer.text


@pytest.fixture
def published() -> Iterator[str]:
    """The address of oidc-provider-mock in its own process."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            try:
                if httpx.get(f"http://127.0.0.1:{port}/.well-known/openid-configuration").status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_a_published_provider_lets_a_person_in(settings: ServeSettings, published: str) -> None:
    with InThread(with_oidc(settings, f"{published}/.well-known/openid-configuration")) as url:
        with httpx.Client(base_url=url, timeout=60) as browser:
            asked = browser.get("/login/oidc/start").headers["location"]
            httpx.put(f"{published}/users/grace", json={"preferred_username": "grace"}).raise_for_status()
            answer = httpx.post(asked, data={"sub": "grace"}, timeout=60)
            assert answer.status_code == 302, answer.text
            came: Any = browser.get(answer.headers["location"])
            assert came.headers["location"] == "/", came.text
            assert browser.get(f"{API}/sessions").status_code == 200
        assert httpx.get(f"{url}{API}/sessions").status_code == 401


def test_behind_a_proxy_the_browser_comes_back_to_the_public_address(
    provider: Provider, settings: ServeSettings, serve: Serve
) -> None:
    public = replace(with_oidc(settings, provider.discovery), origins=("https://seg.example/",))
    client = serve(public)
    answer = client.get("/login/oidc/start", headers={"Host": "seg.example"}, follow_redirects=False)
    asked = httpx.URL(answer.headers["location"])
    assert asked.params["redirect_uri"] == "https://seg.example/login/oidc/back"
