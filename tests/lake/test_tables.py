import pytest
from pyarrow import parquet

from pipelines.errors import ArtifactMismatch
from pipelines.lake import tables
from pipelines.lake.layout import Lake
from pipelines.stages import publish

FIRST = {"/src/a": "cat", "/src/b": "dog", "/src/c": "cat"}


@pytest.fixture
def features(nights):
    """The feature table after a night and a change of it."""
    publish.run(nights.night("2026-01-01", FIRST, label="x"), [])
    publish.run(nights.night("2026-01-02", {"/src/d": "cow"}, gone=("/src/b",)), [])
    return tables.load(nights.lake, "features")


def test_tables_are_born_once_with_an_empty_snapshot(tmp_path):
    lake = Lake(str(tmp_path), "digits")
    assert tables.main_ids(lake) == (None, None)

    tables.ensure(lake)
    first = tables.main_ids(lake)
    tables.ensure(lake)

    assert tables.main_ids(lake) == first
    assert None not in first


@pytest.mark.parametrize("name", tables.NAMES)
def test_iceberg_numbers_and_requires_columns_as_our_schema_does(tmp_path, name):
    lake = Lake(str(tmp_path), "digits")
    tables.ensure(lake)

    found = tables.load(lake, name).schema()

    wanted = tables.numbered(tables.SCHEMAS[name])
    assert [f.name for f in found.fields] == wanted.names
    assert [not f.required for f in found.fields] == [f.nullable for f in wanted]
    numbers = [int(f.metadata[b"PARQUET:field_id"]) for f in wanted]
    assert [f.field_id for f in found.fields] == numbers


def test_a_missing_table_reads_as_no_rows(tmp_path):
    lake = Lake(str(tmp_path), "digits")

    assert tables.read_images(lake, None).schema == tables.IMAGES_SCHEMA
    assert tables.read_features(lake, None, ["image_id"]).num_rows == 0
    assert tables.snapshot_properties(lake, "images") == {}


def test_rows_are_read_in_the_types_of_our_schemas(nights, features):
    ids = tables.main_ids(nights.lake)

    assert tables.read_images(nights.lake, ids.images).schema == tables.IMAGES_SCHEMA
    found = tables.read_features(nights.lake, ids.features)
    assert found.schema == tables.FEATURES_SCHEMA


def test_an_earlier_snapshot_stays_as_it_was(nights, features):
    earlier = features.history()[1].snapshot_id

    rows = tables.read_features(nights.lake, earlier, ["source_uri"])

    assert sorted(rows["source_uri"].to_pylist()) == ["/src/a", "/src/b"]


@pytest.mark.parametrize("name", tables.NAMES)
def test_files_of_older_nights_are_skipped_unread(nights, name):
    publish.run(nights.night("2026-01-31", {"/src/a": "cat"}, modified=1), [])
    publish.run(nights.night("2026-02-01", {"/src/b": "dog"}, modified=1), [])
    table = tables.load(nights.lake, name)

    found = table.scan(row_filter="night >= '2026-02-01'")

    assert len(list(table.scan().plan_files())) == 2
    assert len(list(found.plan_files())) == 1
    assert found.to_arrow()["source_uri"].to_pylist() == ["/src/b"]


def test_floats_are_kept_by_byte_streams_and_strings_by_dictionary(features):
    (file, *_) = features.inspect.files()["file_path"].to_pylist()

    group = parquet.ParquetFile(file).metadata.row_group(0)

    kept = {group.column(i).path_in_schema: group.column(i) for i in range(11)}
    assert "BYTE_STREAM_SPLIT" in kept["latent.list.element"].encodings
    assert kept["space_id"].compression == "ZSTD"
    assert kept["space_id"].has_dictionary_page


def test_features_are_partitioned_by_space(features):
    parts = features.inspect.partitions()

    assert parts["partition"].to_pylist() == [{"space_id": "space-one"}]


def test_a_table_with_other_columns_is_refused_by_name(tmp_path):
    lake = Lake(str(tmp_path), "digits")
    tables.ensure(lake)
    with tables.load(lake, "features").update_schema() as change:
        change.rename_column("night", "evening")

    with pytest.raises(ArtifactMismatch, match=r"evening: found date.*night: found no"):
        tables.ensure(lake)
