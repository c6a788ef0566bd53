"""What every request passes before any route: the right host and origin, a known user, a measure of size and rate.

Plain ASGI, so that streams stay streams and a click pays microseconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promptseg.app.accounts import LOCAL_USER
from promptseg.app.audit import ADDRESS
from promptseg.app.door.logs import REQUEST, new_request_id
from promptseg.app.door.metrics import Metrics
from promptseg.app.door.rates import AtOnce, Buckets
from promptseg.app.door.statuses import CODES
from promptseg.app.settings import is_loopback
from promptseg.app.state import AppState

__all__ = ["COOKIE", "Guard"]

COOKIE = "promptseg_login"
API = "/api/"
OPEN = ("/login", "/logout", "/api/v1/health", "/api/v1/ready", "/healthz")  # need no user, nor what lies below
OPEN_ALONE = ("/auth/", "/auth/token")  # these need none, what lies below does
GRADIO = "/gradio_api/"  # its own doors to files, queues and functions: the page talks to our API alone
GRADIO_NEEDED = ("/gradio_api/info", "/gradio_api/app_id", "/gradio_api/startup-events")
PAGES = ("/", "/login", "/login/oidc/back")  # that a link on another site may lead to
MASK_FILES = "/masks"  # of a session: a route with a large body
SAFE = ("GET", "HEAD", "OPTIONS")
STREAMS = "/events"  # how the paths end whose answers last as long as a job: they take no thread
API_POLICY = "default-src 'none'; frame-ancestors 'none'"
# Gradio starts from inline scripts and builds functions from text; NiiVue works in blobs. Nothing comes from outside.
PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


LOGGER = logging.getLogger("promptseg.access")


class _Refused(HTTPException):  # so that a framework that reads the body lets it through
    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(status, detail, {name.replace("_", "-"): value for name, value in headers.items()})


class Guard:
    """ASGI middleware.

    Args:
        app: what comes after.
        state: the server's state; its settings say who may come in.
        metrics: counts every request.
        uploads: how the paths begin that take large bodies.
    """

    def __init__(self, app: ASGIApp, state: AppState, metrics: Metrics, uploads: tuple[str, ...]) -> None:
        self._app, self._state, self._metrics, self._uploads = app, state, metrics, uploads
        settings, limits = state.settings, state.settings.limits
        self._rates = Buckets(limits.requests_per_s, limits.request_burst)
        self._failures = Buckets(limits.logins_per_minute / 60.0, limits.logins_per_minute)
        self._at_once = AtOnce(limits.requests_at_once)
        self._bytes = Buckets(limits.body_bytes_per_s, limits.body_bytes)
        self._origins = {origin.rstrip("/").lower() for origin in settings.origins}
        self._names = {urlsplit(origin).hostname or "" for origin in settings.origins} | {settings.host.lower()}
        self._any_host = settings.auth != "none" or settings.host in ("0.0.0.0", "::")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        is_api = scope["path"].startswith(API)

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = REQUEST.get()
                self._add_headers(MutableHeaders(scope=message), is_api)
            await send(message)

        ADDRESS.set(_address(scope))
        REQUEST.set(new_request_id(Headers(scope=scope).get("x-request-id")))
        try:
            await self._admit(scope)
            reading = self._measured(scope, receive) if scope["type"] == "http" else receive
            with self._place(scope):
                await self._app(scope, reading, sending)
        except _Refused as refused:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await _answer(refused, sending)
        finally:
            route = getattr(scope.get("route"), "path", None) or ("other" if is_api else "page")
            seconds = time.perf_counter() - began
            self._metrics.request(scope.get("method", "WS"), route, status, seconds)
            facts = {"method": scope.get("method", "WS"), "route": route, "status": status}
            facts |= {"ms": round(1000 * seconds, 1), "address": _address(scope)}
            facts |= {"user": scope.get("state", {}).get("user") or "-"}
            LOGGER.info("request", extra=facts)

    # --- who and from where ---------------------------------------------------------------------------------------

    async def _admit(self, scope: Scope) -> None:
        """Check host and origin; put the user's id into the scope.

        Raises:
            _Refused: with the answer.
        """
        headers = Headers(scope=scope)
        self._check_host(headers)
        if scope["path"].startswith(GRADIO) and scope["path"] not in GRADIO_NEEDED:
            raise _Refused(404, "the page needs no such thing of Gradio")
        user, by_cookie = await self._identify(scope, headers)
        if scope.get("method", "GET") not in SAFE or scope["type"] == "websocket":
            self._check_origin(headers, by_cookie=by_cookie)
        elif scope.get("method") == "GET" and not (scope["path"] in PAGES and _is_visit(headers)):
            self._check_origin(headers, by_cookie=False)  # some protocols act on GET
        if user is None and not _is_open(scope["path"]):
            self._refuse_stranger(scope, headers)
        key = user if user is not None and user != LOCAL_USER else f"address {_address(scope)}"
        if wait := self._rates.take(key):
            raise _Refused(429, "too many requests; slow down", Retry_After=str(int(wait) + 1))
        scope.setdefault("state", {})["user"] = user

    def _check_host(self, headers: Headers) -> None:
        """Refuse a foreign name for this machine (a page elsewhere whose name was made to point here)."""
        if self._any_host:
            return
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if not is_loopback(host) and host not in self._names:
            raise _Refused(421, "this server answers under its own name only; start it with --origin for another one")

    def _check_origin(self, headers: Headers, *, by_cookie: bool) -> None:
        """Refuse what another site's page sends in the name of somebody who is logged in here, or sits here."""
        origin, fetched = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None:
            if origin.lower() in self._origins or urlsplit(origin).netloc.lower() == headers.get("host", "").lower():
                return
            raise _Refused(403, "the request comes from a page of another site")
        if fetched not in (None, "same-origin", "none"):
            raise _Refused(403, "the request comes from a page of another site")
        if by_cookie and fetched is None:
            raise _Refused(403, "a request with a cookie must say where it comes from (Origin); or use an API key")

    async def _identify(self, scope: Scope, headers: Headers) -> tuple[str | None, bool]:
        """Return the user, and whether a cookie told it.

        Raises:
            _Refused: too many wrong keys from one address.
        """
        if self._state.settings.auth == "none":
            return LOCAL_USER, False
        accounts = self._state.accounts
        kind, _, key = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and key:
            key = key.strip()
            if accounts.is_known("key", key):
                return accounts.of_key(key), False
            address = _address(scope)
            user = await run_in_threadpool(accounts.of_key, key)
            if user is None:  # a right key comes in even where somebody else behind the same address guesses
                self._state.audit.note("", "key refused")
                if wait := self._failures.take(address):
                    raise _Refused(429, "too many wrong keys; wait a minute", Retry_After=str(int(wait) + 1))
                raise _Refused(401, "the key is not known here", WWW_Authenticate="Bearer")
            return user, False
        cookie = _cookie(headers)
        if cookie is None:
            return None, False
        if accounts.is_known("cookie", cookie):
            return accounts.of_cookie(cookie), True
        user = await run_in_threadpool(accounts.of_cookie, cookie)
        return user, user is not None

    def _refuse_stranger(self, scope: Scope, headers: Headers) -> None:
        wants_page = "text/html" in headers.get("accept", "") and not scope["path"].startswith(API)
        if wants_page and scope.get("method") == "GET":
            raise _Refused(303, "log in first", Location="/login")
        raise _Refused(401, "log in first, or send an API key", WWW_Authenticate="Bearer")

    # --- how much -------------------------------------------------------------------------------------------------

    @contextmanager
    def _place(self, scope: Scope) -> Iterator[None]:
        """Hold one of the user's places while a request is answered: what waits in a thread keeps others from it.

        Raises:
            _Refused: all are taken.
        """
        user = scope.get("state", {}).get("user")
        if user is None or user == LOCAL_USER or scope["path"].endswith(STREAMS):
            yield
            return
        with self._at_once.place(user) as there:
            if not there:
                raise _Refused(429, "too many of your requests are being answered; wait for them", Retry_After="1")
            yield

    def _measured(self, scope: Scope, receive: Receive) -> Receive:
        """Return a ``receive`` that counts bytes and does not wait for ever.

        JSON is read in the event loop: who sends much of it waits, so that others need not.
        """
        limits = self._state.settings.limits
        files = scope["path"].startswith(self._uploads) or scope["path"].endswith(MASK_FILES)
        large = files and scope["method"] in ("POST", "PUT")
        most = limits.upload_bytes + limits.body_bytes if large else limits.body_bytes
        length = Headers(scope=scope).get("content-length", "")
        if length.isdigit() and int(length) > most:
            raise _Refused(413, f"expected a body of at most {most / 1024**2:,.0f} MiB, got more")
        taken, ended = 0, False
        user = scope["state"]["user"]
        hurried = not large and user != LOCAL_USER

        async def measured() -> Message:
            nonlocal taken, ended
            if ended:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), limits.body_s)
            except TimeoutError:
                raise _Refused(408, "the request's body came too slowly") from None
            if message["type"] == "http.request":
                came = len(message.get("body", b""))
                if hurried and (wait := self._bytes.spend(user or _address(scope), came)):
                    await asyncio.sleep(wait)
                taken += came
                ended = not message.get("more_body", False)
                if taken > most:
                    raise _Refused(413, f"expected a body of at most {most / 1024**2:,.0f} MiB, got more")
            return message

        return measured

    def _add_headers(self, headers: MutableHeaders, is_api: bool) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Content-Security-Policy", API_POLICY if is_api else PAGE_POLICY)
        if is_api:
            headers.setdefault("Cache-Control", "no-store")
        if self._state.settings.secure_cookies:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")


def _is_visit(headers: Headers) -> bool:
    """Whether a person's browser goes to the page, rather than another site's page fetching it."""
    return headers.get("sec-fetch-mode") in (None, "navigate") and headers.get("sec-fetch-dest") in (None, "document")


def _is_open(path: str) -> bool:
    return path in OPEN_ALONE or any(path == known or path.startswith(f"{known}/") for known in OPEN)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def _cookie(headers: Headers) -> str | None:
    try:
        found: Any = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return str(found.value) if found is not None and found.value else None


async def _answer(refused: _Refused, send: Send) -> None:
    body = json.dumps({"code": CODES.get(refused.status_code, "refused"), "detail": refused.detail}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **(refused.headers or {})}
    if refused.status_code in (408, 413):
        headers["connection"] = "close"  # the rest of the body is not read
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status_code, "headers": raw})
    await send({"type": "http.response.body", "body": body})
