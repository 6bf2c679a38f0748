"""The Beam jobs of transform: fit TFT's graph, and write normalised examples."""

import dataclasses
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.beam import analysis_graph_builder, analyzer_cache
from tensorflow_transform.beam.analyzer_cache import DatasetKey

from models import transform as transforms
from models.spec import ImageShape
from pipelines.engine import beats, options, parts
from pipelines.engine.analysis_cache import ReadCache, WriteCache
from pipelines.engine.job import Job
from pipelines.engine.parts import Part
from pipelines.lake import folders, store
from pipelines.lake.layout import Lake
from pipelines.stages import transform_examples as examples
from pipelines.stages import transform_fitted as fitted
from pipelines.stages import transform_graph as graph
from pipelines.stages.transform_examples import ExamplePlan, ExampleTally, Written

BATCH_BYTES = 4 * 2**20
BATCH_IMAGES = 16_384
"""So many images, of 255 squared at most, still add up in 32 bits."""
CACHE_LAST = "MANIFEST"


class FitPlan(NamedTuple):
    """What is fitted, and on what.

    Attributes:
        lake: The places of the dataset.
        corpus: File of the corpus list.
        cache: Folder of the analyzer cache in the lake.
        shape: The shape of a canonical image.
        normalise: ``per_channel`` or ``per_pixel``.
        beats: Where the workers show that they are at work.
    """

    lake: Lake
    corpus: str
    cache: str
    shape: ImageShape
    normalise: str
    beats: str = ""


def fit(plan: FitPlan, rows: pa.Table, work: str, job: Job) -> str:
    """Fit the graph on the training images among ``rows``; return its folder.

    ``work`` is an empty folder, which every worker sees. Nights that were analysed
    before are taken from the cache; what is new in it is put there when the job is
    done.
    """
    nights = training_nights(plan, rows)
    kept = os.path.join(work, "cache")
    for key in nights:
        if store.exists(f"{plan.cache}/{key}/{CACHE_LAST}"):
            folders.fetch(f"{plan.cache}/{key}", os.path.join(kept, key))
    fresh = os.path.join(work, "fresh")
    saved = os.path.join(work, "saved")
    with (
        beats.telling(job.part("fit")) as (sent, beat),
        options.pipeline(sent) as p,
        tft_beam.Context(temp_dir=os.path.join(work, "temp")),
    ):
        _analyse(p, plan._replace(beats=beat), nights, (kept, fresh), saved)
    for key in store.names(fresh):
        folders.place(os.path.join(fresh, key), f"{plan.cache}/{key}", CACHE_LAST)
    return os.path.join(saved, transforms.GRAPH)


def training_nights(plan: FitPlan, rows: pa.Table) -> dict[str, list[Part]]:
    """Return the parts that hold training images, by night.

    The key of a night stands for these very images and this very graph: a night that
    has lost an image is another one.
    """
    ids = rows["image_id"].to_pylist()
    train = pc.equal(rows["split"], "train").to_numpy(zero_copy_only=False)
    found: dict[str, list[Part]] = defaultdict(list)
    digests: dict[str, Any] = {}
    for part in parts.parts_of(rows):
        mine = [ids[row] for row in range(part.start, part.stop) if train[row]]
        if mine:
            kind = f"{graph.GRAPH_VERSION}/{plan.normalise}/{plan.shape}"
            digest = digests.setdefault(part.night, hashlib.sha256(kind.encode()))
            digest.update("\n".join([part.shard, *mine, ""]).encode())
            found[part.night].append(part)
    return {
        f"{night}-{digest.hexdigest()[:16]}": found[night]
        for night, digest in digests.items()
    }


def _analyse(
    p: beam.Pipeline,
    plan: FitPlan,
    nights: dict[str, list[Part]],
    caches: tuple[str, str],
    saved: str,
) -> None:
    """Add the analysis to ``p``: what the cache lacks is read from the shards."""
    kept, fresh = caches
    keys = {DatasetKey(name): found for name, found in nights.items()}
    preprocess = graph.preprocessing_fn(plan.shape, plan.normalise)
    cache = p | "ReadCache" >> analyzer_cache.ReadAnalysisCacheFromFS(
        kept, list(keys), source=ReadCache
    )
    lacking = analysis_graph_builder.get_analysis_dataset_keys(
        preprocess, graph.INPUT_SPEC, set(keys), cache, force_tf_compat_v1=False
    )
    data = {
        key: p | f"Images[{key.key}]" >> TrainingImages(found, plan)
        if key in lacking
        else None
        for key, found in keys.items()
    }
    transform_fn, made = (
        data,
        cache,
        graph.input_config(),
    ) | "Analyse" >> tft_beam.AnalyzeDatasetWithCache(preprocess)
    bare = {key: one._replace(metadata=None) for key, one in made.items()}
    _ = bare | "WriteCache" >> analyzer_cache.WriteAnalysisCacheToFS(
        p, fresh, sink=WriteCache
    )
    _ = transform_fn | "WriteGraph" >> tft_beam.WriteTransformFn(saved)


@dataclasses.dataclass(eq=False)
class TrainingImages(beam.PTransform):
    """The training images of some parts, as record batches for TFT."""

    found: Sequence[Part]
    plan: FitPlan

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        return (
            pipeline
            | "Parts" >> beam.Create(self.found)
            | "Spread" >> beam.Reshuffle()
            | "Read"
            >> beam.ParDo(ReadTraining(self.plan)).with_output_types(pa.RecordBatch)
        )


class ReadTraining(beam.DoFn):
    """Read the training images of one part."""

    def __init__(self, plan: FitPlan) -> None:
        self._plan = plan  # plain values only: this is pickled

    def setup(self) -> None:
        self._beat = beats.Beat(self._plan.beats)

    def process(self, part: Part) -> Iterator[pa.RecordBatch]:
        rows = parts.rows_of(self._plan.corpus, part)
        shard = parts.read_shard(self._plan.lake, part, rows)
        train = rows.filter(pc.equal(rows["split"], "train"))
        pixels = shard.pixels[np.asarray(train["row"])]
        size = max(1, min(BATCH_IMAGES, BATCH_BYTES // pixels[0].nbytes))
        for start in range(0, len(pixels), size):
            yield graph.record_batch(pixels[start : start + size])
            self._beat.add()


def write_examples(
    found: list[Part], plan: ExamplePlan, job: Job, written: Written
) -> None:
    """Write the examples of every part in ``found``; those that stand are left."""
    with beats.telling(job.part("write")) as (sent, beat), options.pipeline(sent) as p:
        (
            p
            | "Parts" >> beam.Create(found)
            | "Spread" >> beam.Reshuffle()
            | "Write" >> beam.ParDo(WriteExamples(plan, beat))
            | "Gather" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "List" >> beam.Map(examples.write_list, written)
        )


class WriteExamples(beam.DoFn):
    """Write the examples of one part: a file for each split."""

    def __init__(self, plan: ExamplePlan, beat: str) -> None:
        self._plan = plan  # plain values only: this is pickled
        self._beats = beat

    def setup(self) -> None:
        self._fitted = fitted.opened(self._plan.folder)  # once per process
        self._beat = beats.Beat(self._beats)

    def process(self, part: Part) -> Iterator[ExampleTally]:
        yield examples.write_part(part, self._plan, self._fitted)
        self._beat.add()  # also where all of it stood: no file tells of that
