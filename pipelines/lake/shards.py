"""Shards: TFRecords of canonical images, and the inventory beside each of them.

A shard is written first and its inventory last, so a chunk whose inventory stands is
done. The inventory has one row for each entry of the chunk, rejections included.
"""

from collections.abc import Iterable, Iterator
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from models import tfrecord
from pipelines.errors import ArtifactMismatch
from pipelines.lake import shard_records, store
from pipelines.lake.shard_records import Decoder, ShardImage

FORMAT_VERSION = 1
_VERSION = b"latentlake.format_version"
_BLANK = b"latentlake.blank"
_SHARD_BYTES = b"latentlake.shard_bytes"

INVENTORY_SCHEMA = pa.schema(
    [
        pa.field("source_uri", pa.string(), nullable=False),
        pa.field("image_id", pa.string()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("label", pa.string()),
        pa.field("split", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("format", pa.string()),
        pa.field("bytes", pa.int64()),
        pa.field("modified", pa.int64()),
        pa.field("etag", pa.string()),
        pa.field("shard", pa.string()),
        pa.field("row", pa.int32()),
    ]
)
"""One row for each entry of a chunk; outcome is decoded, known or rejected."""


class Shard(NamedTuple):
    """The content of a shard, in its order.

    Attributes:
        image_ids: Digests of the original bytes, in hex.
        pixels: ``uint8`` of shape (images, height, width, channels).
        labels: Labels, where there are any.
    """

    image_ids: list[str]
    pixels: np.ndarray
    labels: list[str | None]


class Inventory(NamedTuple):
    """What became of a chunk.

    Attributes:
        rows: One row for each entry (:data:`INVENTORY_SCHEMA`).
        blank: How many of its decoded images are of one single colour.
        shard_bytes: Size of the shard beside it; 0 where no image was decoded.
    """

    rows: pa.Table
    blank: int
    shard_bytes: int


def write_shard(path: str, images: Iterable[ShardImage]) -> int:
    """Write ``images`` to the shard at ``path`` as they come; return its bytes.

    No file is written where there are no images.
    """
    coming = iter(images)
    first = next(coming, None)
    if first is None:
        return 0
    with store.aside(path) as file:
        tfrecord.write_frames(file, _payloads(first, coming))
        return _written(file)


def _payloads(first: ShardImage, rest: Iterator[ShardImage]) -> Iterator[bytes]:
    yield shard_records.encode(first)
    for image in rest:
        yield shard_records.encode(image)


def _written(file: IO[bytes]) -> int:
    file.flush()
    return file.tell()


def read_shard(path: str) -> Shard:
    """Return the images of the shard at ``path``; its checksums are checked.

    Raises:
        ArtifactMismatch: The file is damaged, or not a shard.
    """
    image_ids: list[str] = []
    labels: list[str | None] = []
    planes: list[bytes] = []
    decode = None
    try:
        for payload in tfrecord.read_frames(store.read_bytes(path), path):
            decode = decode or Decoder(bytes(payload))
            record = decode(bytes(payload))
            image_ids.append(record.image_id)
            labels.append(record.label)
            planes.append(record.data)
        shape = decode.shape if decode else (0, 0, 0)
        pixels = np.frombuffer(b"".join(planes), np.uint8)
        pixels = pixels.reshape(len(planes), *shape)
    except (ValueError, KeyError) as error:
        said = str(error).removeprefix(f"{path}: ").partition(". ")[0]
        raise ArtifactMismatch(
            f"{path}: this shard cannot be read: {said}. Delete it together with "
            "the .parquet file beside it, and run ingest for its night again."
        ) from error
    return Shard(image_ids, pixels, labels)


def inventory_file(shard: str) -> str:
    """Return the path of the inventory beside the shard at ``shard``."""
    return shard.removesuffix(".tfrecord") + ".parquet"


def write_inventory(path: str, inventory: Inventory) -> None:
    """Put the inventory of a chunk at ``path``, which makes the chunk done."""
    facts = {
        _VERSION: str(FORMAT_VERSION),
        _BLANK: str(inventory.blank),
        _SHARD_BYTES: str(inventory.shard_bytes),
    }
    with store.aside(path) as file:
        parquet.write_table(
            inventory.rows.replace_schema_metadata(facts), file, compression="zstd"
        )


def read_inventory(path: str) -> Inventory:
    """Return the inventory at ``path``.

    Raises:
        ArtifactMismatch: It is damaged, or of a newer format.
    """
    try:
        table = parquet.read_table(pa.BufferReader(store.read_bytes(path)))
        facts = table.schema.metadata
        version = int(facts[_VERSION])
        rows = table.replace_schema_metadata(None).cast(INVENTORY_SCHEMA)
        inventory = Inventory(rows, int(facts[_BLANK]), int(facts[_SHARD_BYTES]))
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise ArtifactMismatch(
            f"{path}: this inventory cannot be read: {error}. Delete it and run "
            "ingest for its night again."
        ) from error
    if version > FORMAT_VERSION:
        raise ArtifactMismatch(
            f"{path}: is of format version {version}, and this latentlake reads up "
            f"to {FORMAT_VERSION}. Install the version that wrote it, or a newer one."
        )
    return inventory


def standing(shard: str, entries: int) -> Inventory | None:
    """Return the inventory beside ``shard`` where the chunk is done, else ``None``.

    It is done where its inventory has a row for each of the ``entries`` and the shard
    has the size that the inventory says, with every checksum right.
    """
    path = inventory_file(shard)
    if not store.exists(path):
        return None
    try:
        inventory = read_inventory(path)
        whole = inventory.rows.num_rows == entries
        return inventory if whole and _shard_stands(shard, inventory) else None
    except (ArtifactMismatch, FileNotFoundError, ValueError):
        return None


def _shard_stands(shard: str, inventory: Inventory) -> bool:
    if inventory.shard_bytes == 0:
        return True
    data = store.read_bytes(shard)
    if len(data) != inventory.shard_bytes:
        return False
    return all(True for _ in tfrecord.read_frames(data, shard))
