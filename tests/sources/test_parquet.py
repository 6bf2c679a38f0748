import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import BadNight, ConfigError
from pipelines.records import Rejection


def write(path, columns, metadata=None, **options):
    table = pa.table(columns)
    if metadata:
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path, **options)


def test_rows_are_entries_with_labels_and_splits(tmp_path, source, contents, picture):
    write(
        tmp_path / "a.parquet",
        {
            "image": [picture(shade) for shade in range(5)],
            "label": ["cat", "dog", None, "cat", "dog"],
            "split": ["train", "validation", "test", None, "other"],
        },
        row_group_size=2,
    )

    found = contents(source(tmp_path))

    assert [data for _, data in found.values()] == [picture(n) for n in range(5)]
    assert [(one.label, one.split) for one, _ in found.values()] == [
        ("cat", "train"),
        ("dog", "eval"),
        (None, "eval"),
        ("cat", None),
        ("dog", None),
    ]
    assert list(found)[4] == f"{tmp_path}/a.parquet#00000004"


def test_hugging_faces_struct_and_class_names_are_understood(
    tmp_path, source, contents, picture
):
    features = {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    write(
        tmp_path / "a.parquet",
        {
            "image": [
                {"bytes": picture(1), "path": "1.png"},
                {"bytes": None, "path": "/etc/passwd"},
                {"bytes": picture(3), "path": None},
            ],
            "label": [1, 0, -1],
        },
        {"huggingface": json.dumps({"info": {"features": features}})},
    )

    found = list(contents(source(tmp_path)).values())

    assert [entry.label for entry, _ in found] == ["dog", "cat", None]
    assert found[0][1] == picture(1)
    assert found[1][1] == Rejection("missing", "the row holds no image")


def test_numbers_without_names_stay_numbers(tmp_path, source):
    write(tmp_path / "a.parquet", {"image": [b"x", b"y"], "label": [3, 10]})

    assert [one.label for one in source(tmp_path).list()] == ["3", "10"]


def test_files_named_train_and_test_are_a_split(tmp_path, source):
    for name in ("train-00000-of-00001", "test-00000-of-00001"):
        write(tmp_path / f"{name}.parquet", {"image": [b"x"]})

    assert {one.split for one in source(tmp_path).list()} == {"train", "eval"}


def test_entries_of_any_order_are_read_in_it(tmp_path, source, picture):
    write(
        tmp_path / "a.parquet",
        {"image": [picture(shade) for shade in range(9)]},
        row_group_size=4,
    )
    opened = source(tmp_path)
    entries = list(opened.list())
    mixed = [entries[at] for at in (8, 0, 7, 3, 3, 4)]

    found = list(opened.read(mixed))

    assert found == [(one, picture(one.offset)) for one in mixed]


def test_a_file_that_lost_rows_loses_those_alone(tmp_path, source):
    write(tmp_path / "a.parquet", {"image": [b"x", b"y"]})
    opened = source(tmp_path)
    entries = list(opened.list())
    write(tmp_path / "a.parquet", {"image": [b"x"]})

    (_, first), (_, second) = opened.read(entries)

    assert first == b"x"
    assert second.reason == "missing"


def test_a_wrong_column_is_a_setting_that_names_what_there_is(tmp_path, source):
    write(tmp_path / "a.parquet", {"picture": [b"x"], "image": ["text"]})

    with pytest.raises(ConfigError, match="picture"):
        list(source(tmp_path, kind="parquet", image_column="photo").list())
    with pytest.raises(ConfigError, match="must be binary"):
        list(source(tmp_path, kind="parquet").list())


def test_half_a_file_is_a_bad_night(tmp_path, source):
    write(tmp_path / "a.parquet", {"image": [b"x" * 1000]})
    path = tmp_path / "a.parquet"
    path.write_bytes(path.read_bytes()[:500])

    with pytest.raises(BadNight, match=r"a\.parquet"):
        list(source(tmp_path, kind="parquet").list())


def test_cifar_as_it_lies_beside_us_is_read(shared_data, source):
    opened = source(shared_data / "cifar10")
    entries = sorted(opened.list())

    (_, data), *_ = opened.read(entries[:3])

    assert len(entries) == 60_000
    assert {one.split for one in entries} == {"train", "eval"}
    assert len({one.label for one in entries}) == 10
    assert data.startswith(b"\xff\xd8")
