"""Users, their keys, passwords and logins. Secrets are kept as hashes; nothing here writes one to a log."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import delete, or_, select, update

from promptseg.app.settings import ServeSettings
from promptseg.app.store import ApiKey, Database, Login, SessionRow, Share, Study, User
from promptseg.app.store.database import Transaction
from promptseg.errors import SettingsError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

__all__ = ["KEY_PREFIX", "LOCAL_USER", "Accounts"]

LOCAL_USER = "local"  # everyone, where the server only listens to its own machine
KEY_PREFIX = "ps_"
KNOWN_S = 5.0  # how long a key or cookie that was found is not looked up again: what revoking one may take
KNOWN_AT_MOST = 10_000
NAME = re.compile(r"[A-Za-z0-9_.@-]{1,100}")
SHORTEST_PASSWORD = 10


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _unmatched(hasher: PasswordHasher) -> str:
    """Return what no password hashes to and is as dear to check as a hash, made without hashing (a quarter second)."""
    dear = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    salt, digest = (b64encode(secrets.token_bytes(n)).decode().rstrip("=") for n in (hasher.salt_len, hasher.hash_len))
    return f"$argon2id$v=19${dear}${salt}${digest}"  # 19: version 1.3 of RFC 9106


def _admitted(store: Transaction, user_id: str) -> str | None:
    """Return the user's id, None for one that is locked out."""
    user = store.get(User, user_id)
    return user_id if user is not None and user.disabled is None else None


class Accounts:
    """All users.

    Args:
        database: the store.
        settings: how long a login lasts.
    """

    def __init__(self, database: Database, settings: ServeSettings) -> None:
        from argon2 import PasswordHasher, Type

        self._database, self._settings = database, settings
        self._hasher = PasswordHasher(type=Type.ID)
        self._nobody = _unmatched(self._hasher)  # checked where there is no such user: same time
        self._known: dict[str, tuple[str, float]] = {}

    # --- users --------------------------------------------------------------------------------------------------

    def ensure(self, name: str) -> None:
        """Add a user whose id is its name, unless it is there."""
        with self._database.transaction() as store:
            if store.get(User, name) is None:
                store.add(User(id=name, name=name, created=time.time()))

    def add(self, name: str, password: str | None = None) -> str:
        """Add a user; return the id.

        Raises:
            SettingsError: the name is taken or not usable, the password too short.
        """
        if not NAME.fullmatch(name) or name == LOCAL_USER:
            raise SettingsError("expected a user's name of 1 to 100 letters, digits, '_', '.', '@' and '-'")
        user = User(id=secrets.token_hex(8), name=name, created=time.time())
        user.password_hash = None if password is None else self._password_hash(password)
        with self._database.transaction() as store:
            if store.scalar(select(User).where(User.name == name)) is not None:
                raise SettingsError(f"there is a user {name!r} already")
            store.add(user)
        return user.id

    def set_password(self, name: str, password: str) -> None:
        """Give a user another password; browsers that are logged in must log in again.

        Raises:
            SettingsError: no such user, or the password is too short.
        """
        hashed = self._password_hash(password)
        user = self._named(name)
        with self._database.transaction() as store:
            store.execute(update(User).where(User.id == user.id).values(password_hash=hashed))
            store.execute(delete(Login).where(Login.user_id == user.id))
        self._known.clear()

    def set_disabled(self, name: str, disabled: bool) -> None:
        """Lock a user out, with all keys and logins, or let the user in again; studies and sessions stay.

        Raises:
            SettingsError: no such user.
        """
        user = self._named(name)
        with self._database.transaction() as store:
            since = time.time() if disabled else None
            store.execute(update(User).where(User.id == user.id).values(disabled=since))
            store.execute(delete(Login).where(Login.user_id == user.id))
        self._known.clear()

    def delete(self, name: str, *, with_studies: bool = False) -> None:
        """Delete a user, with keys and logins; with ``with_studies`` also studies and sessions, on disk as well.

        Raises:
            SettingsError: no such user, or one that still has studies or sessions.
        """
        user = self._named(name)
        with self._database.transaction() as store:
            studies = list(store.scalars(select(Study).where(Study.owner == user.id)))
            ids = [study.id for study in studies]
            mine = or_(SessionRow.owner == user.id, SessionRow.study_id.in_(ids))
            sessions = list(store.scalars(select(SessionRow).where(mine)))
            if (studies or sessions) and not with_studies:
                raise SettingsError(
                    f"{name!r} has {len(studies)} studies and {len(sessions)} sessions; "
                    "delete them with --with-studies, or lock the user out: promptseg users disable"
                )
            store.execute(delete(SessionRow).where(mine))
            store.execute(delete(Share).where(or_(Share.user_id == user.id, Share.study_id.in_(ids))))
            store.execute(delete(Study).where(Study.owner == user.id))
            for table in (ApiKey, Login):
                store.execute(delete(table).where(table.user_id == user.id))
            store.execute(delete(User).where(User.id == user.id))
        self._known.clear()
        data = self._settings.data
        for folder in (*(Path(row.folder) for row in sessions), *(Path(s.folder) for s in studies if s.uploaded)):
            shutil.rmtree(folder, ignore_errors=True)
        for study in ids:
            shutil.rmtree(data / "cache" / study, ignore_errors=True)

    def names(self) -> list[str]:
        """Return the names of all users."""
        with self._database.transaction() as store:
            return list(store.scalars(select(User.name).order_by(User.name)))

    def of_identity(self, subject: str, name: str) -> str:
        """Return the user of an identity provider's subject, made at the first login."""
        with self._database.transaction() as store:
            user = store.scalar(select(User).where(User.subject == subject))
            if user is None:
                shown = name if NAME.fullmatch(name) else "user"
                if store.scalar(select(User).where(User.name == shown)) is not None:
                    shown = f"{shown[:80]}-{secrets.token_hex(4)}"
                user = User(id=secrets.token_hex(8), name=shown, subject=subject, created=time.time())
                store.add(user)
            return user.id

    # --- keys ---------------------------------------------------------------------------------------------------

    def new_key(self, name: str, label: str = "", days: float | None = None) -> str:
        """Make a key for a user and return its text, which is not kept.

        Args:
            name: the user's.
            label: what the key is for.
            days: for how long it is good; None: until it is revoked.

        Raises:
            SettingsError: no such user.
        """
        text, now = KEY_PREFIX + secrets.token_urlsafe(32), time.time()
        key = ApiKey(hash=_hashed(text), user_id=self._named(name).id, name=label[:200], created=now)
        key.expires = None if days is None else now + days * 86_400
        with self._database.transaction() as store:
            store.add(key)
        return text

    def keys(self, name: str) -> list[ApiKey]:
        """Return a user's keys, the newest last; the first eight digits of ``hash`` name one."""
        user = self._named(name)
        with self._database.transaction() as store:
            return list(store.scalars(select(ApiKey).where(ApiKey.user_id == user.id).order_by(ApiKey.created)))

    def revoke_keys(self, name: str, only: str = "") -> int:
        """Revoke all keys of a user, or the one whose hash begins with ``only``; return how many there were."""
        user = self._named(name)
        with self._database.transaction() as store:
            wanted = select(ApiKey).where(ApiKey.user_id == user.id, ApiKey.revoked.is_(None))
            live = [key for key in store.scalars(wanted) if key.hash.startswith(only)]
            for key in live:
                key.revoked = time.time()
        self._known.clear()
        return len(live)

    def of_key(self, text: str) -> str | None:
        """Return the id of a key's user, None for an unknown or revoked key."""

        def look(hashed: str) -> str | None:
            with self._database.transaction() as store:
                key = store.get(ApiKey, hashed)
                if key is None or key.revoked is not None or (key.expires is not None and key.expires < time.time()):
                    return None
                return _admitted(store, key.user_id)

        return self._remembered("key", text, look) if text.startswith(KEY_PREFIX) else None

    # --- logins -------------------------------------------------------------------------------------------------

    def check_password(self, name: str, password: str) -> str | None:
        """Return the user's id, None where name or password are wrong; takes the same time either way."""
        from argon2.exceptions import InvalidHashError, VerificationError

        with self._database.transaction() as store:
            user = store.scalar(select(User).where(User.name == name[:200]))
        known = user.password_hash if user is not None and user.password_hash else self._nobody
        try:
            self._hasher.verify(known, password)
        except (VerificationError, InvalidHashError):
            return None
        return user.id if user is not None and user.password_hash and user.disabled is None else None

    def new_login(self, user_id: str) -> str:
        """Return a cookie's text for a user who has just proved who it is."""
        text, now = secrets.token_urlsafe(32), time.time()
        with self._database.transaction() as store:
            store.execute(delete(Login).where(Login.expires < now))
            store.add(Login(hash=_hashed(text), user_id=user_id, expires=now + self._settings.limits.login_s))
        return text

    def of_cookie(self, text: str) -> str | None:
        """Return the id of a cookie's user, None for an unknown or old one."""

        def look(hashed: str) -> str | None:
            with self._database.transaction() as store:
                login = store.get(Login, hashed)
                good = login is not None and login.expires > time.time()
                return _admitted(store, login.user_id) if login is not None and good else None

        return self._remembered("cookie", text, look)

    def end_login(self, text: str) -> None:
        """Make a cookie worthless."""
        self._known.pop(f"cookie {_hashed(text)}", None)
        with self._database.transaction() as store:
            store.execute(delete(Login).where(Login.hash == _hashed(text)))

    def is_known(self, kind: str, secret: str) -> bool:
        """Return True where ``of_key`` (kind "key") or ``of_cookie`` ("cookie") will not ask the store."""
        found = self._known.get(f"{kind} {_hashed(secret)}")
        return found is not None and found[1] > time.monotonic()

    # --- inside -------------------------------------------------------------------------------------------------

    def _remembered(self, kind: str, secret: str, look: Callable[[str], str | None]) -> str | None:
        hashed = _hashed(secret)
        found = self._known.get(f"{kind} {hashed}")
        if found is not None and found[1] > time.monotonic():
            return found[0]
        user = look(hashed)
        if user is not None:
            if len(self._known) >= KNOWN_AT_MOST:
                self._known.clear()
            self._known[f"{kind} {hashed}"] = (user, time.monotonic() + KNOWN_S)
        return user

    def _named(self, name: str) -> User:
        with self._database.transaction() as store:
            user = store.scalar(select(User).where(User.name == name))
        if user is None:
            raise SettingsError(f"no user {name!r}; known: {', '.join(self.names()) or 'none'}")
        return user

    def _password_hash(self, password: str) -> str:
        if len(password) < SHORTEST_PASSWORD:
            raise SettingsError(f"expected a password of at least {SHORTEST_PASSWORD} characters")
        return self._hasher.hash(password)
