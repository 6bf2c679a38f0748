"""Airflow's UI as ``make up`` and ``make down`` start and stop it."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import airflow_home
import psutil
import pytest
from processes import free_port

SCRIPT = pathlib.Path(__file__).parents[2] / "deploy" / "local" / "airflow.py"


def tell(verb, home, port, *flags, **env):
    env["PYTHONSAFEPATH"] = ""  # a script finds its neighbours, as at a desk
    return subprocess.run(
        [sys.executable, SCRIPT, verb, "--home", home, "--port", str(port), *flags],
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def living(home):
    """Return the processes whose files or words belong to ``home``."""
    found = []
    for process in psutil.process_iter():
        try:
            files = [one.path for one in process.open_files()]
            if any(path.startswith(f"{home}/") for path in files):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def datasets(tmp_path):
    """Return a folder with one dataset."""
    folder = tmp_path / "datasets"
    folder.mkdir()
    (folder / "birds.toml").write_text('[source]\npath = "/birds"\n')
    return str(folder)


def test_a_port_that_is_taken_is_named(tmp_path, datasets):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        done = tell("up", tmp_path / "home", port, LATENTLAKE_DATASETS=datasets)

    assert done.returncode != 0
    assert f"Port {port} is taken" in done.stderr
    assert living(tmp_path / "home") == []


def test_down_says_that_nothing_is_up(tmp_path):
    done = tell("down", tmp_path / "home", 1)

    assert (done.returncode, done.stdout.strip()) == (0, "Airflow is not up.")


def test_several_schedulers_want_a_postgres(tmp_path, datasets):
    given = {"LATENTLAKE_DATASETS": datasets, "LATENTLAKE_AIRFLOW_DB": ""}

    done = tell("up", tmp_path / "home", free_port(), "--schedulers", "2", **given)

    assert done.returncode != 0
    assert "Set LATENTLAKE_AIRFLOW_DB to a Postgres" in done.stderr
    assert living(tmp_path / "home") == []


def test_a_database_that_is_no_postgres_is_refused_without_its_password(
    tmp_path, datasets
):
    given = {"LATENTLAKE_AIRFLOW_DB": "mysql://me:geheim@host/airflow"}

    done = tell(
        "up", tmp_path / "home", free_port(), LATENTLAKE_DATASETS=datasets, **given
    )

    assert done.returncode != 0
    assert "is not the URI of a Postgres" in done.stderr
    assert "geheim" not in done.stdout + done.stderr


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_both_connections_of_airflow_follow_from_one_uri(tmp_path, monkeypatch, scheme):
    monkeypatch.setenv(
        "LATENTLAKE_AIRFLOW_DB",
        f"{scheme}://me:geheim@host:5433/airflow?sslmode=require",
    )

    env = airflow_home.environment(
        tmp_path, "/lake", tmp_path, extra={"AIRFLOW__CORE__EXECUTOR": "ours"}
    )

    rest = "//me:geheim@host:5433/airflow"
    assert env[airflow_home.CONNECTION] == f"postgresql+psycopg2:{rest}?sslmode=require"
    found = env[f"{airflow_home.CONNECTION}_ASYNC"]
    assert found == f"postgresql+asyncpg:{rest}?ssl=require"
    assert airflow_home.database(env) == "Postgres at host:5433/airflow"
    assert env["AIRFLOW__CORE__EXECUTOR"] == "ours"
    assert "LATENTLAKE_AIRFLOW_DB" not in env


@pytest.mark.slow
def test_airflow_comes_up_on_this_machine_alone_and_leaves_nothing(tmp_path, datasets):
    home, port = tmp_path / "home", free_port()
    try:
        done = tell("up", home, port, LATENTLAKE_DATASETS=datasets)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "classify_birds, nightly_birds" in done.stdout
        url = f"http://127.0.0.1:{port}/api/v2/monitor/health"
        with urllib.request.urlopen(url) as answer:
            health = json.load(answer)
        assert {part["status"] for part in health.values()} == {"healthy"}
        page = f"http://127.0.0.1:{port}/latentlake/report/nightly_birds/manual__1"
        with pytest.raises(urllib.error.HTTPError, match="404") as none_yet:
            urllib.request.urlopen(page)
        assert "no report of this run (yet)" in none_yet.value.read().decode()
        listening = {
            one.laddr.ip
            for process in living(home)
            for one in process.net_connections()
            if one.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        assert "already up" in tell("up", home, port).stdout
    finally:
        done = tell("down", home, port)

    assert done.stdout.strip() == "Airflow is down."
    assert living(home) == []
