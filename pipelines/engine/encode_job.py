"""The Beam job of encode: one shard in, one file of latents out."""

from collections.abc import Iterator

import apache_beam as beam

from pipelines.engine import encoding, options, tally
from pipelines.engine.encoding import EncodePlan, EncodeTally
from pipelines.engine.job import Job
from pipelines.engine.parts import Part


def prepare(plan: EncodePlan) -> None:
    """Load the encoder here, so that an unsound one is told before any work.

    Raises:
        ArtifactMismatch: It is not what its card says, or is for other images.
    """
    encoding.load(plan)


def run(found: list[Part], plan: EncodePlan, job: Job, tallies: str) -> None:
    """Encode the shard of every one of ``found``; files that stand are left alone.

    What became of them is added up at ``tallies``.
    """
    with options.pipeline(job) as p:
        (
            p
            | "Shards" >> beam.Create(found)
            | "Spread" >> beam.Reshuffle()
            | "Encode" >> beam.ParDo(EncodeShard(plan))
            | "Tally" >> tally.WriteTally(tallies)
        )


class EncodeShard(beam.DoFn):
    """Encode one shard into one file of latents."""

    def __init__(self, plan: EncodePlan) -> None:
        self._plan = plan  # plain values only: this is pickled

    def setup(self) -> None:
        encoding.load(self._plan)  # once per process, kept for all shards

    def process(self, part: Part) -> Iterator[EncodeTally]:
        yield encoding.encode_shard(part.shard, part.stem, self._plan)
