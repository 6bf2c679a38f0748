"""CIFAR-10 and CIFAR-100 in their binary version: records of labels and planes."""

from collections.abc import Iterator, Sequence

import numpy as np

from pipelines.config import SourceSettings
from pipelines.errors import BadNight
from pipelines.records import Entry, Rejection, Split
from pipelines.sources.containers import (
    each_container,
    fingerprint,
    member_uri,
    only,
    pnm,
)
from pipelines.sources.files import FileInfo, Files, Roots

SIDE = 32
PIXELS = 3 * SIDE * SIDE
CIFAR100 = ("train.bin", "test.bin")
NAME_FILES = {1: "batches.meta.txt", 2: "fine_label_names.txt"}


class CifarSource:
    """``data_batch_*.bin``, ``test_batch.bin`` (10), ``train.bin``, ``test.bin`` (100).

    The label of CIFAR-100 is the fine one. Names come from ``batches.meta.txt`` or
    ``fine_label_names.txt`` beside the batches; without them labels are numbers.
    """

    def __init__(self, settings: SourceSettings) -> None:
        self._files = Files(settings.path, settings.retries)
        self._wants_labels = settings.label == "auto"

    def roots(self) -> Roots:
        return self._files.prefixes()

    def list(self) -> Iterator[Entry]:
        for batch in only(self._files, (".bin",), "CIFAR batch"):
            yield from self._records(batch)

    def _records(self, batch: FileInfo) -> Iterator[Entry]:
        folder, _, name = batch.uri.rpartition("/")
        labels = 2 if name in CIFAR100 else 1
        size = labels + PIXELS
        if not batch.bytes or batch.bytes % size:
            raise BadNight(
                f"{batch.uri}: {batch.bytes} bytes are not whole CIFAR records of "
                f"{size}. Nothing was published; fetch the file again."
            )
        names = self._label_names(f"{folder}/{NAME_FILES[labels]}")
        split: Split = "eval" if name.startswith("test") else "train"
        with self._files.open(batch.uri) as file:
            for index in range(batch.bytes // size):
                label = self._files.read_at(file, index * size, labels)[-1]
                yield Entry(
                    source_uri=member_uri(batch.uri, index),
                    bytes=PIXELS,
                    modified=batch.modified,
                    etag=fingerprint(batch),
                    label=self._named(label, names),
                    split=split,
                    container=batch.uri,
                    offset=index * size + labels,
                    length=PIXELS,
                )

    def _label_names(self, uri: str) -> Sequence[str]:
        (found,) = self._files.read([uri])
        if isinstance(found, Rejection):
            return ()
        return found.decode("utf-8", "replace").split()

    def _named(self, label: int, names: Sequence[str]) -> str | None:
        if not self._wants_labels:
            return None
        return names[label] if label < len(names) else str(label)

    def read(
        self, entries: Sequence[Entry]
    ) -> Iterator[tuple[Entry, bytes | Rejection]]:
        return each_container(self._files, entries, _interleaved)


def _interleaved(planes: bytes, _: Entry) -> bytes:
    pixels = np.frombuffer(planes, np.uint8).reshape(3, SIDE, SIDE)
    return pnm(SIDE, SIDE, pixels.transpose(1, 2, 0).tobytes())
