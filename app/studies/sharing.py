"""Who may do what with whose study: its owner everything, and colleagues as the owner says."""

from __future__ import annotations

import time
from collections import OrderedDict
from enum import IntEnum

from sqlalchemy import delete, select

from promptseg.app.errors import ForbiddenError, NotFoundError
from promptseg.app.store import Database, Share, Study, User

__all__ = ["ROLES", "Role", "Shares", "require"]

KNOWN_S = 5.0  # how long a role is not looked up again: what taking one away may take
KNOWN_AT_MOST = 20_000


class Role(IntEnum):
    """What somebody may do: a reader looks and exports, an editor changes masks, an owner deletes and shares."""

    READER = 1
    EDITOR = 2
    OWNER = 3


ROLES = {"reader": Role.READER, "editor": Role.EDITOR}  # that an owner can give


def require(found: Role | None, role: Role, nothing: str) -> None:
    """Let those through whose role, if any, is at least ``role``; ``nothing`` is what the others hear.

    Raises:
        NotFoundError: no role at all.
        ForbiddenError: a smaller one.
    """
    if found is None:
        raise NotFoundError(nothing)
    if found < role:
        may = "look at this study and export from it" if found is Role.READER else "work on masks of this study"
        raise ForbiddenError(f"you may {may}, no more; ask its owner")


class Shares:
    """All roles.

    Args:
        database: the store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[tuple[str, str], tuple[Role | None, float]] = OrderedDict()

    def require(self, user: str, study_id: str, role: Role) -> None:
        """Let those through who may do what ``role`` may.

        Raises:
            NotFoundError: no such study, or one that is none of this user's business.
            ForbiddenError: the user may look at the study, but not do this.
        """
        require(self.role(user, study_id), role, f"no study {study_id!r}")

    def is_known(self, user: str, study_id: str) -> bool:
        """Return True where ``role`` answers without asking the store."""
        known = self._known.get((user, study_id))
        return known is not None and known[1] > time.monotonic()

    def role(self, user: str, study_id: str) -> Role | None:
        """Return a user's role in a study, None for none; a change may take five seconds to show."""
        known = self._known.get((user, study_id))
        if known is not None and known[1] > time.monotonic():
            return known[0]
        with self._database.transaction() as store:
            study, share = store.get(Study, study_id), store.get(Share, (study_id, user))
        found = None if share is None else ROLES[share.role]
        if study is not None and study.owner == user:
            found = Role.OWNER
        self._known[user, study_id] = (found, time.monotonic() + KNOWN_S)
        if len(self._known) > KNOWN_AT_MOST:
            self._known.popitem(last=False)
        return found

    def of_study(self, study_id: str) -> dict[str, str]:
        """Return the roles that a study's owner has given, by the user's name."""
        wanted = select(User.name, Share.role).join(User, User.id == Share.user_id).where(Share.study_id == study_id)
        with self._database.transaction() as store:
            return {row.name: row.role for row in store.execute(wanted.order_by(User.name))}

    def give(self, study_id: str, name: str, role: str) -> None:
        """Give a colleague a role in a study, in place of an earlier one.

        Raises:
            NotFoundError: no such user.
        """
        with self._database.transaction() as store:
            user = store.scalar(select(User).where(User.name == name))
            if user is None:
                raise NotFoundError(f"no user {name!r}")
            store.execute(delete(Share).where(Share.study_id == study_id, Share.user_id == user.id))
            store.add(Share(study_id=study_id, user_id=user.id, role=role, created=time.time()))
        self._known.clear()

    def take(self, study_id: str, name: str) -> None:
        """Take a colleague's role away; nothing happens where there is none."""
        with self._database.transaction() as store:
            user = store.scalar(select(User).where(User.name == name))
            if user is not None:
                store.execute(delete(Share).where(Share.study_id == study_id, Share.user_id == user.id))
        self._known.clear()
