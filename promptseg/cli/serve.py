"""``promptseg serve`` and ``promptseg users``: the browser app, REST and the viewers' protocols on one port."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptseg.cli.groups import explained
from promptseg.cli.options import DeviceName
from promptseg.cli.terminal import tell
from promptseg.errors import MissingExtraError, SettingsError

if TYPE_CHECKING:
    from promptseg.app.accounts import Accounts

__all__ = ["serve", "users_app"]

DEFAULT_DATA = Path("~/.local/share/promptseg")
OIDC_SECRET = "PROMPTSEG_OIDC_SECRET"
DICOM_AUTH = "PROMPTSEG_DICOM_AUTH"
users_app = typer.Typer(help="Users of the server and their keys.", no_args_is_help=True)
Data = Annotated[Path, typer.Option(help="Folder of studies and sessions.")]
Store = Annotated[
    str,
    typer.Option(
        help="sqlite:///PATH or postgresql://...; default: a file in the data folder.", envvar="PROMPTSEG_STORE"
    ),
]
Name = Annotated[str, typer.Argument(help="The user's name.")]
FromInput = Annotated[bool, typer.Option("--password-stdin", help="Read a password from the first line of input.")]


def _require_app() -> None:
    for module in ("fastapi", "uvicorn", "sqlalchemy", "alembic", "argon2", "multipart", "prometheus_client"):
        if find_spec(module) is None:
            raise MissingExtraError(module, "app")


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 7860,
    auth: Annotated[
        str, typer.Option(help="Who may come in: none (this machine only), keys, password, oidc.")
    ] = "none",
    insecure: Annotated[bool, typer.Option("--insecure", help="Let anyone in who reaches the address.")] = False,
    store: Store = "",
    data: Data = DEFAULT_DATA,
    root: Annotated[list[Path] | None, typer.Option(help="Folder whose images people may open. Repeatable.")] = None,
    dicom_source: Annotated[
        list[str] | None,
        typer.Option(
            help="DICOMweb server whose studies people may open, e.g. http://orthanc:8042/dicom-web; user:password "
            f"in the variable {DICOM_AUTH}. Repeatable."
        ),
    ] = None,
    device: DeviceName = "auto",
    model: Annotated[list[str] | None, typer.Option(help="Model that may be used (default: all). Repeatable.")] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="Public address behind a proxy, e.g. https://seg.example. Repeatable.")
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(help="Address or network (CIDR) of a proxy whose X-Forwarded-For tells who asks. Repeatable."),
    ] = None,
    secure_cookies: Annotated[
        bool, typer.Option("--secure-cookies", help="Send cookies over https only (a proxy speaks https).")
    ] = False,
    oidc_url: Annotated[str, typer.Option(help="Discovery address of the OpenID Connect provider.")] = "",
    oidc_client: Annotated[
        str, typer.Option(help=f"Client id there; its secret comes in the variable {OIDC_SECRET}.")
    ] = "",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    log_format: Annotated[str, typer.Option(help="text or json: one line an event, with time and request.")] = "text",
    ui: Annotated[bool, typer.Option(help="Serve the browser app at / (needs gradio).")] = True,
) -> None:
    """Serve the browser app and the REST API. Research use only: not a medical device."""
    _require_app()
    from promptseg.app.server import run
    from promptseg.app.settings import Oidc, ServeSettings

    settings = ServeSettings(
        data=data,
        store=store,
        host=host,
        port=port,
        auth=auth,
        insecure=insecure,
        roots=tuple(root or ()),
        dicom_sources=tuple(dicom_source or ()),
        dicom_auth=os.environ.get(DICOM_AUTH, ""),
        device=device,
        models=tuple(model or ()),
        origins=tuple(origin or ()),
        trusted_proxies=tuple(trusted_proxy or ()),
        secure_cookies=secure_cookies,
        log_level=log_level,
        log_format=log_format,
        oidc=Oidc(oidc_url, oidc_client, os.environ.get(OIDC_SECRET, "")) if oidc_url else None,
        ui=ui and find_spec("gradio") is not None and find_spec("promptseg.app.ui") is not None,
    )
    typer.echo(f"promptseg: http://{host}:{port}/ (research use only: not a medical device)", err=True)
    run(settings)


def _accounts(data: Path, store: str) -> Accounts:
    _require_app()
    from promptseg.app.accounts import Accounts
    from promptseg.app.settings import ServeSettings
    from promptseg.app.store import Database

    settings = ServeSettings(data=data, store=store)
    os.umask(0o077)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Accounts(Database(settings.store_url), settings)


def _password(wanted: bool) -> str | None:
    if not wanted:
        return None
    given = typer.get_text_stream("stdin").readline().rstrip("\r\n")
    if not given:
        raise SettingsError("expected a password on the first line of input, got nothing")
    return given


@explained(users_app, "echo secret | promptseg users add anna --password-stdin")
def add(name: Name, password_stdin: FromInput = False, data: Data = DEFAULT_DATA, store: Store = "") -> None:
    """Add a user; with --password-stdin one who can log in on a page."""
    _accounts(data, store).add(name, _password(password_stdin))
    typer.echo(f"added {name}")


@explained(users_app, "echo secret | promptseg users password anna")
def password(name: Name, data: Data = DEFAULT_DATA, store: Store = "") -> None:
    """Give a user a new password, read from the first line of input."""
    _accounts(data, store).set_password(name, _password(True) or "")
    typer.echo(f"changed the password of {name}")


@explained(users_app, "promptseg users key anna --label workstation")
def key(
    name: Name,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    data: Data = DEFAULT_DATA,
    store: Store = "",
) -> None:
    """Make an API key for a user and print it; it is shown this once only."""
    typer.echo(_accounts(data, store).new_key(name, label))


@explained(users_app, "promptseg users revoke anna")
def revoke(name: Name, data: Data = DEFAULT_DATA, store: Store = "") -> None:
    """Revoke all API keys of a user."""
    typer.echo(f"revoked {_accounts(data, store).revoke_keys(name)} key(s) of {name}")


@explained(users_app, "promptseg users list", name="list")
def list_users(data: Data = DEFAULT_DATA, store: Store = "") -> None:
    """List the users' names."""
    names = list(_accounts(data, store).names())
    tell(names, {"users": names})
