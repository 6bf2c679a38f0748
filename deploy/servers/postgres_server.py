"""A PostgreSQL of one's own: ``python deploy/servers/postgres_server.py``.

Serves until Ctrl-C, with two databases: one for the lake's catalog, one for Airflow.
The programs are Debian's; the service that the package starts is left alone. As
PostgreSQL refuses to be root, the account ``postgres`` (or ``nobody``) then runs it.
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import pwd
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

from processes import CannotStart, free_port, in_main_thread

USER = "latentlake"
ACCOUNTS = ("postgres", "nobody")
DEBIAN = pathlib.Path("/usr/lib/postgresql")
PATIENCE_S = 60.0
OURS = {"password", "data", "postgres.log", "environment"}
DATABASES = {"LATENTLAKE_CATALOG": "catalog", "LATENTLAKE_AIRFLOW_DB": "airflow"}


class PostgresMissing(CannotStart):
    """PostgreSQL's programs are not on this machine."""


class PostgresFailed(CannotStart):
    """A PostgreSQL did not start; its own last words are in the message."""


@dataclasses.dataclass
class Postgres:
    """A running server.

    Attributes:
        folder: Its data, its log and its password.
        host: The address that it listens on.
        port: Its port, kept over a restart.
        password: The password of the user ``latentlake``, a superuser there.
        settings: Settings of the server (``max_connections``, …).
    """

    folder: pathlib.Path
    host: str
    port: int
    password: str
    settings: Mapping[str, str]
    _process: "subprocess.Popen[bytes] | None" = None

    def uri(self, database: str, driver: str = "psycopg2") -> str:
        """Return the URI of ``database``; without a driver, as psql takes it."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://{USER}:{self.password}@{self.host}:{self.port}/{database}"

    def environment(self) -> dict[str, str]:
        """Return the variables that name our databases, which it makes."""
        return {name: self.create(one) for name, one in DATABASES.items()}

    def create(self, database: str) -> str:
        """Make ``database`` where it is missing; return its URI."""
        found = "SELECT 1 FROM pg_database WHERE datname = %s"
        if not self.ask(found, database):
            self.ask(f'CREATE DATABASE "{database}"')
        return self.uri(database)

    def ask(self, sql: str, *values: Any, database: str = "postgres") -> list[Any]:
        """Return the rows that ``sql`` gives, outside a transaction."""
        with contextlib.closing(self._connection(database)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, values or None)
                return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = {"listen_addresses": self.host, "port": str(self.port)}
        options |= {"unix_socket_directories": "", **self.settings}
        command = [str(programs() / "postgres"), "-D", str(self.folder / "data")]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        # It ends when we are killed; what Linux watches is our thread.
        watched = ["--pdeathsig=INT"] if in_main_thread() else []
        with (self.folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", *_account_flags(), *watched, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to pass on
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self, *, crash: bool = False) -> None:
        """Stop the server: its clients are cut off. A crash writes nothing more."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(PATIENCE_S)

    def _wait(self) -> None:
        import psycopg2

        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                self._connection("postgres").close()
            except psycopg2.OperationalError:
                time.sleep(0.1)
                continue
            return
        log = self.folder / "postgres.log"
        words = "\n  ".join(log.read_text(errors="replace").splitlines()[-5:])
        raise PostgresFailed(
            f"PostgreSQL in {self.folder} did not come up; it said last:\n  {words}"
        )

    def _connection(self, database: str) -> Any:
        import psycopg2

        return psycopg2.connect(self.uri(database, driver=""), connect_timeout=10)


@contextlib.contextmanager
def serving(
    folder: pathlib.Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Postgres]:
    """Yield a PostgreSQL that runs as long as the ``with`` block.

    Args:
        folder: Where its data is, or is to be; by default a temporary folder.
        host: The address to listen on; but for 127.0.0.1, its network may connect.
        port: Its port; 0 takes a free one.
        settings: Settings of the server.

    Raises:
        PostgresMissing: Its programs are not on this machine.
        PostgresFailed: It did not start; the message says why.
    """
    temporary = folder is None  # whose data nobody wants: it need not be written out
    with contextlib.ExitStack() as stack:
        if folder is None:
            made = tempfile.TemporaryDirectory(prefix="latentlake-postgres-")
            folder = pathlib.Path(stack.enter_context(made))
        password = _prepare(folder.absolute(), host)
        port = port or free_port(host)
        pg = Postgres(folder.absolute(), host, port, password, settings or {})
        stack.callback(pg.stop, crash=temporary)
        pg.start()
        yield pg


def programs() -> pathlib.Path:
    """Return the folder of PostgreSQL's programs, or raise PostgresMissing."""
    found = DEBIAN.glob("*/bin/initdb")
    debian = sorted(
        found, key=lambda one: [int(n) for n in re.findall(r"\d+", str(one))]
    )
    elsewhere = shutil.which("initdb")
    if debian:
        return debian[-1].parent
    if elsewhere and shutil.which("setpriv"):
        return pathlib.Path(elsewhere).resolve().parent
    raise PostgresMissing(
        "PostgreSQL's programs are not on this machine (initdb, postgres). Install "
        "them: apt-get install postgresql"
    )


def _prepare(folder: pathlib.Path, host: str) -> str:
    """Make a database cluster in ``folder``, if need be; return its password."""
    folder.mkdir(parents=True, exist_ok=True)
    _require_ours(folder)
    folder.chmod(0o700)
    secret = folder / "password"
    if not secret.exists():
        with open(os.open(secret, os.O_CREAT | os.O_WRONLY, 0o600), "w") as out:
            out.write(secrets.token_hex(16))
    _give(folder, secret)
    if not (folder / "data" / "PG_VERSION").exists():
        _initialise(folder, secret)
    nets = ["127.0.0.1/32"] + (["samenet"] if host != "127.0.0.1" else [])
    rules = [f"host all all {net} scram-sha-256\n" for net in nets]
    (folder / "data" / "pg_hba.conf").write_text("".join(rules))
    return secret.read_text()


def _require_ours(folder: pathlib.Path) -> None:
    """Refuse a folder of something else: it would change its mode and its owner."""
    names = set(os.listdir(folder))
    begun = (folder / "data" / "PG_VERSION").exists() or names <= OURS
    if names and not ("password" in names and begun):
        raise PostgresFailed(
            f"{folder}: holds something else ({min(names)}). Give an empty folder, or "
            "one that does not exist yet."
        )


def _initialise(folder: pathlib.Path, secret: pathlib.Path) -> None:
    shutil.rmtree(folder / "data", ignore_errors=True)  # of an initdb cut off
    options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
    options += ["-D", str(folder / "data"), "-U", USER, "--pwfile", str(secret)]
    done = subprocess.run(
        ["setpriv", *_account_flags(), str(programs() / "initdb"), *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PostgresFailed(
            f"{folder}: no database could be made there ({done.stderr.strip()}). As "
            f"root, the account {_account().pw_name} must be able to enter the "
            "folder: give another one, below /var/tmp for example."
        )


def _account() -> pwd.struct_passwd:
    """Return the account that runs the server: our own, unless we are root."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    known = {one.pw_name: one for one in pwd.getpwall()}
    return next(known[name] for name in ACCOUNTS if name in known)


def _account_flags() -> list[str]:
    if os.getuid() != 0:
        return []
    one = _account()
    return [f"--reuid={one.pw_uid}", f"--regid={one.pw_gid}", "--clear-groups"]


def _give(*paths: pathlib.Path) -> None:
    if os.getuid() == 0:
        for path in paths:
            os.chown(path, _account().pw_uid, _account().pw_gid)


def main() -> None:
    """Serve until Ctrl-C; say how to make the variables known to a shell."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = pathlib.Path("/var/tmp/latentlake-postgres")
    parser.add_argument("--folder", type=pathlib.Path, default=default)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with serving(given.folder, host=given.host, port=given.port) as pg:
            print(f"PostgreSQL is up at {pg.host}:{pg.port}, in {pg.folder}.")
            print("In the shell that is to use it (the file holds a password):\n")
            print(f"    set -a; . {shlex.quote(str(_write_environment(pg)))}; set +a\n")
            print(f"This sets {' and '.join(DATABASES)}. Ctrl-C stops it.", flush=True)
            while pg._process and pg._process.poll() is None:
                time.sleep(0.5)
        raise SystemExit(f"PostgreSQL ended by itself; why is in {given.folder}")
    except KeyboardInterrupt:
        print("\nPostgreSQL is down; its data stays.")
    except CannotStart as error:
        raise SystemExit(str(error)) from None


def _write_environment(pg: Postgres) -> pathlib.Path:
    file = pg.folder / "environment"
    file.unlink(missing_ok=True)
    lines = [f"{name}={shlex.quote(uri)}\n" for name, uri in pg.environment().items()]
    with open(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600), "w") as out:
        out.writelines(lines)
    return file


if __name__ == "__main__":
    main()
