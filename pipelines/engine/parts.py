"""The corpus as work: for each shard, the range of its rows in the run's list."""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import ArtifactMismatch
from pipelines.lake import inventory, ranges, shards, store
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.lake.shards import Shard


class Part(NamedTuple):
    """The rows of one shard in the list of the corpus, which is sorted by shard.

    Attributes:
        shard: The shard's name, as the image table has it.
        start: First row.
        stop: One past the last row.
    """

    shard: str
    start: int
    stop: int

    @property
    def night(self) -> str:
        """The night whose images the shard holds."""
        return self.shard.split("/")[-2]

    @property
    def stem(self) -> str:
        """The name of what is made from the shard: its night and its digest."""
        digest = self.shard.rsplit("/", 1)[-1].removesuffix(".tfrecord")
        return f"{self.night}-{digest}"


def corpus(run: Run) -> tuple[str, pa.Table]:
    """Return the run's list of accepted images, and where it stands.

    It is written once, so that a retry works on the same images.
    """
    path = run.path("corpus.arrow")
    if not store.exists(path):
        found = inventory.corpus(run)
        ranges.write(
            path, found.sort_by([("shard", "ascending"), ("row", "ascending")])
        )
    return path, ranges.read(path)


def parts_of(table: pa.Table) -> list[Part]:
    """Return the parts of ``table``, which is sorted by shard."""
    if table.num_rows == 0:
        return []
    ends = pc.run_end_encode(table["shard"].combine_chunks())
    starts = [0, *ends.run_ends.to_pylist()]
    names = ends.values.to_pylist()
    return [
        Part(name, start, stop)
        for name, start, stop in zip(names, starts[:-1], starts[1:], strict=True)
    ]


def rows_of(path: str, part: Part) -> pa.Table:
    """Return the part's rows of the corpus list at ``path``."""
    return ranges.read(path, part.start, part.stop)


def read_shard(lake: Lake, part: Part, rows: pa.Table) -> Shard:
    """Return the shard of ``part``, which must hold what ``rows`` say.

    Raises:
        ArtifactMismatch: It holds other images.
    """
    file = lake.shard_file(part.shard)
    shard = shards.read_shard(file)
    places = rows["row"].to_pylist()
    wanted = rows["image_id"].to_pylist()
    last = len(shard.image_ids)
    if [shard.image_ids[place] for place in places if place < last] != wanted:
        raise _mismatch(file)
    return shard


def _mismatch(file: str) -> ArtifactMismatch:
    return ArtifactMismatch(
        f"{file}: does not hold the images that the image table says. Delete it "
        "together with the .parquet file beside it, and run ingest for its night again."
    )
