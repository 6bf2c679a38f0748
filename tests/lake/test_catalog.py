import pytest

from pipelines.errors import ConfigError
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


def test_a_name_that_no_configuration_describes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "ghost")

    with pytest.raises(ConfigError, match="catalog ghost: does not open"):
        open_catalog(Lake(str(tmp_path), "digits"))


def test_a_bucket_lake_without_a_catalog_is_refused():
    with pytest.raises(ConfigError, match="a bucket holds no SQLite catalog"):
        open_catalog(Lake("s3://bucket/lake", "digits"))
