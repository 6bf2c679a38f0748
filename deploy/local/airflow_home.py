"""An Airflow of this checkout's own: its folder, its settings, its secrets."""

import os
import pathlib
import secrets
import subprocess
import sys
import urllib.parse
from collections.abc import Mapping

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
DAGS = CHECKOUT / "dags"
BUNDLED = DAGS / "datasets"
PLUGINS = CHECKOUT / "deploy" / "local" / "plugins"
VARIABLE = "LATENTLAKE_AIRFLOW_DB"
"""The URI of a Postgres database for Airflow itself; SQLite where it is not set."""
CONNECTION = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


def environment(
    home: pathlib.Path,
    lake: str,
    datasets: pathlib.Path,
    port: int = 8080,
    *,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the environment of an Airflow that lives in ``home``, on this machine.

    Whatever Airflow the caller's shell is set up for is left out of it; ``extra``
    comes last, and may set anything: the executor, the address, the database.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW_", "_AIRFLOW"))
    }
    ours = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
        "AIRFLOW__API__INSTANCE_NAME": "latentlake",
        "AIRFLOW__API__SECRET_KEY": _secret(home / "api_secret"),
        "AIRFLOW__API_AUTH__JWT_SECRET": _secret(home / "jwt_secret"),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
        "LATENTLAKE_DATASETS": str(datasets),
        "LATENTLAKE_LAKE": lake,
        "LATENTLAKE_PYTHON": sys.executable,
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
    }
    # The tasks need the lake's catalog, and have no business in Airflow's database.
    given = inherited.pop(VARIABLE, "")
    return inherited | ours | _connections(given) | dict(extra or {})


def database(env: Mapping[str, str]) -> str:
    """Return what Airflow keeps its own state in: ``SQLite``, or a server by name."""
    found = urllib.parse.urlsplit(env.get(CONNECTION, "sqlite:///"))
    if not found.scheme.startswith("postgresql"):
        return "SQLite"
    return f"Postgres at {found.hostname}:{found.port or 5432}{found.path}"


def _connections(given: str) -> dict[str, str]:
    """Return Airflow's settings for the Postgres at the URI ``given``.

    Raises:
        SystemExit: It is the URI of something else.
    """
    if not given:
        return {}
    scheme, _, rest = given.partition("://")
    if scheme.partition("+")[0] not in ("postgresql", "postgres") or not rest:
        raise SystemExit(
            f"{VARIABLE}: is not the URI of a Postgres. Set it to "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or unset it for SQLite."
        )
    return {
        CONNECTION: f"postgresql+psycopg2://{rest}",
        f"{CONNECTION}_ASYNC": f"postgresql+asyncpg://{_for_asyncpg(rest)}",
    }


def _for_asyncpg(rest: str) -> str:
    """Return a URI's end in the words of asyncpg, which calls one setting otherwise."""
    return rest.replace("?sslmode=", "?ssl=").replace("&sslmode=", "&ssl=")


def migrate(env: dict[str, str]) -> None:
    """Make Airflow's database, or bring it up to date; quick where SQLite is.

    A server's database may be another one, or have been made anew, behind the same
    name: there Airflow itself looks, every time.

    Raises:
        SystemExit: It could not be made; the message says where to read why.
    """
    home = pathlib.Path(env["AIRFLOW_HOME"])
    stamp = home / "migrated"
    version = f"{_airflow_version()} {database(env)}"
    local = database(env) == "SQLite" and (home / "airflow.db").exists()
    if local and stamp.exists() and stamp.read_text() == version:
        return
    log = home / "migrate.log"
    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    with open(os.open(log, flags, 0o600), "wb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=env,
            cwd=CHECKOUT,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"Airflow's database could not be made; why is in {log}")
    stamp.write_text(version)


def _airflow_version() -> str:
    from importlib.metadata import version

    return version("apache-airflow")


def _secret(file: pathlib.Path) -> str:
    """Return the secret in ``file``, which nobody else may read; make it if need be."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600), "w") as out:
            out.write(secrets.token_hex(32))  # 64 characters
    return file.read_text()
