"""The store: the same on SQLite and PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import argon2
import pytest
from filelock import FileLock
from sqlalchemy import inspect, select, text

from promptseg.app.accounts import Accounts
from promptseg.app.audit import Audit
from promptseg.app.live.leases import Leases
from promptseg.app.settings import ServeSettings
from promptseg.app.store import AuditEntry, Database, SessionRow, Study, User
from promptseg.app.store.tables import Base
from promptseg.errors import SettingsError


def add_session(database: Database, name: str = "s") -> None:
    with database.transaction() as store:
        store.add(User(id="u", name="u", created=0.0))
        store.flush()
        store.add(
            Study(
                id="x",
                owner="u",
                title="t",
                folder="f",
                uploaded=False,
                bytes=5 * 2**31,
                hash="h",
                content={},
                created=0.0,
            )
        )
        store.flush()
        store.add(
            SessionRow(
                id=name,
                owner="u",
                study_id="x",
                series="1",
                title="t",
                model="m",
                folder="f",
                view={"1": {"opacity": 0.5}},
                lease_until=0.0,
                created=0.0,
                last_seen=0.0,
            )
        )


def test_migrations_make_the_tables_of_the_models(store_url: str) -> None:
    database = Database(store_url)
    with database.transaction() as store:
        found = inspect(store.connection())
        for table in Base.metadata.sorted_tables:
            assert {c["name"] for c in found.get_columns(table.name)} == {c.name for c in table.columns}
            expected = {index.name for index in table.indexes}
            assert expected <= {index["name"] for index in found.get_indexes(table.name)}
    database.close()


def test_starting_twice_at_once_migrates_once(store_url: str) -> None:
    code = "import sys; from promptseg.app.store import Database; Database(sys.argv[1]).close()"
    others = [subprocess.Popen([sys.executable, "-c", code, store_url]) for _ in range(3)]
    with ThreadPoolExecutor(4) as pool:
        databases = list(pool.map(lambda _: Database(store_url), range(4)))
    assert [process.wait(timeout=300) for process in others] == [0, 0, 0]
    add_session(databases[0])
    for database in databases:
        with database.transaction() as store:
            row = store.get_one(SessionRow, "s")
            assert row.view == {"1": {"opacity": 0.5}}
            assert store.get_one(Study, "x").bytes == 5 * 2**31
            assert store.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1
        database.close()


def test_a_failed_transaction_leaves_nothing(store_url: str) -> None:
    database = Database(store_url)

    def fail() -> None:
        with database.transaction() as store:
            store.add(User(id="u", name="u", created=0.0))
            store.flush()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    with database.transaction() as store:
        assert store.get(User, "u") is None
    database.close()


def test_writers_wait_for_each_other(store_url: str) -> None:
    database = Database(store_url)

    def write(number: int) -> None:
        with database.transaction() as store:
            store.scalars(select(User)).all()  # reads first, then writes: SQLite's classic deadlock
            store.add(User(id=str(number), name=str(number), created=0.0))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    with database.transaction() as store:
        assert len(store.scalars(select(User)).all()) == 40
    database.close()


def test_one_process_at_a_time_holds_a_session(store_url: str, tmp_path: Path) -> None:
    database = Database(store_url)
    add_session(database)
    first, second = (Leases(database, tmp_path / "processes", 60.0) for _ in range(2))
    lock = FileLock(tmp_path / "lock")
    assert first.acquire("s", lock) is not None
    assert second.acquire("s", lock) is None
    _, held = first.renew(["s"])
    assert held[0].mine
    assert held[0].wanted
    first.release("s")
    assert second.acquire("s", lock) is not None
    _, held = first.renew(["s"])
    assert not held[0].mine
    for leases in (first, second):
        leases.close()
    database.close()


def test_a_lease_that_ran_out_is_taken_and_its_holder_learns_it(store_url: str, tmp_path: Path) -> None:
    database = Database(store_url)
    add_session(database)
    asleep, awake = Leases(database, tmp_path / "p", 0.05), Leases(database, tmp_path / "p", 60.0)
    lock = FileLock(tmp_path / "lock")
    asleep.acquire("s", lock)
    deadline = time.monotonic() + 60
    while awake.acquire("s", lock) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    _, held = asleep.renew(["s"])
    assert not held[0].mine
    database.close()


@pytest.mark.parametrize(("late_s", "taken"), [(-1.0, False), (1.0, False), (1.9, False), (2.1, True), (60.0, True)])
def test_clocks_that_differ_never_take_a_living_process_s_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late_s: float, taken: bool
) -> None:
    """The lease of a process that lives is over only when it is over by every clock: two seconds after its end."""
    database = Database(f"sqlite:///{tmp_path / 'store.sqlite'}")
    add_session(database)
    first, second = (Leases(database, tmp_path / "processes", 30.0) for _ in range(2))
    lock = FileLock(tmp_path / "lock")
    now = time.time()
    clock = SimpleNamespace(time=lambda: now, monotonic=time.monotonic)
    monkeypatch.setattr("promptseg.app.live.leases.time", clock)
    assert first.acquire("s", lock) is not None
    clock.time = lambda: now + 30.0 + late_s
    assert (second.acquire("s", lock) is not None) is taken
    for leases in (first, second):
        leases.close()
    database.close()


def test_the_audit_log_keeps_order_and_loses_nothing(store_url: str) -> None:
    database = Database(store_url)
    audit = Audit(database)
    for number in range(1200):
        audit.note("u", f"step {number}", "h")
    audit.close()
    with database.transaction() as store:
        actions = [entry.action for entry in store.scalars(select(AuditEntry).order_by(AuditEntry.id))]
    assert actions == [f"step {number}" for number in range(1200)]
    database.close()


def test_keys_passwords_and_logins(store_url: str, tmp_path: Path) -> None:
    database = Database(store_url)
    accounts = Accounts(database, ServeSettings(data=tmp_path))
    user = accounts.add("ada", "correct horse")
    assert accounts.check_password("ada", "correct horse") == user
    assert accounts.check_password("ada", "wrong horse") is None
    assert accounts.check_password("nobody", "correct horse") is None
    with database.transaction() as store:
        kept = str(store.get_one(User, user).password_hash)
    assert argon2.extract_parameters(accounts._nobody) == argon2.extract_parameters(kept)  # as long to check
    key, cookie = accounts.new_key("ada"), accounts.new_login(user)
    assert accounts.of_key(key) == accounts.of_cookie(cookie) == user
    assert accounts.of_key(cookie) is None
    assert accounts.of_cookie(key) is None
    accounts.end_login(cookie)
    assert accounts.of_cookie(cookie) is None
    assert accounts.revoke_keys("ada") == 1
    assert accounts.of_key(key) is None
    with database.transaction() as store:
        stored = " ".join(str(row) for row in store.execute(text("SELECT * FROM api_keys")).all())
        stored += str(store.get_one(User, user).password_hash)
    assert key not in stored
    assert "$argon2id$" in stored
    assert "horse" not in stored
    for name, password in (
        ("ada", "another one"),
        ("bob", "short"),
        ("a b", "long enough pw"),
        ("local", "long enough pw"),
    ):
        with pytest.raises(SettingsError):
            accounts.add(name, password)
    database.close()


def test_a_store_that_does_not_answer_says_so_without_its_password() -> None:
    for url, part in (
        ("postgresql://me:secret@127.0.0.1:1/none", "does not answer"),
        ("mysql://me:secret@host/db", "sqlite or postgresql"),
        ("what is this", "expected --store"),
    ):
        with pytest.raises(SettingsError, match=part) as caught:
            Database(url)
        assert "secret" not in str(caught.value)
