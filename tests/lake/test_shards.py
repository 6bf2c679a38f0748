"""Shards and the inventories beside them."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipelines.errors import ArtifactMismatch
from pipelines.lake import shards
from pipelines.lake.shards import Inventory, ShardImage


def images(count: int) -> list[ShardImage]:
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 256, (count, 8, 9, 3), dtype=np.uint8)
    labels = [None if number % 3 == 0 else f"label {number}" for number in range(count)]
    return [
        ShardImage(f"{number:064x}", pixels[number], labels[number])
        for number in range(count)
    ]


def inventory(count: int, shard_bytes: int) -> Inventory:
    rows = [
        {"source_uri": f"/a/{number}", "outcome": "decoded"} for number in range(count)
    ]
    table = pa.Table.from_pylist(rows, schema=shards.INVENTORY_SCHEMA)
    return Inventory(table, 1, shard_bytes)


def chunk(folder, count=5):
    path = str(folder / "abc.tfrecord")
    written = shards.write_shard(path, images(count))
    shards.write_inventory(
        shards.inventory_file(path), inventory(max(count, 1), written)
    )
    return path


def test_a_shard_gives_back_what_was_written(tmp_path):
    path = str(tmp_path / "one.tfrecord")

    shards.write_shard(path, iter(images(5)))
    shard = shards.read_shard(path)

    assert shard.image_ids == [image.image_id for image in images(5)]
    assert shard.labels == [image.label for image in images(5)]
    assert np.array_equal(shard.pixels, np.stack([i.pixels for i in images(5)]))


def test_the_same_images_make_the_same_bytes(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"

    shards.write_shard(str(first), images(3))
    shards.write_shard(str(second), images(3))

    assert first.read_bytes() == second.read_bytes()


def test_no_image_makes_no_file(tmp_path):
    path = tmp_path / "none.tfrecord"

    written = shards.write_shard(str(path), [])

    assert written == 0
    assert not path.exists()


def test_an_accident_half_way_leaves_no_shard(tmp_path):
    def failing():
        yield images(1)[0]
        raise RuntimeError("the cable was pulled")

    with pytest.raises(RuntimeError):
        shards.write_shard(str(tmp_path / "one.tfrecord"), failing())

    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_is_refused_by_name(tmp_path):
    path = tmp_path / "one.tfrecord"
    shards.write_shard(str(path), images(2))
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)

    with pytest.raises(ArtifactMismatch, match=r"one\.tfrecord.*record 1") as caught:
        shards.read_shard(str(path))

    assert str(caught.value).count(str(path)) == 1
    assert str(caught.value).count("elete") == 1


def test_an_inventory_gives_back_its_rows_and_counts(tmp_path):
    path = str(tmp_path / "one.parquet")

    shards.write_inventory(path, inventory(4, 123))
    found = shards.read_inventory(path)

    assert found.rows.equals(inventory(4, 123).rows)
    assert (found.blank, found.shard_bytes) == (1, 123)


def test_an_inventory_of_a_newer_format_is_refused(tmp_path):
    path = tmp_path / "one.parquet"
    shards.write_inventory(str(path), inventory(1, 0))
    table = parquet.read_table(path)
    facts = table.schema.metadata | {b"latentlake.format_version": b"99"}
    parquet.write_table(table.replace_schema_metadata(facts), path)

    with pytest.raises(ArtifactMismatch, match="format version 99"):
        shards.read_inventory(str(path))


def test_a_chunk_is_done_when_shard_and_inventory_stand(tmp_path):
    path = chunk(tmp_path)

    found = shards.standing(path, entries=5)

    assert found is not None
    assert found.rows.num_rows == 5


def test_a_chunk_that_lacks_a_row_is_not_done(tmp_path):
    path = chunk(tmp_path)

    assert shards.standing(path, entries=6) is None


def test_a_chunk_without_its_shard_is_not_done(tmp_path):
    path = chunk(tmp_path)
    (tmp_path / "abc.tfrecord").unlink()

    assert shards.standing(path, entries=5) is None


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_chunk_with_a_damaged_shard_is_not_done(tmp_path, damage):
    path = chunk(tmp_path)
    file = tmp_path / "abc.tfrecord"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data[:-7] if damage == "cut" else data)

    assert shards.standing(path, entries=5) is None


def test_a_chunk_with_a_damaged_inventory_is_not_done(tmp_path):
    path = chunk(tmp_path)
    (tmp_path / "abc.parquet").write_bytes(b"PAR1 no more")

    assert shards.standing(path, entries=5) is None


def test_a_chunk_of_rejections_alone_is_done_without_a_shard(tmp_path):
    path = chunk(tmp_path, count=0)

    assert shards.standing(path, entries=1) is not None
