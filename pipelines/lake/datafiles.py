"""Write the Parquet files of our Iceberg tables: streaming, and named by content."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyarrow import parquet

from pipelines.lake import store, tables
from pipelines.lake.layout import Lake
from pipelines.lake.tables import Name

GROUP_ROWS = 16_384
FILE_BYTES = 64 * 2**20
"""A file is closed once so many bytes of rows are in it, before compression."""


def stem(night: str, base: int, *plans: pa.Table) -> str:
    """Return the first part of the names of files that are made of ``plans``.

    A retry from the same base writes the same files again; another base or another
    plan never writes over files that a snapshot may hold.
    """
    digest = hashlib.sha256(str(base).encode())
    for plan in plans:
        for batch in plan.combine_chunks().to_batches(max_chunksize=65_536):
            digest.update(batch.serialize())
    return f"{night}-{digest.hexdigest()[:16]}"


def write(lake: Lake, name: Name, stem: str, rows: Iterable[pa.Table]) -> list[str]:
    """Write ``rows`` into data files of a table and return their paths, in order."""
    schema = tables.numbered(tables.SCHEMAS[name])
    paths = []
    for number, group in itertools.groupby(_numbered(_regrouped(rows)), _file_number):
        path = lake.table(name, "data", f"{stem}-{number:05d}.parquet")
        with (
            store.aside(path) as file,
            parquet.ParquetWriter(file, schema, **_options(schema)) as writer,
        ):
            for _, part in group:
                writer.write_table(part.cast(schema), row_group_size=GROUP_ROWS)
        paths.append(path)
    return paths


def _regrouped(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of ``parts`` in tables of at least ``GROUP_ROWS``, but the last.

    One shard makes too small a row group.
    """
    waiting: list[pa.Table] = []
    for part in parts:
        waiting.append(part)
        if sum(one.num_rows for one in waiting) >= GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if sum(one.num_rows for one in waiting):
        yield pa.concat_tables(waiting)


def _numbered(parts: Iterable[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    """Yield each of ``parts`` with the number of the file that it belongs to."""
    written = 0
    for part in parts:
        yield written // FILE_BYTES, part
        written += part.nbytes


def _file_number(numbered: tuple[int, pa.Table]) -> int:
    return numbered[0]


def _options(schema: pa.Schema) -> dict[str, object]:
    """Return how Parquet keeps each column: floats by byte streams, without ranges."""
    floats = [f"{f.name}.list.element" for f in schema if pa.types.is_list(f.type)]
    others = [f.name for f in schema if not pa.types.is_list(f.type)]
    floats += [f.name for f in schema if pa.types.is_float32(f.type)]
    repeated = [
        f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_date(f.type)
    ]
    return {
        "compression": "zstd",
        "use_dictionary": repeated,
        "use_byte_stream_split": floats or False,
        "write_statistics": others,
    }
