"""Samples of the corpus, chosen by hash and read from their shards."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.pca import Pixels
from pipelines.lake import shards
from pipelines.lake.layout import Lake

HOLD_BYTES = 512 * 2**20
"""Samples up to this size are kept in memory after their first reading."""
BATCH_BYTES = 16 * 2**20


class Sample:
    """Images of the corpus, a batch at a time, in the order of their shards."""

    def __init__(self, lake: Lake, rows: pa.Table) -> None:
        self.rows = rows
        self._lake = lake
        self._held: list[Pixels] | None = None

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def column(self, name: str) -> list[str | None]:
        """Return one column of the corpus."""
        return list(self.rows.column(name).to_pylist())

    def batches(self) -> Iterator[Pixels]:
        """Yield the images as ``uint8`` of shape ``(n, h, w, c)``."""
        if self._held is not None:
            yield from self._held
            return
        held: list[Pixels] | None = []
        size = 0
        for pixels in self._read():
            size += pixels.nbytes
            held = None if held is None or size > HOLD_BYTES else [*held, pixels]
            yield pixels
        self._held = held

    def pick(self, wanted: list[int]) -> Pixels:
        """Return the images at the places ``wanted``, in that order."""
        found: dict[int, Pixels] = {}
        start = 0
        for pixels in self.batches():
            for place in wanted:
                if start <= place < start + len(pixels):
                    found[place] = pixels[place - start]
            start += len(pixels)
        return np.stack([found[place] for place in wanted])

    def _read(self) -> Iterator[Pixels]:
        names = np.array(self.column("shard"), dtype=object)
        places = self.rows.column("row").to_numpy()
        edges = np.flatnonzero(names[1:] != names[:-1]) + 1
        for part in np.split(np.arange(len(names)), edges):
            if not len(part):
                return
            shard = shards.read_shard(self._lake.shard_file(str(names[part[0]])))
            pixels = shard.pixels[places[part]]
            at_once = max(1, BATCH_BYTES // pixels[0].nbytes)
            for start in range(0, len(pixels), at_once):
                yield pixels[start : start + at_once]


def choose(corpus: pa.Table, split: str, most: int) -> pa.Table:
    """Return the images of ``split``, at most ``most`` of them by stable hash.

    The order of ``corpus``, by shard and row, is kept. The hash is the tail of the
    image's own digest: the split is decided by its head.
    """
    rows = corpus.filter(pc.equal(corpus.column("split"), split))
    if rows.num_rows <= most:
        return rows
    places = ranks(rows)
    return rows.filter(pa.array(places < most))


def ranks(rows: pa.Table) -> np.ndarray:
    """Return for each row its place in the order of the hash."""
    tails = np.array([image_id[32:] for image_id in rows["image_id"].to_pylist()])
    places = np.empty(len(tails), dtype=np.int64)
    places[np.argsort(tails, kind="stable")] = np.arange(len(tails))
    return places
