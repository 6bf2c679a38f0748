"""A real S3 server, started once for the tests of this folder."""

import uuid

import pytest
import s3_server
import s3fs

from pipelines.lake import bucket, s3_address


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """Return a real S3 server that runs as long as the tests do."""
    with s3_server.serving(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def lake_root(s3, monkeypatch, tmp_path):
    """Return the URL of an empty lake in a bucket of its own; its keys are set."""
    use(s3.environment(), monkeypatch, tmp_path)
    return f"{s3.make_bucket(f'b-{uuid.uuid4().hex[:12]}')}/some/lake"


def use(environment, monkeypatch, tmp_path):
    """Set these variables, and keep whatever else this machine knows of AWS out."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    s3fs.S3FileSystem.clear_instance_cache()  # a client keeps the keys it was made with
    s3_address._of_profile.cache_clear()
    bucket._require_known.cache_clear()


@pytest.fixture
def as_if(monkeypatch, tmp_path):
    """Return a way to change the variables, as if the process began with them."""
    return lambda environment: use(environment, monkeypatch, tmp_path)
