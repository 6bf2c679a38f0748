"""Write the normalised examples of one shard: a file for each split."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import tfrecord
from models.spec import IMAGE, IMAGE_ID, LABEL
from pipelines.engine import parts
from pipelines.engine.parts import Part
from pipelines.lake import store
from pipelines.lake.layout import Lake

if TYPE_CHECKING:
    from pipelines.stages.transform_fitted import Fitted  # imports TensorFlow

SPLITS = ("train", "eval")
BATCH = 256


class ExamplePlan(NamedTuple):
    """What a worker is told: plain values, since they are pickled.

    Attributes:
        lake: The places of the dataset.
        corpus: File of the corpus list; its column ``example`` says what is written.
        transform_id: The fitted transform.
    """

    lake: Lake
    corpus: str
    transform_id: str

    @property
    def folder(self) -> str:
        """The transform's folder."""
        return self.lake.transform(self.transform_id)

    def file(self, part: Part, split: str) -> str:
        """Return the path of the part's examples of ``split``."""
        return f"{self.lake.examples(self.transform_id, split)}/{part.stem}.tfrecord"


class ExampleTally(NamedTuple):
    """How many examples of a part stand.

    Attributes:
        train: Those to train on.
        eval: Those held out.
        written: How many of them were written now.
    """

    train: int
    eval: int
    written: int


def write_part(part: Part, plan: ExamplePlan, fitted: "Fitted") -> ExampleTally:
    """Write the examples of ``part``; a file that holds them already is left alone."""
    lacking = {}
    counts = dict.fromkeys(SPLITS, 0)
    rows = parts.rows_of(plan.corpus, part)
    for split in SPLITS:
        wanted = pc.and_(pc.equal(rows["split"], split), rows["example"])
        mine = rows.filter(wanted)
        counts[split] = mine.num_rows
        if mine.num_rows and not _stands(plan.file(part, split), mine):
            lacking[split] = mine
    if lacking:
        shard = parts.read_shard(plan.lake, part, rows)
        fitted.check(shard.pixels, part.shard)
        for split, mine in lacking.items():
            with store.aside(plan.file(part, split)) as file:
                tfrecord.write_frames(file, _payloads(mine, shard.pixels, fitted))
    written = sum(mine.num_rows for mine in lacking.values())
    return ExampleTally(**counts, written=written)


def _payloads(rows: pa.Table, pixels: np.ndarray, fitted: "Fitted") -> Iterator[bytes]:
    places = np.asarray(rows["row"])
    ids = rows["image_id"].to_pylist()
    labels = rows["label"].to_pylist()
    for start in range(0, len(places), BATCH):
        batch = fitted.apply(pixels[places[start : start + BATCH]])
        for number, values in enumerate(batch, start):
            features = {IMAGE: values.ravel(), IMAGE_ID: ids[number].encode()}
            if labels[number] is not None:
                features[LABEL] = labels[number].encode()
            yield tfrecord.encode_example(features)


def _stands(path: str, rows: pa.Table) -> bool:
    """Return whether the file at ``path`` holds these images with these labels."""
    if not store.exists(path):
        return False
    found = []
    try:
        for payload in tfrecord.read_frames(store.read_bytes(path), path):
            example = tfrecord.decode_example(payload)
            label = example.get(LABEL)
            text = label.decode() if isinstance(label, bytes) else None
            found.append((bytes(example[IMAGE_ID]).decode(), text))
    except (ValueError, KeyError, TypeError):
        return False
    wanted = zip(rows["image_id"].to_pylist(), rows["label"].to_pylist(), strict=True)
    return found == list(wanted)
