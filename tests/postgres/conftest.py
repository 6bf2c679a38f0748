"""A PostgreSQL for the tests of this folder, and a catalog of each test's own."""

import uuid

import postgres_server
import pytest

from pipelines.lake.catalog import VARIABLE


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
