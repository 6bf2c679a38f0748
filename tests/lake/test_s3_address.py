"""Where the S3 server is, by the environment and by a profile."""

import pytest

from pipelines.errors import ConfigError
from pipelines.lake import afar, s3_address

pytest.importorskip("botocore")

PROFILE = """
[default]
endpoint_url = http://s3.example:9000
region = eu-north-1
"""
NAMES = (
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION",
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
)  # fmt: skip


@pytest.fixture(autouse=True)
def profile(tmp_path, monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config").write_text(PROFILE)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    s3_address._of_profile.cache_clear()
    yield
    s3_address._of_profile.cache_clear()


def test_a_profile_names_server_and_region_and_the_environment_wins(monkeypatch):
    assert s3_address.endpoint() == "http://s3.example:9000"
    assert s3_address.region() == "eu-north-1"

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://other:1")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")

    assert s3_address.endpoint() == "http://other:1"
    assert s3_address.region() == "eu-west-1"


def test_an_error_names_the_server_of_the_profile():
    meant = afar.meaning(ConnectionResetError("lost"), "s3://lake/x")

    assert "s3://lake/x: http://s3.example:9000 does not answer" in str(meant)


def test_a_profile_that_does_not_exist_is_a_setting_and_hides_no_other_error(
    monkeypatch,
):
    monkeypatch.setenv("AWS_PROFILE", "ghost")

    with pytest.raises(ConfigError, match=r"ghost.*Look at AWS_PROFILE"):
        s3_address.endpoint()
    meant = afar.meaning(ConnectionResetError("lost"), "s3://lake/x")
    assert "the S3 server does not answer" in str(meant)
