"""Screen one chunk of due entries: read, judge, decode once, write its shard."""

import hashlib
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines import config
from pipelines.config import ImageSettings, SourceSettings
from pipelines.lake import ranges, shards, store
from pipelines.lake.layout import Lake
from pipelines.lake.shards import Inventory, ShardImage
from pipelines.media import image as media
from pipelines.records import Chunk, ChunkTally, Entry, Rejection
from pipelines.sources import registry
from pipelines.sources.registry import Source

CHUNK_BYTES = 128 * 2**20
"""So many bytes of canonical images are the most that one shard holds."""
MIN_ENTRIES = 16
DIGEST_BYTES = 32

ENTRY_SCHEMA = pa.schema(
    [
        ("source_uri", pa.string()),
        ("bytes", pa.int64()),
        ("modified", pa.int64()),
        ("etag", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("container", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
    ]
)
"""An :class:`Entry` as a row."""


class ScreenPlan(NamedTuple):
    """What a worker is told of the night: plain values, since they are pickled.

    Attributes:
        lake: The places of the dataset.
        night: The night that the shards belong to.
        source: Where the entries are read from.
        image: What makes an image canonical.
        known: File of the digests of known images, or ``None`` where there are none.
    """

    lake: Lake
    night: str
    source: SourceSettings
    image: ImageSettings
    known: str | None

    def shard(self, chunk: Chunk) -> str:
        """Return the name of the chunk's shard, as the image table has it."""
        spec = config.image_spec_id(self.image)
        return f"{spec}/{self.night}/{chunk.digest}.tfrecord"


def chunks_of(due: pa.Table, path: str, size: int, spec_id: str) -> list[Chunk]:
    """Return the chunks of ``due``, which stands at ``path``, by ranges of ``size``.

    A chunk's digest is that of its entries and of the image spec.
    """
    rows = due.select(ENTRY_SCHEMA.names)
    found = []
    for start in range(0, rows.num_rows, size):
        part = rows.slice(start, size)
        digest = config.digest_of([spec_id, part.to_pydict()])
        found.append(Chunk(digest, path, start, start + part.num_rows))
    return found


def chunk_entries(wanted: int, image: ImageSettings) -> int:
    """Return how many entries a chunk has: ``wanted``, or fewer of large images."""
    pixels = image.height * image.width * image.channels
    return min(wanted, max(MIN_ENTRIES, CHUNK_BYTES // pixels))


def write_known(path: str, image_ids: Iterable[str]) -> None:
    """Put the sorted digests of known images at ``path`` for :func:`open_known`."""
    store.write_bytes(path, bytes.fromhex("".join(sorted(image_ids))))


def open_known(path: str | None) -> np.ndarray:
    """Return the sorted digests at ``path``; mapped into memory from a disk."""
    kind = np.dtype(f"S{DIGEST_BYTES}")
    if path is None or store.size(path) == 0:
        return np.empty(0, kind)
    if store.is_local(path):
        return np.memmap(path, kind, "r")
    return np.frombuffer(store.read_bytes(path), kind)


def is_known(known: np.ndarray, digest: bytes) -> bool:
    """Return whether ``digest`` is one of the sorted ``known``."""
    place = int(np.searchsorted(known, np.bytes_(digest)))
    return place < len(known) and bytes(known[place]) == digest.rstrip(b"\0")


class Bench(NamedTuple):
    """What a worker opens once and keeps.

    Attributes:
        source: Where the entries are read from.
        known: Sorted digests of known images.
    """

    source: Source
    known: np.ndarray


def open_bench(plan: ScreenPlan) -> Bench:
    """Open what ``plan`` names, on the machine where the work is."""
    return Bench(registry.open_source(plan.source), open_known(plan.known))


def screen_chunk(chunk: Chunk, plan: ScreenPlan, bench: Bench) -> ChunkTally:
    """Make the shard and the inventory of ``chunk``; one that is done is left alone."""
    path = plan.lake.shard_file(plan.shard(chunk))
    done = shards.standing(path, chunk.stop - chunk.start)
    if done is not None:
        return tally_of(done, skipped=True)
    screen = _Screen(plan, plan.shard(chunk), bench)
    entries = read_entries(chunk)
    written = shards.write_shard(path, screen.images(entries))
    inventory = Inventory(screen.table(), screen.blank, written)
    shards.write_inventory(shards.inventory_file(path), inventory)
    return tally_of(inventory, skipped=False)


def read_entries(chunk: Chunk) -> list[Entry]:
    """Return the entries of ``chunk``."""
    table = ranges.read(chunk.due, chunk.start, chunk.stop).select(ENTRY_SCHEMA.names)
    return list(map(Entry._make, zip(*table.to_pydict().values(), strict=True)))


def tally_of(inventory: Inventory, *, skipped: bool) -> ChunkTally:
    """Return the counts of one chunk's ``inventory``."""
    outcomes = inventory.rows["outcome"].to_pylist()
    return ChunkTally(
        entries=len(outcomes),
        decoded=outcomes.count("decoded"),
        known=outcomes.count("known"),
        rejected=outcomes.count("rejected"),
        blank=inventory.blank,
        skipped=skipped,
    )


def is_blank(pixels: np.ndarray) -> bool:
    """Return whether all of ``pixels`` (height, width, channels) are of one colour."""
    data = pixels.tobytes()
    channels = pixels.shape[2]
    return data == data[:channels] * (len(data) // channels)


def too_large(entry: Entry, limit: int) -> Rejection | None:
    """Return why ``entry`` is not read at all, judged by its listed size."""
    inside = entry.container not in ("", entry.source_uri)
    size = entry.length if inside else entry.bytes
    return None if size is None else _over(size, limit)


def _over(size: int, limit: int) -> Rejection | None:
    if size <= limit:
        return None
    return Rejection("too_many_bytes", f"{size} bytes; the limit is {limit}")


class _Screen:
    """The rows of a chunk's inventory, gathered while its images are written."""

    def __init__(self, plan: ScreenPlan, shard: str, bench: Bench) -> None:
        self._plan = plan
        self._limit = plan.image.max_bytes
        self._shard = shard
        self._source = bench.source
        self._known = bench.known
        self._seen: dict[str, _Said] = {}
        self._rows: list[tuple] = []
        self.blank = 0

    def images(self, entries: list[Entry]) -> Iterator[ShardImage]:
        """Yield each image that is decoded; every entry leaves a row."""
        readable = []
        for entry in entries:
            over = too_large(entry, self._limit)
            if over is None:
                readable.append(entry)
            else:
                self._reject(entry, None, over)
        for entry, data in self._source.read(readable):
            image = self._judge(entry, data)
            if image is not None:
                yield image

    def table(self) -> pa.Table:
        """Return the rows, in the order of their URIs."""
        self._rows.sort(key=itemgetter(0))
        columns = zip(*self._rows, strict=True) if self._rows else iter(())
        arrays = [
            pa.array(values, field.type)
            for values, field in zip(columns, shards.INVENTORY_SCHEMA, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=shards.INVENTORY_SCHEMA)

    def _judge(self, entry: Entry, data: bytes | Rejection) -> ShardImage | None:
        if isinstance(data, Rejection):
            self._reject(entry, None, data)
            return None
        if entry.bytes is None:
            entry = entry._replace(bytes=len(data))
        digest = hashlib.sha256(data)
        image_id = digest.hexdigest()
        said = self._seen.get(image_id)
        if said is None and len(self._known) and is_known(self._known, digest.digest()):
            said = _KNOWN
        if said is None:
            return self._decode(entry, image_id, data)
        self._keep(entry, image_id, said)
        return None

    def _decode(self, entry: Entry, image_id: str, data: bytes) -> ShardImage | None:
        over = _over(len(data), self._limit)
        found = over or media.canonicalise(data, self._plan.image)
        if isinstance(found, Rejection):
            self._reject(entry, image_id, found)
            return None
        self.blank += is_blank(found.pixels)
        place = (self._shard, len(self._seen))
        said = _Said("decoded", found.width, found.height, found.format, *place)
        self._seen[image_id] = said
        self._keep(entry, image_id, said)
        return ShardImage(image_id, found.pixels, entry.label)

    def _keep(self, entry: Entry, image_id: str, said: "_Said") -> None:
        row = _row(entry, image_id, said.outcome)
        self._rows.append((*row, *said[1:4], *_stamp(entry), *said[4:]))

    def _reject(self, entry: Entry, image_id: str | None, why: Rejection) -> None:
        detail = why.detail.encode(errors="replace").decode()
        row = _row(entry, image_id, "rejected", why.reason, detail)
        self._rows.append((*row, None, None, None, *_stamp(entry), None, None))


class _Said(NamedTuple):
    """What a row says of an image, beside the words of its entry."""

    outcome: str
    width: int | None
    height: int | None
    format: str | None
    shard: str | None
    row: int | None


_KNOWN = _Said("known", None, None, None, None, None)


def _row(
    entry: Entry,
    image_id: str | None,
    outcome: str,
    reason: str | None = None,
    detail: str | None = None,
) -> tuple:
    uri = entry.source_uri
    return (uri, image_id, outcome, reason, detail, entry.label, entry.split)


def _stamp(entry: Entry) -> tuple:
    return (entry.bytes, entry.modified, entry.etag)
