"""The records of a shard: each a tf.Example of the raw pixels of one canonical image.

All records of a shard are alike but for pixels and id, which have a fixed length, and
for the label at their end. So they are written and read by what stands around these;
a record that is not quite like it is read as any other tf.Example.
"""

import functools
from typing import NamedTuple

import numpy as np

from models import tfrecord

ID_LENGTH = 64
"""Characters of an image_id: a SHA-256 in hex."""
Shape = tuple[int, int, int]


class ShardImage(NamedTuple):
    """One canonical image on its way into a shard.

    Attributes:
        image_id: Digest of the original bytes, in hex.
        pixels: ``uint8`` of shape (height, width, channels).
        label: The label of the entry it came from, if there is one.
    """

    image_id: str
    pixels: np.ndarray
    label: str | None


class Record(NamedTuple):
    """One image as it lies in a shard.

    Attributes:
        image_id: Digest of the original bytes, in hex.
        data: Its pixels, row by row.
        label: Its label, if there is one.
    """

    image_id: str
    data: bytes
    label: str | None


def encode(image: ShardImage) -> bytes:
    """Return the record of ``image``."""
    before, between, after = _around(image.pixels.shape, image.label)
    image_id = image.image_id.encode()
    assert len(image_id) == ID_LENGTH, image_id
    return b"".join((before, image.pixels.tobytes(), between, image_id, after))


class Decoder:
    """Takes the records of one shard apart.

    Attributes:
        shape: (height, width, channels), as the first record says.
    """

    def __init__(self, first: bytes) -> None:
        """Learn from the ``first`` record how all are built.

        Raises:
            KeyError, ValueError: It is not the record of an image.
        """
        found: dict = tfrecord.decode_example(first)
        self.shape: Shape = (found["height"], found["width"], found["channels"])
        self._size = int(np.prod(self.shape))
        before, self._between, _ = _around(self.shape, None)
        self._before = before[before.index(_FIRST_NAME) :]
        self._labels: dict[bytes, str | None] = {}

    def __call__(self, payload: bytes) -> Record:
        """Return what ``payload`` holds.

        Raises:
            KeyError, ValueError: It is not the record of an image.
        """
        image = payload.find(self._before, 0, len(self._before) + MOST_LENGTHS)
        image += len(self._before)
        behind = image + self._size
        place = behind + len(self._between)
        end = place + ID_LENGTH
        alike = image >= len(self._before) and payload[behind:place] == self._between
        if not alike:
            return _decode(payload)
        after = payload[end:]
        if after not in self._labels:
            self._labels[after] = _decode(payload).label
        data, image_id = payload[image:behind], payload[place:end].decode()
        return Record(image_id, data, self._labels[after])


def _decode(payload: bytes) -> Record:
    found: dict = tfrecord.decode_example(payload)
    label = found.get("label")
    text = None if label is None else label.decode()
    return Record(found["image_id"].decode(), found["image"], text)


_FIRST_NAME = b"channels"
"""Features stand in the order of their names; what comes before this is lengths."""
MOST_LENGTHS = 16
"""So many bytes of lengths stand before it, at most."""


@functools.lru_cache(maxsize=256)
def _around(shape: Shape, label: str | None) -> tuple[bytes, bytes, bytes]:
    """Return what stands around pixels and id in a record of this shape and label."""
    height, width, channels = shape
    pixels, image_id = b"\0" * (height * width * channels), b"\xff" * ID_LENGTH
    features: dict[str, tfrecord.Feature] = {
        "image": pixels,
        "image_id": image_id,
        "height": height,
        "width": width,
        "channels": channels,
    }
    if label is not None:
        features["label"] = label.encode()
    before, rest = tfrecord.encode_example(features).split(pixels, 1)
    between, after = rest.split(image_id, 1)
    return before, between, after
