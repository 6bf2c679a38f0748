import io
import mmap

import numpy as np
import pytest
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import (
    PyRecordReader_New,
)

from models import tfrecord


def framed(*payloads):
    file = io.BytesIO()
    tfrecord.write_frames(file, payloads)
    return file.getvalue()


def test_frames_come_back_as_they_were_written():
    payloads = [b"one", b"", b"x" * 70_000]

    found = list(tfrecord.read_frames(framed(*payloads), "here"))

    assert [bytes(one) for one in found] == payloads


def test_frames_are_read_from_a_mapped_file(tmp_path):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(framed(b"one", b"two"))

    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        found = [bytes(one) for one in tfrecord.read_frames(mapped, str(path))]

    assert found == [b"one", b"two"]


def test_an_independent_reader_that_checks_crcs_reads_our_frames(tmp_path):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(framed(b"one", b"x" * 5000))
    reader = PyRecordReader_New(str(path))

    found = []
    for _ in range(2):
        reader.GetNext()
        found.append(reader.record())

    assert found == [b"one", b"x" * 5000]


@pytest.mark.parametrize("place", range(4 * 8 + 16))
def test_a_flipped_bit_anywhere_names_the_file_and_the_record(place):
    data = bytearray(framed(b"01234567", b"01234567"))
    size = len(data) // 2
    data[place % size + size] ^= 4

    with pytest.raises(ValueError, match=r"some\.tfrecord: record 1 is damaged"):
        list(tfrecord.read_frames(data, "some.tfrecord"))


@pytest.mark.parametrize("lost", [1, 4, 10, 13, 20])
def test_a_file_cut_short_is_an_error(lost):
    data = framed(b"01234567", b"01234567")

    with pytest.raises(ValueError, match="record 1 is damaged: the file ends"):
        list(tfrecord.read_frames(data[:-lost], "some.tfrecord"))


def test_an_example_comes_back_as_it_was_written():
    image = np.arange(12, dtype=np.float32)

    payload = tfrecord.encode_example({"image": image, "image_id": b"ab", "height": -3})
    found = tfrecord.decode_example(memoryview(payload))

    assert found.keys() == {"image", "image_id", "height"}
    np.testing.assert_array_equal(found["image"], image)
    assert (found["image_id"], found["height"]) == (b"ab", -3)


def test_the_same_features_give_the_same_bytes_in_any_order():
    one = tfrecord.encode_example({"a": 1, "b": b"x", "c": np.ones(2, np.float32)})
    two = tfrecord.encode_example({"c": np.ones(2, np.float32), "b": b"x", "a": 1})

    assert one == two


def test_what_is_no_example_is_an_error():
    with pytest.raises(ValueError, match=r"not a tf\.Example"):
        tfrecord.decode_example(b"\xff\xff\xff")


@pytest.mark.slow
def test_tensorflow_reads_what_we_write_and_we_read_what_it_writes(tmp_path):
    import tensorflow as tf

    path = tmp_path / "a.tfrecord"
    image = np.random.default_rng(0).normal(size=300).astype(np.float32)
    ours = tfrecord.encode_example({"image": image, "label": b"cat", "height": 7})
    path.write_bytes(framed(ours))

    (record,) = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    theirs = tf.train.Example.FromString(record)

    assert list(theirs.features.feature["image"].float_list.value) == image.tolist()
    assert theirs.features.feature["label"].bytes_list.value[0] == b"cat"
    assert theirs.features.feature["height"].int64_list.value[0] == 7
    found = tfrecord.decode_example(theirs.SerializeToString())
    np.testing.assert_array_equal(found["image"], image)
    assert (found["label"], found["height"]) == (b"cat", 7)
