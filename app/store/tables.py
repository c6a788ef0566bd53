"""The store's tables. Times are seconds since 1970 (UTC); ids are unguessable; secrets are stored as hashes only."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["ApiKey", "AuditEntry", "Base", "Job", "Login", "SessionRow", "Share", "Study", "User"]


class Base(DeclarativeBase):
    """Base of all tables."""


class User(Base):
    """A person or a program."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    password_hash: Mapped[str | None] = mapped_column(Text)  # argon2id
    subject: Mapped[str | None] = mapped_column(String(400), unique=True)  # issuer and subject of an OIDC identity
    created: Mapped[float] = mapped_column(Float)
    disabled: Mapped[float | None] = mapped_column(Float)  # since when; None: may come in


class ApiKey(Base):
    """A key of a user; ``hash`` is sha256 of its text (256 random bits: no slow hash is needed)."""

    __tablename__ = "api_keys"
    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    created: Mapped[float] = mapped_column(Float)
    revoked: Mapped[float | None] = mapped_column(Float)
    expires: Mapped[float | None] = mapped_column(Float)


class Login(Base):
    """A browser that logged in; ``hash`` is sha256 of its cookie."""

    __tablename__ = "logins"
    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    expires: Mapped[float] = mapped_column(Float)


class Study(Base):
    """An uploaded or referenced study; ``content`` is how ``promptseg.app.studies.series`` describes its series."""

    __tablename__ = "studies"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    title: Mapped[str] = mapped_column(String(400))
    folder: Mapped[str] = mapped_column(Text)
    uploaded: Mapped[bool] = mapped_column()
    bytes: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[float] = mapped_column(Float)


class Share(Base):
    """A study that its owner has opened to a colleague."""

    __tablename__ = "shares"
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(String(20))  # editor, reader
    created: Mapped[float] = mapped_column(Float)


class SessionRow(Base):
    """A session: whose, on what, and which process holds it. Its state is the journal in ``folder``."""

    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), index=True)
    series: Mapped[str] = mapped_column(String(64))
    frame: Mapped[int | None] = mapped_column(Integer)
    title: Mapped[str] = mapped_column(String(400))
    model: Mapped[str] = mapped_column(String(200))
    folder: Mapped[str] = mapped_column(Text)
    view: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(20), server_default="new", default="new")  # new, work, done, rejected
    note: Mapped[str] = mapped_column(Text, server_default="", default="")
    labels: Mapped[list[str]] = mapped_column(JSON, server_default="[]", default=list)  # names, as of the last rest
    holder: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[float] = mapped_column(Float)
    wanted_by: Mapped[str | None] = mapped_column(String(64))
    created: Mapped[float] = mapped_column(Float)
    last_seen: Mapped[float] = mapped_column(Float)


class Job(Base):
    """Long work, and how it ended."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    session_id: Mapped[str | None] = mapped_column(String(64), index=True)
    kind: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(20))  # waiting, running, done, cancelled, failed
    detail: Mapped[str] = mapped_column(Text)
    holder: Mapped[str] = mapped_column(String(64))
    created: Mapped[float] = mapped_column(Float)
    finished: Mapped[float | None] = mapped_column(Float)


class AuditEntry(Base):
    """Who did what to which study, and when. No patient data: the study stands as a hash of its content."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    time: Mapped[float] = mapped_column(Float, index=True)
    user_id: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(60))
    study_hash: Mapped[str] = mapped_column(String(64))
    session_id: Mapped[str | None] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64), server_default="")  # that the request came from


Index("ix_sessions_lease", SessionRow.holder, SessionRow.lease_until)
