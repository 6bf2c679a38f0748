"""Write the normalised examples of one shard: a file for each split."""

import hashlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import tfrecord
from models.spec import IMAGE, IMAGE_ID, LABEL
from pipelines.engine import parts
from pipelines.engine.parts import Part
from pipelines.lake import store
from pipelines.lake.layout import Lake
from pipelines.stages import examples_list
from pipelines.stages.examples_list import SPLITS, ExampleFile

if TYPE_CHECKING:
    from pipelines.stages.transform_fitted import Fitted  # imports TensorFlow

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
    """What became of a part.

    Attributes:
        files: Its files, which stand now.
        skipped: Whether all of them stood before.
    """

    files: list[ExampleFile]
    skipped: bool


class Written(NamedTuple):
    """Where a job leaves word of what it wrote.

    Attributes:
        files: The list of all files of examples.
        tally: How many parts there were, and how many were done before.
    """

    files: str
    tally: str


def write_part(part: Part, plan: ExamplePlan, fitted: "Fitted") -> ExampleTally:
    """Write the examples of ``part``; a file that holds them already is left alone."""
    lacking = {}
    files = []
    rows = parts.rows_of(plan.corpus, part)
    for split in SPLITS:
        wanted = pc.and_(pc.equal(rows["split"], split), rows["example"])
        mine = rows.filter(wanted)
        if not mine.num_rows:
            continue
        standing = _standing(part, plan, split, mine)
        if standing is None:
            lacking[split] = mine
        else:
            files.append(standing)
    if lacking:
        shard = parts.read_shard(plan.lake, part, rows)
        fitted.check(shard.pixels, part.shard)
        for split, mine in lacking.items():
            with store.aside(plan.file(part, split)) as file:
                hashed = _Hashed(file)
                frames = _payloads(mine, shard.pixels, fitted)
                tfrecord.write_frames(cast("IO[bytes]", hashed), frames)
            files.append(hashed.listed(part, split))
    return ExampleTally(files, skipped=not lacking)


def write_list(tallies: list[ExampleTally], written: Written) -> None:
    """Write the list of all files of ``tallies``, and how many were done before."""
    examples_list.write(written.files, (file for one in tallies for file in one.files))
    skipped = sum(one.skipped for one in tallies)
    store.write_json(written.tally, {"shards": len(tallies), "skipped": skipped})


class _Hashed:
    """A file that knows the digest of what was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, data: Any) -> int:
        self._digest.update(data)
        self._size += len(data)
        return self._file.write(data)

    def listed(self, part: Part, split: str) -> ExampleFile:
        path = f"{split}/{part.stem}.tfrecord"
        return ExampleFile(path, self._size, self._digest.hexdigest())


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


def _standing(
    part: Part, plan: ExamplePlan, split: str, rows: pa.Table
) -> ExampleFile | None:
    """Return the part's file of ``split`` where it holds these images and labels."""
    path = plan.file(part, split)
    if not store.exists(path):
        return None
    found = []
    data = store.read_bytes(path)
    try:
        for payload in tfrecord.read_frames(data, path):
            example = tfrecord.decode_example(payload)
            label = example.get(LABEL)
            text = label.decode() if isinstance(label, bytes) else None
            found.append((bytes(example[IMAGE_ID]).decode(), text))
    except (ValueError, KeyError, TypeError):
        return None
    wanted = zip(rows["image_id"].to_pylist(), rows["label"].to_pylist(), strict=True)
    if found != list(wanted):
        return None
    name = f"{split}/{part.stem}.tfrecord"
    return ExampleFile(name, len(data), hashlib.sha256(data).hexdigest())
