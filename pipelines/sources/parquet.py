"""Parquet files with a column of encoded images, as Hugging Face writes them."""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.config import SourceSettings
from pipelines.errors import BadNight, ConfigError
from pipelines.records import Entry, Rejection
from pipelines.sources.containers import fingerprint, member_uri, only
from pipelines.sources.files import FileInfo, Files, Roots, missing
from pipelines.sources.splits import split_of, splits_by_file

BATCH = 256
"""Rows decompressed at a time: an image column can be large."""


class ParquetSource:
    """Rows of every ``.parquet`` at the path; the column holds bytes or {bytes, path}.

    A label that is a number becomes its name where Hugging Face's metadata has one.
    The size of an image is not known before it is read; a file that was written anew
    makes all its rows due.
    """

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._files = Files(settings.path, settings.retries)

    def roots(self) -> Roots:
        return self._files.prefixes()

    def list(self) -> Iterator[Entry]:
        found = only(self._files, (".parquet",), "Parquet")
        splits = splits_by_file(info.uri for info in found)
        for info in found:
            with self._files.open(info.uri) as file:
                for entry in self._rows(opened(file, info.uri), info):
                    yield entry._replace(split=entry.split or splits.get(info.uri))

    def _rows(self, table: pq.ParquetFile, info: FileInfo) -> Iterator[Entry]:
        self._check_column(table.schema_arrow, info.uri)
        names = label_names(table.schema_arrow, self._settings.label_column)
        for row, (label, split) in enumerate(self._columns(table)):
            yield Entry(
                source_uri=member_uri(info.uri, row),
                modified=info.modified,
                etag=fingerprint(info),
                label=named(label, names),
                split=split_of(split),
                container=info.uri,
                offset=row,
            )

    def _columns(self, table: pq.ParquetFile) -> Iterator[tuple[Any, Any]]:
        """Yield the label and split of each row."""
        wanted = [self._settings.split_column]
        if self._settings.label == "auto":
            wanted.append(self._settings.label_column)
        there = [name for name in wanted if name in table.schema_arrow.names]
        if not there:
            yield from itertools.repeat((None, None), table.metadata.num_rows)
            return
        for batch in table.iter_batches(columns=there):
            columns = {name: batch[name].to_pylist() for name in there}
            nothing = [None] * batch.num_rows
            labels = columns.get(self._settings.label_column, nothing)
            splits = columns.get(self._settings.split_column, nothing)
            yield from zip(labels, splits, strict=True)

    def _check_column(self, schema: pa.Schema, uri: str) -> None:
        name = self._settings.image_column
        if name not in schema.names:
            raise ConfigError(
                f"{uri}: source.image_column is {name!r}, and the file has the columns "
                f"{', '.join(schema.names)}."
            )
        if not is_image_column(schema.field(name).type):
            raise ConfigError(
                f"{uri}: source.image_column {name!r} is of type "
                f"{schema.field(name).type}; it must be binary, or a struct with a "
                "binary field `bytes`."
            )

    def read(
        self, entries: Sequence[Entry]
    ) -> Iterator[tuple[Entry, bytes | Rejection]]:
        for container, group in itertools.groupby(entries, lambda one: one.container):
            yield from self._read_container(container, [*group])

    def _read_container(
        self, uri: str, entries: Sequence[Entry]
    ) -> Iterator[tuple[Entry, bytes | Rejection]]:
        try:
            file = self._files.open(uri)
        except (FileNotFoundError, PermissionError) as error:
            yield from ((entry, missing(uri, error)) for entry in entries)
            return
        with file:
            table = opened(file, uri)
            ends = _row_group_ends(table)
            groups = itertools.groupby(entries, lambda one: _group_of(one, ends))
            for group, members in groups:
                yield from self._read_group(table, group, ends, [*members])

    def _read_group(
        self,
        table: pq.ParquetFile,
        group: int,
        ends: Sequence[int],
        entries: Sequence[Entry],
    ) -> Iterator[tuple[Entry, bytes | Rejection]]:
        if group == len(ends):
            gone = Rejection(
                "missing", "the file has fewer rows than when it was listed"
            )
            yield from ((entry, gone) for entry in entries)
            return
        first = ends[group - 1] if group else 0
        wanted = {(entry.offset or 0) - first for entry in entries}
        found = self._pick(table, group, wanted)
        for entry in entries:
            data = found.get((entry.offset or 0) - first)
            empty = Rejection("missing", "the row holds no image")
            yield entry, empty if data is None else data

    def _pick(
        self, table: pq.ParquetFile, group: int, wanted: set[int]
    ) -> dict[int, bytes]:
        """Return the images at the wanted rows of one row group; reads no further."""
        name = self._settings.image_column
        found: dict[int, bytes] = {}
        start = 0
        last = max(wanted)
        for batch in table.iter_batches(BATCH, row_groups=[group], columns=[name]):
            here = [row for row in wanted if start <= row < start + batch.num_rows]
            column = encoded_images(batch[name])
            for row in here:
                found[row] = column[row - start].as_py()
            start += batch.num_rows
            if start > last:
                break
        return found


def opened(file: IO[bytes], uri: str) -> pq.ParquetFile:
    """Return the Parquet file that ``file`` is.

    Raises:
        BadNight: It is none, or not a whole one.
    """
    try:
        return pq.ParquetFile(file)
    except pa.ArrowException as error:
        raise BadNight(
            f"{uri}: is not a whole Parquet file ({error}). Nothing was published; "
            "write it anew, or take it away."
        ) from error


def is_image_column(kind: pa.DataType) -> bool:
    """Return whether a column of this type can hold encoded images."""
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def encoded_images(column: pa.Array) -> pa.Array:
    """Return the bytes of an image column, plain or in a struct."""
    if pa.types.is_struct(column.type):
        return column.field("bytes")
    return column


def label_names(schema: pa.Schema, column: str) -> Sequence[str]:
    """Return the names of the classes that Hugging Face's metadata gives, if any."""
    try:
        metadata = json.loads((schema.metadata or {})[b"huggingface"])
        feature = metadata["info"]["features"][column]
        names = feature.get("names", ())
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()
    return names if isinstance(names, list) else ()


def named(label: Any, names: Sequence[str]) -> str | None:
    """Return a label as text; -1 and null are none, as Hugging Face has it."""
    if label is None or (names and label == -1):
        return None
    if isinstance(label, int) and 0 <= label < len(names):
        return str(names[label])
    return str(label)


def _row_group_ends(table: pq.ParquetFile) -> list[int]:
    metadata = table.metadata
    sizes = (metadata.row_group(at).num_rows for at in range(metadata.num_row_groups))
    return list(itertools.accumulate(sizes))


def _group_of(entry: Entry, ends: Sequence[int]) -> int:
    """Return the row group that holds an entry; one past the last where none does."""
    row = entry.offset or 0
    return next((at for at, end in enumerate(ends) if row < end), len(ends))
