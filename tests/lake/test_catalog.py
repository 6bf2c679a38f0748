import concurrent.futures
import contextlib
import http.server
import socket
import threading

import pytest

from pipelines.errors import ConfigError, Unreachable
from pipelines.lake import tables
from pipelines.lake.catalog import VARIABLE, open_catalog
from pipelines.lake.layout import Lake


def test_a_local_lake_has_its_catalog_in_a_file_of_its_own(tmp_path):
    lake = Lake(str(tmp_path / "lake"), "digits")

    tables.ensure(lake)

    assert (tmp_path / "lake" / "catalog.db").exists()


def test_the_variable_names_another_catalog(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, f"sqlite:///{tmp_path}/elsewhere.db")
    lake = Lake(str(tmp_path / "lake"), "digits")

    tables.ensure(lake)

    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / "lake" / "catalog.db").exists()


def test_a_catalog_that_does_not_open_is_named_without_its_password(
    tmp_path, monkeypatch
):
    given = "nosuchdriver://user:secret@host/db"
    monkeypatch.setenv(VARIABLE, given)

    with pytest.raises(ConfigError, match="does not open") as caught:
        open_catalog(Lake(str(tmp_path), "digits"))

    assert "nosuchdriver://user:***@host/db" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_password_in_the_query_of_an_address_is_masked(tmp_path, monkeypatch):
    given = "nosuchdriver://host/db?user=me&password=secret&sslmode=require"
    monkeypatch.setenv(VARIABLE, given)

    with pytest.raises(ConfigError) as caught:
        open_catalog(Lake(str(tmp_path), "digits"))

    assert "?user=me&password=***&sslmode=require" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_rest_catalog_that_is_not_there_is_an_accident(tmp_path, monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv(VARIABLE, address)

        with pytest.raises(Unreachable, match="does not answer") as caught:
            open_catalog(Lake(str(tmp_path), "digits"))

    assert address in str(caught.value)
    assert caught.value.exit_code == 1


@contextlib.contextmanager
def answering(code):
    """Yield the address of a server that answers everything with ``code``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("code", "error"),
    [(500, Unreachable), (503, Unreachable), (401, ConfigError), (404, ConfigError)],
)
def test_a_rest_catalog_that_is_not_well_is_told_from_wrong_settings(
    tmp_path, monkeypatch, code, error
):
    with answering(code) as address:
        monkeypatch.setenv(VARIABLE, address)

        with pytest.raises(error):
            open_catalog(Lake(str(tmp_path), "digits"))


def test_a_name_that_no_configuration_describes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "ghost")

    with pytest.raises(ConfigError, match="catalog ghost: does not open"):
        open_catalog(Lake(str(tmp_path), "digits"))


def test_a_bucket_lake_without_a_catalog_is_refused():
    with pytest.raises(ConfigError, match="a bucket holds no SQLite catalog"):
        open_catalog(Lake("s3://bucket/lake", "digits"))


def test_a_catalog_that_many_open_for_the_first_time_opens_for_all(tmp_path):
    for attempt in range(5):
        lake = Lake(str(tmp_path / str(attempt)), "digits")
        together = threading.Barrier(8)

        def first(lake=lake, together=together):
            together.wait()
            return open_catalog(lake).list_namespaces()

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(first) for _ in range(8)]
        assert [one.result() for one in asked] == [[]] * 8
