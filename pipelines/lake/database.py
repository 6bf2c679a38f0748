"""A Postgres behind the catalog: its connections, its locks, its errors in words."""

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pipelines.errors import ConfigError, LatentlakeError, Unreachable

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL, ExceptionContext

PATIENT = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""Of the client's end: a server that is gone is noticed in a minute, not in hours."""
WATCHFUL = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "60000",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
"""Of the server's end of a lock's connection: a client that is gone is let go in a
minute, and one that is only busy elsewhere is not."""
SETTINGS = ("password authentication failed", "does not exist", "no pg_hba.conf entry")
REFUSED = {"28000", "28P01", "3D000", "42501"}
"""SQL states of what no retry mends: who one is, which database, what one may do."""
NAME_BYTES = 63
"""So much of a client's name the server keeps."""
LOOK_S = 0.2


def patient(uri: str) -> str:
    """Return ``uri`` so that a dead server is noticed, where it is a Postgres's."""
    scheme, mark, rest = uri.partition("://")
    if scheme in ("postgres", "postgresql"):
        scheme = "postgresql+psycopg2"
    url = make_url(f"{scheme}{mark}{rest}")
    if url.drivername not in ("postgresql+psycopg2", "postgresql+psycopg"):
        return uri
    missing = {name: value for name, value in PATIENT.items() if name not in url.query}
    return url.update_query_dict(missing).render_as_string(hide_password=False)


def engine_of(catalog: "Catalog") -> "Engine | None":
    """Return the Postgres behind ``catalog``, or ``None`` where there is none."""
    engine: Engine | None = getattr(catalog, "engine", None)
    return engine if engine and engine.dialect.name == "postgresql" else None


def watch(catalog: "Catalog") -> None:
    """Have the errors of the server behind ``catalog`` be ours, in words."""
    engine = engine_of(catalog)
    if engine is not None:
        event.listen(engine, "handle_error", _in_words)


def explain(error: BaseException) -> LatentlakeError | None:
    """Return what ``error`` of a Postgres means; ``None`` for any other error."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return None
    state = getattr(error.orig, "pgcode", None)
    words = str(error.orig).strip().splitlines() or ["no message"]
    if not type(error.orig).__module__.startswith("psycopg"):
        return None
    if state in REFUSED or (state is None and any(one in words[0] for one in SETTINGS)):
        return ConfigError(
            f"the catalog's Postgres refuses us ({words[0]}). Look at the user, the "
            "password and the database in LATENTLAKE_CATALOG."
        )
    lost = state is None or state.startswith(("08", "53", "57P"))
    if not lost or type(error.orig).__name__ == "ProgrammingError":
        return None
    return Unreachable(
        f"the catalog's Postgres is not reached, or was lost ({words[0]}). Look "
        "whether it is up, then run the same command again: what was committed "
        "stands, and is not done twice."
    )


def lost_a_race(error: BaseException) -> bool:
    """Return whether another process made, in the same moment, what we would make."""
    origin = getattr(error, "orig", None)
    if isinstance(origin, sqlite3.OperationalError):
        return str(origin).endswith("already exists")
    return getattr(origin, "pgcode", None) in ("42P07", "23505")


class Lock:
    """A lock of the database, which ends with the connection that holds it.

    Attributes:
        holder: Who holds it, as others are told.
    """

    def __init__(self, url: "URL", name: str, holder: str) -> None:
        self.holder = holder.encode()[:NAME_BYTES].decode(errors="ignore")
        digest = hashlib.sha256(name.encode()).digest()
        self._key = int.from_bytes(digest[:8], "big", signed=True)
        self._connection = _connect(url, self.holder)

    def acquire(self, wait_s: float) -> str | None:
        """Return ``None`` once the lock is ours, or who has it after ``wait_s``."""
        end = time.monotonic() + wait_s
        # Looked for in place of waited for: a signal is heard between two looks.
        while not self._is("SELECT pg_try_advisory_lock(:key)"):
            if time.monotonic() >= end:
                return self._who()
            time.sleep(min(LOOK_S, wait_s))
        return None

    def confirm(self) -> None:
        """Raise :class:`Unreachable` where the lock went with its connection."""
        if not self._is(f"SELECT count(*) = 1 {_HELD} AND pid = pg_backend_pid()"):
            raise Unreachable(
                f"{self.holder}: the lock in the catalog's Postgres is no longer ours. "
                "Nothing was moved since; run the same command again. Where a "
                "connection pooler stands between, let it keep whole sessions."
            )

    def close(self) -> None:
        """End the lock."""
        with contextlib.suppress(LatentlakeError, SQLAlchemyError):
            self._is("SELECT pg_advisory_unlock(:key)")
        with contextlib.suppress(LatentlakeError, SQLAlchemyError):
            self._connection.close()

    def _is(self, sql: str) -> bool:
        return bool(self._connection.execute(text(sql), {"key": self._key}).scalar())

    def _who(self) -> str:
        found = self._connection.execute(text(_WHO), {"key": self._key}).first()
        return f"{found[0]}, since {found[1]} UTC" if found else "another process"


@contextlib.contextmanager
def locked(
    engine: "Engine", name: str, holder: str, wait_s: float
) -> Iterator[tuple[Lock, str | None]]:
    """Yield the lock ``name``, and who has it where it did not become ours."""
    lock = Lock(engine.url, name, holder)
    try:
        yield lock, lock.acquire(wait_s)
    finally:
        lock.close()


def _connect(url: "URL", holder: str) -> "Connection":
    """Return a connection of its own, which says by its name who holds it."""
    engine = create_engine(
        patient(url.render_as_string(hide_password=False)),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"application_name": holder},
    )
    event.listen(engine, "handle_error", _in_words)
    connection = engine.connect()
    for setting, value in WATCHFUL.items():
        given = {"name": setting, "value": value}
        connection.execute(text(_SET), given)  # older servers lack some
    return connection


def _in_words(context: "ExceptionContext") -> BaseException | None:
    if context.is_pre_ping:
        return None  # a connection that was lost while it was idle is replaced
    return (
        explain(context.sqlalchemy_exception) if context.sqlalchemy_exception else None
    )


_SET = "SELECT set_config(name, :value, false) FROM pg_settings WHERE name = :name"

_HELD = """
FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32) | objid::bigint = :key
"""

_WHO = f"""
SELECT application_name, to_char(backend_start AT TIME ZONE 'UTC', 'HH24:MI')
FROM pg_stat_activity WHERE pid IN (SELECT pid {_HELD})
"""
