import os
import threading

import numpy as np
import pytest

from models import data, tfrecord
from models.data import Examples
from models.spec import ImageShape


def test_examples_come_back_in_the_order_asked_for(write_examples, normalised, shape):
    images = normalised(5)
    files = [
        write_examples("a", images[:2], ["cat", "dog"]),
        write_examples("b", images[2:]),
    ]

    batch = Examples(files, shape).read([4, 0, 2, 1])

    np.testing.assert_array_equal(batch.images, images[[4, 0, 2, 1]])
    assert batch.images.dtype == np.float32
    assert batch.image_ids == ["b2", "a0", "b0", "a1"]
    assert batch.labels == [None, "cat", None, "dog"]


def test_batches_hold_every_example_once(examples):
    train, _ = examples

    batches = list(train.batches(16, train.order(seed=1, epoch=0)))

    assert [len(batch.images) for batch in batches] == [16, 16, 8]
    ids = [one for batch in batches for one in batch.image_ids]
    assert sorted(ids) == sorted(train.read(range(40)).image_ids)


def test_the_order_depends_on_seed_and_epoch_alone(examples):
    train, _ = examples

    first = train.order(seed=3, epoch=2)

    np.testing.assert_array_equal(first, Examples(train.paths, train.shape).order(3, 2))
    assert not np.array_equal(first, train.order(seed=3, epoch=3))
    assert not np.array_equal(first, train.order(seed=4, epoch=2))


def test_no_files_and_empty_files_hold_no_examples(tmp_path, shape):
    path = tmp_path / "empty.tfrecord"
    path.write_bytes(b"")

    assert len(Examples([], shape)) == 0
    assert len(Examples([str(path)], shape)) == 0
    assert list(Examples([], shape).batches(4)) == []


def test_a_damaged_record_is_named_when_it_is_read(write_examples, normalised, shape):
    path = write_examples("a", normalised(3))
    with open(path, "r+b") as file:
        file.seek(-30, os.SEEK_END)
        file.write(b"\xff\xff\xff")
    found = Examples([path], shape)

    with pytest.raises(ValueError, match=r"a\.tfrecord: record 2 is damaged"):
        list(found.batches(2))


def test_an_image_of_another_size_is_named(write_examples, normalised):
    path = write_examples("a", normalised(2))

    with pytest.raises(ValueError, match=r"record 0 has 192 numbers .* and 12 were"):
        Examples([path], ImageShape(2, 2, 3)).read([0])


def test_what_is_no_image_is_named(tmp_path, shape):
    path = tmp_path / "a.tfrecord"
    with path.open("wb") as file:
        tfrecord.write_frames(file, [tfrecord.encode_example({"height": 1})])

    with pytest.raises(ValueError, match="has no numbers in its image"):
        Examples([str(path)], shape).read([0])


def test_more_files_than_may_be_open_are_read(
    write_examples, normalised, shape, monkeypatch
):
    monkeypatch.setattr(data, "OPEN_FILES", 2)
    images = normalised(6)
    files = [write_examples(str(one), images[one : one + 1]) for one in range(6)]
    before = len(os.listdir("/proc/self/fd"))

    found = Examples(files, shape)
    batch = found.read([5, 0, 3, 1, 4, 2])

    np.testing.assert_array_equal(batch.images, images[[5, 0, 3, 1, 4, 2]])
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_batches_left_half_way_leave_no_thread_behind(examples):
    batches = examples[0].batches(4)
    next(batches)

    batches.close()

    assert not [one for one in threading.enumerate() if one.name == "examples"]


def test_rows_are_told_by_the_files_that_hold_them(examples):
    train, _ = examples
    rows = np.array([0, 3, 24, 25, 39])

    first, second = train.by_file(rows)

    assert (first.path, second.path) == tuple(train.paths)
    np.testing.assert_array_equal(first.rows, [0, 3, 24])
    np.testing.assert_array_equal(second.rows, [0, 14])
    (only,) = train.by_file(rows[3:])
    np.testing.assert_array_equal(only.rows, [0, 14])


def test_no_batch_is_of_two_files(examples):
    train, _ = examples

    found = list(train.file_batches(10, np.arange(5, 40)))

    assert [len(batch.image_ids) for batch in found] == [10, 10, 10, 5]
    names = [{name[0] for name in batch.image_ids} for batch in found]
    assert names == [{"a"}, {"a"}, {"b"}, {"b"}]


def test_a_file_that_was_cut_short_is_named(write_examples, normalised, shape):
    path = write_examples("a", normalised(3))
    os.truncate(path, os.path.getsize(path) - 5)

    with pytest.raises(ValueError, match=r"a\.tfrecord: .*"):
        Examples([path], shape)
