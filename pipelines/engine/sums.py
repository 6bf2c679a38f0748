"""Statistics of a corpus of any size, added up in Beam: one file is one element.

The total is that of ``models.sums`` to the last bit, since the batches are the same and
their additions exact, in whatever order workers make them.
"""

import contextlib
import io
import pickle
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import apache_beam as beam
import numpy as np

from models import layers as _layers  # noqa: F401 - registered, for models sent here
from models import sums
from models.data import Examples
from models.spec import ImageShape
from models.sums import Statistic, Summed, Terms
from pipelines.engine import beats, options
from pipelines.engine.job import Job
from pipelines.errors import ArtifactMismatch
from pipelines.lake import nearby, store
from pipelines.lake.nearby import FarFile


class Part(NamedTuple):
    """Examples of one file.

    Attributes:
        file: The file in a lake that every worker sees; one in a bucket is fetched.
        rows: Which of its records count.
    """

    file: str | FarFile
    rows: np.ndarray


class SumPlan(NamedTuple):
    """What a worker is told: plain values, since they are pickled.

    Attributes:
        statistic: What is added up, pickled.
        shape: The shape of every image.
        images: How many there are in all; it sets what terms are rounded to.
        beats: The folder in which workers show that they are at work.
    """

    statistic: bytes
    shape: ImageShape
    images: int
    beats: str


def over_files(job: Job, far: Mapping[str, FarFile]) -> Summed:
    """Return a way to add up a statistic in a job of Beam.

    Args:
        job: Says where it runs; its folder holds a total until it is read.
        far: Where files in a bucket are, by the path of their copy on this machine.
    """

    def summed(statistic: Statistic, examples: Examples, most: int | None) -> Terms:
        rows = sums.chosen(examples, most)
        if not len(rows):
            return sums.total([], 0)
        parts = [
            Part(far.get(one.path, one.path), one.rows)
            for one in examples.by_file(rows)
        ]
        path = f"{job.folder}-sum.npz"
        with beats.telling(job.part("sum")) as (sent, folder):
            told = pickle.dumps(statistic)
            plan = SumPlan(told, examples.shape, len(rows), folder)
            _run(parts, plan, sent, path)
        return _take(path)

    return summed


def _run(parts: list[Part], plan: SumPlan, job: Job, path: str) -> None:
    with options.pipeline(job) as p:
        (
            p
            | "Files" >> beam.Create(parts)
            | "Spread" >> beam.Reshuffle()
            | "AddUpFile" >> beam.ParDo(AddUpFile(plan))
            | "AddUp" >> beam.CombineGlobally(Total())
            | "Write" >> beam.Map(_write, path)
        )


class AddUpFile(beam.DoFn):
    """Add up a statistic over the examples of one file."""

    def __init__(self, plan: SumPlan) -> None:
        self._plan = plan  # plain values only: this is pickled

    def setup(self) -> None:
        with _LOADING:  # Keras builds one model at a time
            self._statistic = pickle.loads(self._plan.statistic)
        self._beat = beats.Beat(self._plan.beats)

    def process(self, part: Part) -> Iterator[Terms]:
        yield self._total(part)
        self._beat.add()

    def _total(self, part: Part) -> Terms:
        try:
            with _at_hand(part.file) as path:
                examples = Examples([path], self._plan.shape)
                terms = sums.of_rows(self._statistic, examples, part.rows)
                return sums.total(terms, self._plan.images)
        except ValueError as error:
            raise ArtifactMismatch(str(error)) from error


_LOADING = threading.Lock()


class Total(beam.CombineFn):
    """Totals of parts to the total of all; nothing, before there is a part."""

    def create_accumulator(self) -> Terms | None:
        return None

    def add_input(self, total: Terms | None, terms: Terms) -> Terms:
        return terms if total is None else sums.add(total, terms)

    def merge_accumulators(self, totals: Iterable[Terms | None]) -> Terms | None:
        whole = None
        for one in totals:
            whole = whole if one is None else self.add_input(whole, one)
        return whole

    def extract_output(self, total: Terms | None) -> Terms | None:
        return total


@contextlib.contextmanager
def _at_hand(file: str | FarFile) -> Iterator[str]:
    if isinstance(file, str):
        yield file
        return
    with nearby.files([file]) as (path,):
        yield path


def _write(total: Terms, path: str) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, *total)
    with store.aside(path) as file:
        file.write(buffer.getbuffer())


def _take(path: str) -> Terms:
    """Return the total at ``path`` and delete it."""
    with np.load(io.BytesIO(store.read_bytes(path)), allow_pickle=False) as file:
        found = tuple(file[f"arr_{place}"] for place in range(len(file.files)))
    store.delete(path)
    return found
