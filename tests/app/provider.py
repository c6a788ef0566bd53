"""A small OpenID Connect provider (authorization code with PKCE, RS256) that can be told to misbehave."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, CLIENT_SECRET = "promptseg", "a-secret-between-the-two-servers"
Claims = dict[str, Any]


@dataclass
class Person:
    """Who is logged in at the provider."""

    sub: str = "subject-1"
    name: str = "ada"


@dataclass
class Provider:
    """The provider's state; ``spoil`` changes the claims of the next tokens, ``signer`` signs them."""

    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"}))
    person: Person = field(default_factory=Person)
    spoil: Callable[[Claims], Claims] = field(default=lambda claims: claims)
    signer: RSAKey | None = None
    algorithm: str = "RS256"
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def discovery(self) -> str:
        return f"{self.url}/.well-known/openid-configuration"

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._describe),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/keys", self._keys),
            ]
        )

    async def _describe(self, _: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "code_challenge_methods_supported": ["S256"],
            }
        )

    async def _keys(self, _: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        if asked.get("client_id") != CLIENT or asked.get("code_challenge_method") != "S256":
            return JSONResponse({"error": "invalid_request"}, 400)
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 302)

    async def _token(self, request: Request) -> Response:
        form = await request.form()
        asked = self.codes.pop(str(form.get("code")), None)
        basic = "Basic " + base64.b64encode(f"{CLIENT}:{CLIENT_SECRET}".encode()).decode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(str(form.get("code_verifier")).encode()).digest())
        right = asked is not None and asked["code_challenge"] == challenge.rstrip(b"=").decode()
        known = request.headers.get("authorization") == basic or form.get("client_secret") == CLIENT_SECRET
        if asked is None or not right or not known:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims: Claims = {"iss": self.url, "sub": self.person.sub, "aud": CLIENT, "iat": now, "exp": now + 300}
        claims |= {"nonce": asked["nonce"], "preferred_username": self.person.name}
        signed = jwt.encode({"alg": self.algorithm, "kid": "one"}, self.spoil(claims), self.signer or self.key)
        return JSONResponse({"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": signed})


class ProviderInThread:
    """A provider on a free port."""

    def __init__(self) -> None:
        self.provider = Provider()
        self._server = uvicorn.Server(uvicorn.Config(self.provider.app(), port=0, log_level="error"))
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> Provider:
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.02)
            assert self._thread.is_alive()
        self.provider.port = self._server.servers[0].sockets[0].getsockname()[1]
        return self.provider

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
