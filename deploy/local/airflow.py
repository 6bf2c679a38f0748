"""Airflow's UI on this machine: ``python deploy/local/airflow.py up`` and ``down``.

``up`` starts the parts in the order that works (the API first: a task that starts
before it is up fails), waits until the DAGs are there and says where to look. ``down``
stops them, and whatever they started.

Airflow's own database is a SQLite file, or the Postgres that LATENTLAKE_AIRFLOW_DB
names; on Postgres several schedulers may share the work (``--schedulers 2``). With
``--train-queue gpu`` trainings wait for a worker of deploy/servers/edge_worker.py.
"""

import argparse
import os
import pathlib
import socket
import subprocess
import sys

import airflow_parts as parts
from airflow_home import BUNDLED, CHECKOUT, database, environment, migrate
from airflow_parts import say


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["up", "down"])
    parser.add_argument("--home", type=pathlib.Path, default=CHECKOUT / ".airflow")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--schedulers", type=int, default=1)
    parser.add_argument("--train-queue", help="train on Edge workers of this queue")
    given = parser.parse_args()
    home = given.home.absolute()
    if given.verb == "down":
        say("Airflow is down." if parts.down(home) else "Airflow is not up.")
    else:
        extra = elsewhere(given.port, given.train_queue) if given.train_queue else None
        up(home, given.port, schedulers=given.schedulers, extra=extra)


def elsewhere(port: int, queue: str) -> dict[str, str]:
    """Return what sends the train tasks to workers that are somewhere else."""
    sys.path.append(str(CHECKOUT / "deploy" / "servers"))
    import edge_worker

    return edge_worker.central(f"http://127.0.0.1:{port}", queue)


def up(
    home: pathlib.Path,
    port: int,
    *,
    schedulers: int = 1,
    extra: dict[str, str] | None = None,
) -> str:
    """Start Airflow in ``home``, unless it runs already; return its address.

    Args:
        home: Airflow's folder.
        port: Where its API listens.
        schedulers: How many schedulers; more than one needs Postgres.
        extra: Environment of all its parts, before everything else.
    """
    url = f"http://localhost:{port}"
    if parts.running(home):
        known = str(parts.state(home)["url"])
        say(f"Airflow is already up at {known}; `make down` stops it.")
        return known
    require_free_port(port)
    datasets = pathlib.Path(os.environ.get("LATENTLAKE_DATASETS", BUNDLED)).absolute()
    lake = os.environ.get("LATENTLAKE_LAKE") or str(CHECKOUT / "lake")
    env = environment(home, lake, datasets, port, extra=extra)
    require_postgres(env, schedulers)
    parts.begin(home, url)
    write_digits()
    say("Preparing Airflow's database …")
    migrate(env)
    try:
        parts.start_parts(home, env, url, schedulers=schedulers)
    except BaseException:
        parts.down(home)
        raise
    say(f"\nAirflow is up:  {url}   (no login: everyone on this machine is admin)")
    say(f"Database:       {database(env)}, schedulers: {schedulers}")
    say(f"DAGs:           {', '.join(sorted(parts.dag_ids(url)))}")
    say(f"Datasets:       {env['LATENTLAKE_DATASETS']}")
    say(f"Lake:           {env['LATENTLAKE_LAKE']}")
    say("Open nightly_digits and press Trigger. `make down` stops Airflow.")
    return url


def require_postgres(env: dict[str, str], schedulers: int) -> None:
    """End with a plain message where several schedulers would share a SQLite file."""
    if schedulers > 1 and database(env) == "SQLite":
        raise SystemExit(
            f"--schedulers {schedulers}: several schedulers lock rows of their "
            "database, and SQLite has no such locks. Set LATENTLAKE_AIRFLOW_DB to a "
            "Postgres (python deploy/servers/postgres_server.py starts one)."
        )


def require_free_port(port: int) -> None:
    """End with a plain message where another program has ``port``."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise SystemExit(
                f"Port {port} is taken by another program. Stop that one, or choose "
                f"another: python deploy/local/airflow.py up --port {port + 1}"
            ) from None


def write_digits() -> None:
    """Write the demo's images, unless they are there."""
    folder = CHECKOUT / ".demo" / "digits"
    if not folder.exists():
        script = pathlib.Path(__file__).with_name("digits.py")
        subprocess.run([sys.executable, str(script), str(folder)], check=True)


if __name__ == "__main__":
    main()
