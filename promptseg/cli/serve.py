"""``promptseg serve`` and ``promptseg users``: the browser app, REST and the viewers' protocols on one port."""

from __future__ import annotations

import csv
import getpass
import os
import sys
import time
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
    from promptseg.app.settings import ServeSettings
    from promptseg.app.store import Database

__all__ = ["audit", "recover", "serve", "users_app"]

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


def _settings(data: Path, store: str) -> ServeSettings:
    _require_app()
    from promptseg.app.settings import ServeSettings

    settings = ServeSettings(data=data, store=store)
    os.umask(0o077)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return settings


def _database(data: Path, store: str) -> Database:
    settings = _settings(data, store)
    from promptseg.app.store import Database

    return Database(settings.store_url)


def _accounts(data: Path, store: str) -> Accounts:
    settings = _settings(data, store)
    from promptseg.app.accounts import Accounts

    return Accounts(_database(data, store), settings)


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
    _noted(data, store, f"{name} added")
    typer.echo(f"added {name}")


@explained(users_app, "echo secret | promptseg users password anna")
def password(name: Name, data: Data = DEFAULT_DATA, store: Store = "") -> None:
    """Give a user a new password, read from the first line of input."""
    _accounts(data, store).set_password(name, _password(True) or "")
    _noted(data, store, f"password of {name} changed")
    typer.echo(f"changed the password of {name}")


@explained(users_app, "promptseg users key anna --label workstation --days 90")
def key(
    name: Name,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[float | None, typer.Option(help="For how many days it is good; default: until revoked.")] = None,
    data: Data = DEFAULT_DATA,
    store: Store = "",
) -> None:
    """Make an API key for a user and print it; it is shown this once only."""
    made = _accounts(data, store).new_key(name, label, days)
    _noted(data, store, f"key made for {name}")
    typer.echo(made)


@explained(users_app, "promptseg users keys anna")
def keys(name: Name, data: Data = DEFAULT_DATA, store: Store = "") -> None:
    """List a user's API keys: id, when made, until when good, what for; never the key itself."""
    for one in _accounts(data, store).keys(name):
        ends = "revoked" if one.revoked else "until revoked" if one.expires is None else f"until {_day(one.expires)}"
        typer.echo(f"{one.hash[:8]}  made {_day(one.created)}  {ends}  {one.name}")


@explained(users_app, "promptseg users revoke anna", "promptseg users revoke anna --key 1a2b3c4d")
def revoke(
    name: Name,
    only: Annotated[str, typer.Option("--key", help="Only the key with this id (promptseg users keys).")] = "",
    data: Data = DEFAULT_DATA,
    store: Store = "",
) -> None:
    """Revoke all API keys of a user, or one; it may take a running server five seconds to notice."""
    count = _accounts(data, store).revoke_keys(name, only)
    if only and not count:
        raise SettingsError(f"expected the id of a key of {name} that is in force (promptseg users keys), got {only!r}")
    _noted(data, store, f"{count} key(s) of {name} revoked")
    typer.echo(f"revoked {count} key(s) of {name}")


@explained(users_app, "promptseg users disable anna")
def disable(name: Name, data: Data = DEFAULT_DATA, store: Store = "") -> None:
    """Lock a user out, with all keys and logins; studies and sessions stay."""
    _accounts(data, store).set_disabled(name, True)
    _noted(data, store, f"{name} locked out")
    typer.echo(f"{name} is locked out")


@explained(users_app, "promptseg users enable anna")
def enable(name: Name, data: Data = DEFAULT_DATA, store: Store = "") -> None:
    """Let a user in again who was locked out."""
    _accounts(data, store).set_disabled(name, False)
    _noted(data, store, f"{name} let in again")
    typer.echo(f"{name} may log in again")


@explained(users_app, "promptseg users delete anna --with-studies")
def delete(
    name: Name,
    with_studies: Annotated[
        bool, typer.Option("--with-studies", help="Delete the user's studies and sessions, too, with their files.")
    ] = False,
    data: Data = DEFAULT_DATA,
    store: Store = "",
) -> None:
    """Delete a user, with all keys and logins."""
    _accounts(data, store).delete(name, with_studies=with_studies)
    _noted(data, store, f"{name} deleted")
    typer.echo(f"deleted {name}")


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def _noted(data: Path, store: str, what: str) -> None:
    """Write an administrator's act into the audit log, under the name that this machine knows."""
    from promptseg.app.audit import Audit

    database = _database(data, store)
    log = Audit(database)
    log.note_now(f"admin {getpass.getuser()}"[:64], what[:60])
    log.close()
    database.close()


@explained(users_app, "promptseg users list", name="list")
def list_users(data: Data = DEFAULT_DATA, store: Store = "") -> None:
    """List the users' names."""
    names = list(_accounts(data, store).names())
    tell(names, {"users": names})


def audit(
    since: Annotated[str, typer.Option(help="A day, YYYY-MM-DD; default: the last seven days.")] = "",
    user: Annotated[str, typer.Option(help="Only what this user did; default: everybody.")] = "",
    data: Data = DEFAULT_DATA,
    store: Store = "",
) -> None:
    """Print the server's audit log: when, who, from where, what, on which study (as a hash), as CSV."""
    from datetime import UTC, datetime

    database = _database(data, store)
    from sqlalchemy import select

    from promptseg.app.audit import entries
    from promptseg.app.store import User

    try:
        start = datetime.fromisoformat(since).timestamp() if since else time.time() - 7 * 86_400
    except ValueError:
        raise SettingsError(f"expected --since as a day, YYYY-MM-DD, got {since!r}") from None
    with database.transaction() as rows:
        names = {row.id: row.name for row in rows.scalars(select(User))}
    ids = {name: number for number, name in names.items()}
    writer = csv.writer(sys.stdout)
    writer.writerow(["time", "user", "address", "action", "study", "session"])
    for one in entries(database, start, ids.get(user, user)):
        when = datetime.fromtimestamp(one.time, UTC).isoformat(timespec="seconds")
        who = names.get(one.user_id, one.user_id)
        writer.writerow([when, who, one.address, one.action, one.study_hash, one.session_id or ""])
    database.close()


def recover(
    owner: Annotated[str, typer.Option(help="The user who gets them.")] = "",
    data: Data = DEFAULT_DATA,
    store: Store = "",
) -> None:
    """Find sessions on the disk that the store does not know (lost, broken, put back); with --owner give them back."""
    from promptseg.app.live.recovery import find_orphans
    from promptseg.app.live.recovery import recover as bring_back

    settings, database = _settings(data, store), _database(data, store)
    if not owner:
        for orphan in (found := find_orphans(settings, database)):
            typer.echo(f"{orphan.folder.name}  {orphan.steps} steps  {orphan.trouble or orphan.model}")
        typer.echo(f"{len(found)} session(s) without a row; promptseg recover --owner NAME gives them to a user")
        return
    back, left = bring_back(settings, database, owner)
    for orphan in left:
        typer.echo(f"{orphan.folder.name}: {orphan.trouble}", err=True)
    typer.echo(f"{len(back)} session(s) are back, {len(left)} are not")
    _noted(data, store, f"{len(back)} sessions recovered for {owner}")
