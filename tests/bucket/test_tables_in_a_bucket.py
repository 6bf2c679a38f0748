import pytest
import s3_server
from botocore.exceptions import EndpointConnectionError

from pipelines.errors import AccessRefused, ConfigError, Unreachable
from pipelines.lake import afar, tables
from pipelines.lake.catalog import VARIABLE, open_catalog
from pipelines.lake.layout import Lake
from pipelines.stages import publish

FIRST = {"/src/a": "cat", "/src/b": "cat", "/src/c": "dog", "/src/d": ""}
SECOND = {"/src/e": "owl"}


@pytest.fixture
def own_catalog(monkeypatch, tmp_path):
    """Keep the catalog of the bucket's lake in a file of this machine."""
    monkeypatch.setenv(VARIABLE, f"sqlite:///{tmp_path}/nights.db")


def published(nights):
    nights.accept("space-one")
    publish.run(nights.night("2026-01-01", FIRST), [])
    publish.run(nights.night("2026-01-02", SECOND, gone=("/src/c",)), [])
    found = nights.rows()
    for row in found:
        row.pop("latent")  # of the same digest and space
    return found, nights.statuses()


def test_nights_published_in_a_bucket_equal_those_on_a_disk(
    nights, lake_root, own_catalog, tmp_path
):
    far, near = type(nights)(lake_root), type(nights)(tmp_path / "near")
    near.lake = Lake(str(tmp_path / "near"), "numerals")  # one catalog, two lakes

    assert published(far) == published(near)
    location = tables.load(far.lake, "features").location()
    assert location == f"{lake_root}/warehouse/digits/features"


def test_the_catalog_is_told_the_server_and_never_the_keys(lake_root, own_catalog, s3):
    said = open_catalog(Lake(lake_root, "digits")).properties

    assert said["s3.endpoint"] == s3.endpoint
    assert said["s3.region"] == s3_server.REGION
    assert s3.key not in said.values()
    assert s3.secret not in said.values()


def test_what_pyiceberg_is_told_by_its_own_settings_is_left_to_it(
    lake_root, own_catalog, monkeypatch
):
    monkeypatch.setenv("PYICEBERG_CATALOG__LATENTLAKE__S3__REGION", "elsewhere-1")

    said = open_catalog(Lake(lake_root, "digits")).properties

    assert "s3.region" not in said  # PyIceberg reads its settings when it is imported


def test_a_bucket_lake_names_its_missing_catalog_even_where_the_keys_are_right(
    lake_root, monkeypatch
):
    monkeypatch.delenv(VARIABLE, raising=False)

    with pytest.raises(ConfigError, match="a bucket holds no SQLite catalog"):
        open_catalog(Lake(lake_root, "digits"))


def test_a_catalog_of_a_bucket_that_does_not_exist_says_so(lake_root, own_catalog):
    with pytest.raises(ConfigError, match="no bucket 'no-such-bucket'"):
        open_catalog(Lake("s3://no-such-bucket/lake", "digits"))


@pytest.mark.slow
def test_a_table_that_is_lost_in_the_middle_is_an_accident_in_words(
    nights, as_if, tmp_path, own_catalog, s3
):
    if not s3.is_real:
        pytest.skip("moto's server forgets everything when it stops")
    with s3_server.serving(tmp_path / "own") as own:
        as_if(own.environment())
        far = type(nights)(f"{own.make_bucket('lake')}/nights")
        published(far)
        own.stop()

        with pytest.raises(OSError, match="AWS Error") as caught:
            far.rows()

        found = afar.meaning(caught.value, far.lake.root)
        assert isinstance(found, Unreachable)
        assert "AWS_ENDPOINT_URL" in str(found)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("AWS Error ACCESS_DENIED during HeadObject operation", AccessRefused),
        ("AWS Error SIGNATURE_DOES_NOT_MATCH during PutObject operation", ConfigError),
        ("AWS Error INVALID_ACCESS_KEY_ID during GetObject operation", ConfigError),
        ("AWS Error NO_SUCH_BUCKET during CreateMultipartUpload", ConfigError),
        ("AWS Error SLOW_DOWN during PutObject operation", Unreachable),
        ("AWS Error NETWORK_CONNECTION during GetObject: curlCode: 7", Unreachable),
        (
            "AWS Error UNKNOWN (HTTP status 404) during ListObjectsV2 operation: "
            "Unable to parse ExceptionName: XAdminUserNotFound Message: No user",
            ConfigError,
        ),
    ],
)
def test_what_pyarrow_says_of_a_bucket_is_understood(said, kind):
    error = OSError(f"When reading key 'x' in bucket 'y': {said}")

    assert isinstance(afar.meaning(error, "s3://y/x"), kind)


def test_errors_of_a_disk_are_none_of_a_buckets(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "x").read_bytes()

    assert afar.meaning(caught.value, str(tmp_path)) is None
    assert afar.meaning(TimeoutError("of something else"), str(tmp_path)) is None


def test_a_file_of_a_disk_that_is_missed_while_a_bucket_is_asked_keeps_its_name(
    tmp_path,
):
    with pytest.raises(FileNotFoundError) as caught, afar.explained("s3://y/x"):
        (tmp_path / "gone").read_bytes()

    assert caught.value.filename == str(tmp_path / "gone")


def test_a_connection_lost_elsewhere_is_not_told_as_the_lakes():
    lost = ConnectionResetError("of a web server")

    assert isinstance(afar.meaning(lost, "s3://y/x"), Unreachable)
    assert afar.meaning(lost, "s3://y/x", sure=False) is None
    refused = EndpointConnectionError(endpoint_url="http://127.0.0.1:9")
    assert isinstance(afar.meaning(refused, "s3://y/x", sure=False), Unreachable)
