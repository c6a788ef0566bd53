"""Routes: logging in by password or through an OpenID Connect provider, and out again."""

from __future__ import annotations

import hashlib
import secrets
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.routing import Route

from promptseg.app.door.guard import COOKIE
from promptseg.app.door.rates import Buckets
from promptseg.app.state import AppState
from promptseg.report.page import fill

__all__ = ["add_login"]

TEMPLATE = Path(__file__).with_name("login.html.jinja")
WRONG = "Name or password are wrong."
WRONG_KEY = "The key is not known here."


def add_login(app: FastAPI, state: AppState) -> None:
    """Add the routes that this server's kind of login needs."""
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/logout", _logout, methods=["POST"])
    if state.settings.auth in ("password", "keys"):
        app.state.login_failures = Failures(state.settings.limits.logins_per_minute)
        router.add_api_route("/login", _form_page, methods=["GET"])
        router.add_api_route("/login", _form_login, methods=["POST"])
    elif state.settings.auth == "oidc":
        router.add_api_route("/login", _oidc_page, methods=["GET"])
        app.mount("/login/oidc", _oidc_app(state))
    app.include_router(router)


def _page(kind: str, wrong: str = "", status: int = 200) -> HTMLResponse:
    """Return a page: "password" and "keys" hold a form, "oidc" a link to the provider, "again" a link back."""
    return HTMLResponse(fill(TEMPLATE, kind=kind, wrong=wrong), status, {"Cache-Control": "no-store"})


class Failures:
    """Wrong logins so far: of one account from one address few, of an account or an address in all ten times as many.

    A right login costs nothing, so a department behind one address is not locked out, and whoever guesses at a
    colleague's account from elsewhere does not lock the colleague out.

    Args:
        per_minute: wrong logins of one account from one address.
    """

    def __init__(self, per_minute: float) -> None:
        self._narrow = Buckets(per_minute / 60.0, per_minute)
        self._wide = Buckets(10 * per_minute / 60.0, 10 * per_minute)

    def wait_s(self, account: str, address: str) -> float:
        """Return for how many seconds no further try is looked at; 0: try."""
        wide = max(self._wide.wait_s(f"account {account}"), self._wide.wait_s(f"address {address}"))
        return max(wide, self._narrow.wait_s(f"{account} {address}"))

    def count(self, account: str, address: str) -> None:
        """Count a wrong login."""
        self._narrow.take(f"{account} {address}")
        self._wide.take(f"account {account}")
        self._wide.take(f"address {address}")


async def _form_page(request: Request) -> Response:
    return _page(request.app.state.promptseg.settings.auth)


async def _form_login(request: Request) -> Response:
    """Log in with name and password, or with a key where the server knows keys only."""
    state: AppState = request.app.state.promptseg
    kind, failures = state.settings.auth, request.app.state.login_failures
    fields = parse_qs((await request.body())[:10_000].decode("utf-8", "replace"))
    name, password, key = (fields.get(field, [""])[0] for field in ("name", "password", "key"))
    account, address = name[:200].lower(), request.client.host if request.client else "unknown"
    if wait := failures.wait_s(account, address):
        answer = _page(kind, "Too many wrong attempts; wait a minute.", 429)
        answer.headers["Retry-After"] = str(int(wait) + 1)
        return answer
    if kind == "keys":
        user = await run_in_threadpool(state.accounts.of_key, key.strip())
    else:
        user = await run_in_threadpool(state.accounts.check_password, name, password)
    if user is None:
        failures.count(account, address)
        state.audit.note(name_hash(account), "login refused")
        return _page(kind, WRONG_KEY if kind == "keys" else WRONG, 401)
    return await _logged_in(state, user)


def name_hash(name: str) -> str:
    """Return what stands for a name that somebody tried: people type passwords into that field, too."""
    return f"tried {hashlib.sha256(name.encode()).hexdigest()[:16]}"


async def _logged_in(state: AppState, user: str) -> Response:
    state.audit.note(user, "login")
    cookie = await run_in_threadpool(state.accounts.new_login, user)
    response = RedirectResponse("/", 303)
    settings = state.settings
    same = "lax" if settings.auth == "oidc" else "strict"  # the provider's page sends the browser back here
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int(settings.limits.login_s),
        httponly=True,
        secure=settings.secure_cookies,
        samesite=same,  # type: ignore[arg-type]  # one of its three words
    )
    return response


async def _logout(request: Request) -> Response:
    state: AppState = request.app.state.promptseg
    cookie = request.cookies.get(COOKIE)
    if cookie:
        await run_in_threadpool(state.accounts.end_login, cookie)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response


# --- OpenID Connect -------------------------------------------------------------------------------------------------


async def _oidc_page() -> Response:
    return _page("oidc")


def _connection_errors() -> tuple[type[Exception], ...]:
    """Return what a provider that is away raises: authlib takes httpx2 where it is installed, else httpx."""
    names = [name for name in ("httpx", "httpx2") if find_spec(name) is not None]
    return tuple(import_module(name).HTTPError for name in names)


def _way_back(state: AppState, request: Request) -> str:
    """Return the address that the provider sends the browser to: the public one where a proxy stands in front."""
    here = request.url.netloc
    public = next((one for one in state.settings.origins if urlsplit(one).netloc == here), "")
    return f"{public.rstrip('/') or f'{request.url.scheme}://{here}'}/login/oidc/back"


def _oidc_app(state: AppState) -> Starlette:
    """Return the two steps of OpenID Connect; authlib checks state, nonce, PKCE and the token's signature."""
    from authlib.integrations.base_client.errors import OAuthError
    from authlib.integrations.starlette_client import OAuth
    from joserfc.errors import JoseError

    oidc = state.settings.oidc
    if oidc is None:
        raise RuntimeError("settings hold no provider")  # ServeSettings refuses that
    away = _connection_errors()
    oauth: Any = OAuth()
    oauth.register(
        "provider",
        server_metadata_url=oidc.discovery_url,
        client_id=oidc.client_id,
        client_secret=oidc.client_secret,
        client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256"},
    )

    async def start(request: Request) -> Response:
        try:
            response: Response = await oauth.provider.authorize_redirect(request, _way_back(state, request))
        except away:
            return _page("again", "The login provider does not answer.", 502)
        return response

    async def back(request: Request) -> Response:
        try:
            token = await oauth.provider.authorize_access_token(request)
            claims = token["userinfo"]  # of the signed token, checked
        except away:
            return _page("again", "The login provider does not answer.", 502)
        except (OAuthError, JoseError, KeyError):
            state.audit.note("", "login refused")
            return _page("again", "The login failed.", 401)
        name = str(claims.get("preferred_username") or claims.get("email") or "user")
        user = await run_in_threadpool(state.accounts.of_identity, f"{claims['iss']} {claims['sub']}", name)
        request.session.clear()
        return await _logged_in(state, user)

    session = Middleware(
        SessionMiddleware,
        secret_key=_cookie_key(state.settings.data / "cookie.key"),
        session_cookie="promptseg_oidc",
        max_age=600,
        same_site="lax",
        https_only=state.settings.secure_cookies,
    )
    return Starlette(routes=[Route("/start", start), Route("/back", back)], middleware=[session])


def _cookie_key(path: Path) -> str:
    """Return the key that signs a login's first step; all processes of one data folder share it."""
    try:
        with path.open("x", encoding="ascii") as file:
            path.chmod(0o600)
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    return path.read_text(encoding="ascii")
