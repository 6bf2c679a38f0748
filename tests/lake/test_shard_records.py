"""The records of a shard."""

import numpy as np
import pytest

from models import tfrecord
from pipelines.lake import shard_records
from pipelines.lake.shard_records import Decoder, Record, ShardImage

SHAPES = [(8, 8, 1), (32, 32, 3), (11, 64, 3), (128, 130, 3)]
LABELS = [None, "", "cat", "é" * 40, "x" * 300]


def image(shape, label, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return ShardImage(f"{seed:064x}", pixels, label)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("label", LABELS)
def test_a_record_is_the_tf_example_of_its_image(shape, label):
    one = image(shape, label)

    found = tfrecord.decode_example(shard_records.encode(one))

    assert found.pop("label", None) == (None if label is None else label.encode())
    assert (found["height"], found["width"], found["channels"]) == shape
    assert found["image"] == one.pixels.tobytes()
    assert found["image_id"] == one.image_id.encode()


@pytest.mark.parametrize("shape", SHAPES)
def test_records_of_any_labels_come_back_in_any_order(shape):
    images = [image(shape, label, seed) for seed, label in enumerate(LABELS * 2)]
    decode = Decoder(shard_records.encode(images[3]))

    found = [decode(shard_records.encode(one)) for one in images]

    assert decode.shape == shape
    assert found == [Record(i.image_id, i.pixels.tobytes(), i.label) for i in images]


def test_a_record_that_another_hand_wrote_is_read_too():
    one = image((8, 8, 3), "cat")
    features = tfrecord.decode_example(shard_records.encode(one))
    decode = Decoder(shard_records.encode(one))
    other = tfrecord.encode_example(features | {"alien": 7})

    assert decode(other) == Record(one.image_id, one.pixels.tobytes(), "cat")


def test_images_of_zeros_come_back():
    black = ShardImage("f" * 64, np.zeros((8, 8, 3), np.uint8), "cat")
    payload = shard_records.encode(black)

    assert Decoder(payload)(payload).data == bytes(192)


def test_what_is_no_image_is_an_error():
    with pytest.raises(KeyError):
        Decoder(tfrecord.encode_example({"a": 1}))
