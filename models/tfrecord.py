"""TFRecord files and the tf.Example records in them, without TensorFlow.

A file is a row of frames: length (8 bytes), masked CRC-32C of the length, payload,
masked CRC-32C of the payload. Records are read by protobuf with a description of
our own, in which a list of floats is declared as bytes: the same bytes on the wire as
packed floats, and no work per float. They are written field by field: ingest writes
one an image, and building protobuf's objects for each cost more than the rest of it.
"""

import functools
import struct
from collections.abc import Iterable, Iterator, Mapping
from mmap import mmap
from typing import IO, Any, NamedTuple

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

Feature = bytes | int | np.ndarray
Buffer = bytes | bytearray | memoryview | mmap

_HEAD = struct.Struct("<QI")
_TAIL = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = b"\x0a", b"\x12", b"\x1a"
_MASK_DELTA = 0xA282EAD8


class Frame(NamedTuple):
    """Where one payload lies in its file.

    Attributes:
        start: First byte of the payload.
        length: Bytes of the payload; its checksum follows.
    """

    start: int
    length: int


def write_frames(file: IO[bytes], payloads: Iterable[bytes]) -> None:
    """Append each of ``payloads`` to ``file`` as a frame."""
    for payload in payloads:
        tail = _TAIL.pack(_masked_crc(payload))
        file.write(b"".join((_head(len(payload)), payload, tail)))


@functools.lru_cache(maxsize=1024)
def _head(length: int) -> bytes:
    """Return what stands before a payload of ``length`` bytes."""
    data = _LENGTH.pack(length)
    return data + _TAIL.pack(_masked_crc(data))


def read_frames(data: Buffer, where: str) -> Iterator[memoryview]:
    """Yield the payload of each frame in ``data``; both checksums are checked.

    Raises:
        ValueError: A frame is damaged or cut short; the message names ``where`` and
            the record.
    """
    view = _view_of(data)
    for number, frame in enumerate(frames(view, where)):
        yield payload_of(view, frame, where, number)


def frames(data: Buffer, where: str) -> Iterator[Frame]:
    """Yield where each payload lies, by the lengths alone; payloads are not read.

    Raises:
        ValueError: A length is damaged, or the file ends within a record.
    """
    view = _view_of(data)
    place = number = 0
    while place < len(view):
        head = view[place : place + _HEAD.size]
        if len(head) < _HEAD.size:
            raise _damaged(where, number, "the file ends within its length")
        length, crc = _HEAD.unpack(head)
        if crc != _masked_crc(bytes(head[:8])):
            raise _damaged(where, number, "the checksum of its length is wrong")
        start = place + _HEAD.size
        place = start + length + _TAIL.size
        if place > len(view):
            raise _damaged(where, number, "the file ends within it")
        yield Frame(start, length)
        number += 1


def payload_of(data: memoryview, frame: Frame, where: str, number: int) -> memoryview:
    """Return the payload of ``frame``, checked.

    Raises:
        ValueError: The payload does not have its checksum.
    """
    end = frame.start + frame.length
    payload = bytes(data[frame.start : end])  # the checksum is of bytes only
    if _TAIL.unpack_from(data, end)[0] != _masked_crc(payload):
        raise _damaged(where, number, "the checksum of its content is wrong")
    return memoryview(payload)


def encode_example(features: Mapping[str, Feature]) -> bytes:
    """Return ``features`` as a serialised tf.Example, the same bytes each time.

    ``bytes`` become a bytes list of one, an ``int`` an int64 list of one, an array a
    list of its values as float32. Features stand in the order of their names. Written
    by hand, without protobuf, which takes twice as long.
    """
    entries = []
    for name in sorted(features):
        value = features[name]
        if isinstance(value, np.ndarray):
            data = np.ascontiguousarray(value, "<f4").tobytes()
            entries.append(_entry(name, _FLOAT_LIST, data))
        elif isinstance(value, bytes):
            entries.append(_entry(name, _BYTES_LIST, value))
        else:
            entries.append(_int_entry(name, int(value)))
    whole = b"".join(entries)
    return b"\n" + _varint(len(whole)) + whole if entries else b""


def _entry(name: str, kind: bytes, data: bytes) -> bytes:
    """Return one entry of the map of features: each message inside the next."""
    head = b"\n" + _varint(len(data))
    head = kind + _varint(len(head) + len(data)) + head
    head = _key(name) + _varint(len(head) + len(data)) + head
    return b"".join((b"\n", _varint(len(head) + len(data)), head, data))


@functools.lru_cache(maxsize=1024)
def _int_entry(name: str, value: int) -> bytes:
    return _entry(name, _INT64_LIST, _varint(value % 2**64))


@functools.lru_cache(maxsize=1024)
def _key(name: str) -> bytes:
    data = name.encode()
    return b"\n" + _varint(len(data)) + data + b"\x12"


@functools.lru_cache(maxsize=4096)
def _varint(value: int) -> bytes:
    """Return ``value`` in groups of seven bits, the lowest first."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def decode_example(payload: bytes | memoryview) -> dict[str, Feature]:
    """Return the features of a serialised tf.Example; empty ones are left out.

    A list of floats becomes a float32 array, of other values its first one.

    Raises:
        ValueError: The payload is not a tf.Example.
    """
    try:
        example = _EXAMPLE.FromString(bytes(payload))
    except message.DecodeError as error:
        raise ValueError(f"not a tf.Example: {error}") from error
    features, found = {}, example.features.feature
    for name in found:  # its items() is slow Python
        value = _value_of(found[name])
        if value is not None:
            features[name] = value
    return features


def _value_of(feature: Any) -> Feature | None:
    kind = feature.WhichOneof("kind")
    if kind is None:
        return None
    values = getattr(feature, kind).value
    if kind == "float_list":
        return _floats(feature.float_list)
    return values[0] if values else None


def _floats(floats: Any) -> np.ndarray:
    if not floats.value and floats.ByteSize():
        raise ValueError("its floats are not packed; write it with a current protobuf")
    data = floats.value[0] if len(floats.value) == 1 else b"".join(floats.value)
    return np.frombuffer(data, "<f4")


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _view_of(data: Buffer) -> memoryview:
    return memoryview(data).toreadonly().cast("B")


def _damaged(where: str, number: int, what: str) -> ValueError:
    return ValueError(
        f"{where}: record {number} is damaged: {what}. "
        "Delete the file and run the stage that wrote it again."
    )


def _example_class() -> Any:
    """Return the message class of tf.Example, floats declared as bytes."""
    file = descriptor_pb2.FileDescriptorProto(
        name="latentlake/example.proto", package="latentlake", syntax="proto3"
    )
    for name, type_name in (("BytesList", 12), ("FloatList", 12), ("Int64List", 3)):
        part = file.message_type.add(name=name)
        part.field.add(name="value", number=1, type=type_name, label=3)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    kinds = (("bytes_list", "Bytes"), ("float_list", "Float"), ("int64_list", "Int64"))
    for number, (name, prefix) in enumerate(kinds, start=1):
        kind = f".latentlake.{prefix}List"
        feature.field.add(
            name=name, number=number, type=11, label=1, type_name=kind, oneof_index=0
        )
    _add_map(file.message_type.add(name="Features"))
    example = file.message_type.add(name="Example")
    features = ".latentlake.Features"
    example.field.add(name="features", number=1, type=11, label=1, type_name=features)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("latentlake.Example")
    return message_factory.GetMessageClass(found)


def _add_map(features: Any) -> None:
    """Give the message ``features`` its ``map<string, Feature> feature``."""
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(
        name="value", number=2, type=11, label=1, type_name=".latentlake.Feature"
    )
    entry = ".latentlake.Features.FeatureEntry"
    features.field.add(name="feature", number=1, type=11, label=3, type_name=entry)


_EXAMPLE = _example_class()
