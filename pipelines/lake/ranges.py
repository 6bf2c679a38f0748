"""Long lists as files: an Arrow file that workers read ranges of.

A list of a million entries is not handed to Beam as elements; the elements name this
file and a range. On a disk the file is memory-mapped, in a bucket only the record
batches of the range are fetched.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipelines.lake import bucket, store

BATCH_ROWS = 4096
"""Rows of each record batch but the last, so that a range names its batches."""


def write(path: str, table: pa.Table) -> None:
    """Put ``table`` at ``path`` for :func:`read`."""
    with store.aside(path) as file, pa.ipc.new_file(file, table.schema) as writer:
        for start in range(0, table.num_rows, BATCH_ROWS):
            # Each by itself: a column over 2 GiB cannot be made of one chunk.
            writer.write_table(table.slice(start, BATCH_ROWS).combine_chunks())


def read(path: str, start: int = 0, stop: int | None = None) -> pa.Table:
    """Return the rows of the file at ``path`` from ``start`` up to ``stop``."""
    with _opened(path) as source, pa.ipc.open_file(source) as reader:
        first = start // BATCH_ROWS
        last = reader.num_record_batches
        if stop is not None:
            last = min(last, -(-stop // BATCH_ROWS))
        batches = [reader.get_batch(number) for number in range(first, last)]
        table = pa.Table.from_batches(batches, reader.schema)
    skipped = start - first * BATCH_ROWS
    return table.slice(skipped, None if stop is None else stop - start)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    if store.is_local(path):
        yield pa.memory_map(path)
        return
    with bucket.opened(path) as file:
        yield pa.PythonFile(file, "r")
