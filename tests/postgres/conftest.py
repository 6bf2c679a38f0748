"""A PostgreSQL for the tests of this folder, and a catalog of each test's own."""

import pathlib
import subprocess
import sys
import uuid

import postgres_server
import pytest

from pipelines.lake.catalog import VARIABLE

LOCAL = pathlib.Path(__file__).parents[2] / "deploy" / "local"
sys.path.append(str(LOCAL))  # last, since one of its scripts is named airflow


@pytest.fixture(scope="session")
def server():
    """Return a running PostgreSQL."""
    try:
        with postgres_server.serving(settings={"fsync": "off"}) as pg:
            yield pg
    except postgres_server.PostgresMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def catalog(server, monkeypatch) -> str:
    """Have a database of its own be the catalog; return its URI."""
    uri = server.create(f"catalog_{uuid.uuid4().hex[:12]}")
    monkeypatch.setenv(VARIABLE, uri)
    return uri


@pytest.fixture
def nights(catalog, nights):
    """Return a lake on a folder to stage nights in, its catalog in Postgres."""
    return nights


@pytest.fixture
def child():
    """Return a way to start Python programs, which end with the test."""
    started = []

    def start(program: str, *arguments: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
