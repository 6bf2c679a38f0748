import hashlib

import numpy as np
import pyarrow as pa

from pipelines.lake import shards
from pipelines.lake.layout import Lake
from pipelines.lake.shards import ShardImage
from pipelines.stages import sample
from pipelines.stages.sample import Sample


def corpus(tmp_path, counts=(5, 7), side=8):
    """Return the rows of a corpus of plain images: image number n is all n's."""
    lake = Lake(str(tmp_path), "birds")
    rows = []
    for number, count in enumerate(counts):
        name = f"spec/2026-01-01/{number}.tfrecord"
        images = []
        for row in range(count):
            value = len(rows)
            image_id = hashlib.sha256(bytes([value])).hexdigest()
            images.append(
                ShardImage(image_id, np.full((side, side, 1), value, np.uint8), None)
            )
            split = "eval" if value % 2 else "train"
            rows.append((image_id, f"/a/{value}.png", None, split, name, row))
        shards.write_shard(lake.shard_file(name), images)
    names = ("image_id", "source_uri", "label", "split", "shard", "row")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return lake, pa.table(columns)


def values(found):
    return [int(image[0, 0, 0]) for batch in found.batches() for image in batch]


def test_a_sample_reads_only_its_own_rows_across_shards(tmp_path):
    lake, rows = corpus(tmp_path)

    found = Sample(lake, sample.choose(rows, "eval", 100))

    assert len(found) == 6
    assert values(found) == [1, 3, 5, 7, 9, 11]
    assert values(found) == [1, 3, 5, 7, 9, 11]


def test_a_sample_too_large_to_hold_is_read_anew_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "HOLD_BYTES", 100)
    monkeypatch.setattr(sample, "BATCH_BYTES", 128)
    lake, rows = corpus(tmp_path)

    found = Sample(lake, rows)

    assert values(found) == list(range(12))
    assert [len(batch) for batch in found.batches()] == [2, 2, 1, 2, 2, 2, 1]


def test_a_cap_chooses_by_hash_and_a_larger_one_only_adds(tmp_path):
    _, rows = corpus(tmp_path, counts=(40, 40))

    few = sample.choose(rows, "train", 5)["image_id"].to_pylist()
    more = sample.choose(rows, "train", 20)["image_id"].to_pylist()

    assert len(few) == 5
    assert set(few) < set(more)
    assert sample.choose(rows, "train", 5)["image_id"].to_pylist() == few


def test_images_are_picked_in_the_order_asked_for(tmp_path):
    lake, rows = corpus(tmp_path)

    picked = Sample(lake, rows).pick([9, 0, 5])

    assert [int(image[0, 0, 0]) for image in picked] == [9, 0, 5]


def test_an_empty_sample_has_no_batches(tmp_path):
    lake, rows = corpus(tmp_path)

    found = Sample(lake, rows.slice(0, 0))

    assert len(found) == 0
    assert list(found.batches()) == []
