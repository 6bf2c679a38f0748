"""The Beam job of ingest: one chunk of entries in, one shard out."""

import dataclasses
from collections.abc import Iterator

import apache_beam as beam

from pipelines.engine import options, screening, tally
from pipelines.engine.job import Job
from pipelines.engine.screening import ScreenPlan
from pipelines.records import Chunk, ChunkTally


def run(chunks: list[Chunk], plan: ScreenPlan, job: Job, tallies: str) -> None:
    """Screen every one of ``chunks``; those that are done are left alone.

    What became of them is added up at ``tallies``.
    """
    with options.pipeline(job) as p:
        (
            p
            | "Chunks" >> beam.Create(chunks)
            | "Spread" >> beam.Reshuffle()
            | "Screen" >> ScreenChunks(plan)
            | "Tally" >> tally.WriteTally(tallies)
        )


@dataclasses.dataclass(eq=False)
class ScreenChunks(beam.PTransform):
    """Part sound images from unsound ones; nothing is dropped in silence."""

    plan: ScreenPlan

    def expand(self, chunks: beam.PCollection) -> beam.PCollection:
        return chunks | "ScreenChunk" >> beam.ParDo(ScreenChunk(self.plan))


class ScreenChunk(beam.DoFn):
    """Screen one chunk into a shard and its inventory."""

    def __init__(self, plan: ScreenPlan) -> None:
        self._plan = plan  # plain values only: this is pickled

    def setup(self) -> None:
        self._bench = screening.open_bench(self._plan)

    def process(self, chunk: Chunk) -> Iterator[ChunkTally]:
        yield screening.screen_chunk(chunk, self._plan, self._bench)
