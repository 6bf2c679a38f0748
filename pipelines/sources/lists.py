"""A CSV or Parquet list of paths or URIs, with labels and splits beside them."""

import csv
import io
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.config import SourceSettings
from pipelines.errors import BadNight, ConfigError
from pipelines.records import Entry, Rejection, Split
from pipelines.sources.containers import only
from pipelines.sources.files import FileInfo, Files, Roots
from pipelines.sources.splits import split_of, splits_by_file

ENDINGS = (".csv", ".tsv", ".parquet")
MOST_ROOTS = 100
ASKED_AT_ONCE = 16
"""Threads that ask for sizes and times: another machine takes a while to answer."""
BLOCK = 256

Row = tuple[object, object, object]


class ListSource:
    """Files named by a list; a relative path is taken from the list's folder.

    What a list names twice is one entry: its first row counts.
    """

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._files = Files(settings.path, settings.retries)
        self._others: dict[Any, Files] = {}

    def roots(self) -> Roots:
        """Return the folders that the lists name files in, and the lists' own."""
        folders = {_folder(info.uri) for info in only(self._files, ENDINGS, "list")}
        folders |= {_folder(uri) for _, uri, _, _ in self._named()}
        while len(folders) > MOST_ROOTS:
            folders = {_folder(folder) for folder in folders}
        return _outermost(folders)

    def list(self) -> Iterator[Entry]:
        seen: set[str] = set()
        fresh = (row[1:] for row in self._named() if not _known(row[1], seen))
        with futures.ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            while block := list(itertools.islice(fresh, BLOCK)):
                infos = pool.map(self._info, [uri for uri, _, _ in block])
                for (uri, label, split), info in zip(block, infos, strict=True):
                    _, size, modified, etag = info
                    yield Entry(uri, size, modified, etag, label, split, container=uri)

    def _named(self) -> Iterator[tuple[str, str, str | None, Split | None]]:
        """Yield list, URI, label and split for each row that names something."""
        lists = only(self._files, ENDINGS, "list")
        splits = splits_by_file(info.uri for info in lists)
        for info in lists:
            folder = _folder(info.uri)
            with self._files.open(info.uri) as file:
                for path, label, split in self._rows(file, info.uri):
                    if not path:
                        continue
                    own = split_of(split) or splits.get(info.uri)
                    uri = _absolute(str(path), folder)
                    yield info.uri, uri, self._label(label), own

    def _label(self, value: object) -> str | None:
        if self._settings.label == "none" or value is None or value == "":
            return None
        return str(value)

    def _rows(self, file: IO[bytes], uri: str) -> Iterator[Row]:
        if uri.lower().endswith(".parquet"):
            return self._parquet_rows(file, uri)
        return self._csv_rows(file, uri)

    def _csv_rows(self, file: IO[bytes], uri: str) -> Iterator[Row]:
        text = io.TextIOWrapper(file, "utf-8-sig", newline="")
        comma = "\t" if uri.lower().endswith(".tsv") else ","
        try:
            rows = csv.DictReader(text, delimiter=comma)
            wanted = self._columns(rows.fieldnames or (), uri)
            for row in rows:
                path, label, split = (row.get(name) for name in wanted)
                yield path, label, split
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadNight(
                f"{uri}: cannot be read as a list in UTF-8 ({error}). Nothing was "
                "published; write it anew."
            ) from error

    def _parquet_rows(self, file: IO[bytes], uri: str) -> Iterator[Row]:
        try:
            table = pq.ParquetFile(file)
            wanted = self._columns(table.schema_arrow.names, uri)
            there = [name for name in wanted if name in table.schema_arrow.names]
            for batch in table.iter_batches(columns=there):
                for row in batch.to_pylist():
                    path, label, split = (row.get(name) for name in wanted)
                    yield path, label, split
        except pa.ArrowException as error:
            raise BadNight(
                f"{uri}: is not a whole Parquet file ({error}). Nothing was published."
            ) from error

    def _columns(self, names: Sequence[str], uri: str) -> tuple[str, str, str]:
        settings = self._settings
        if settings.uri_column not in names:
            raise ConfigError(
                f"{uri}: source.uri_column is {settings.uri_column!r}, and the columns "
                f"of this list are {', '.join(names) or 'none'}."
            )
        return settings.uri_column, settings.label_column, settings.split_column

    def _info(self, uri: str) -> FileInfo:
        """Return what is known of a listed file; nothing, where it is not there."""
        try:
            files = self._on(uri)
            plain = uri if files.local else files.far.fs._strip_protocol(uri)
            return files.info(plain)
        except (OSError, ValueError, ImportError, ConfigError):
            return FileInfo(uri, None, None, None)

    def _on(self, uri: str) -> Files:
        """Return a reader for the filesystem that ``uri`` names, host and all."""
        if "://" in uri:
            files = Files(uri, self._settings.retries)
            return self._others.setdefault(files.far.fs, files)
        if None not in self._others:
            self._others[None] = Files(uri, self._settings.retries)
        return self._others[None]

    def read(
        self, entries: Sequence[Entry]
    ) -> Iterator[tuple[Entry, bytes | Rejection]]:
        for reader, group in itertools.groupby(entries, self._reader):
            together = [*group]
            if isinstance(reader, Rejection):
                yield from ((entry, reader) for entry in together)
                continue
            uris = [entry.source_uri for entry in together]
            contents = reader.read(uris, [entry.bytes for entry in together])
            yield from zip(together, contents, strict=True)

    def _reader(self, entry: Entry) -> Files | Rejection:
        try:
            return self._on(entry.source_uri)
        except (ValueError, ConfigError) as error:
            return Rejection("missing", f"{error}"[:200])


def _known(uri: str, seen: set[str]) -> bool:
    """Return whether ``uri`` was seen before; by now it was."""
    before = len(seen)
    seen.add(uri)
    return len(seen) == before


def _absolute(path: str, folder: str) -> str:
    path = path.removeprefix("file://")
    if "://" in path:
        return path
    if "://" in folder:
        return f"{folder}/{path}"
    return os.path.normpath(os.path.join(folder, path))


def _folder(uri: str) -> str:
    return uri.rpartition("/")[0]


def _outermost(folders: set[str]) -> Roots:
    """Return the folders that lie in no other of them, each with its last slash."""
    kept: list[str] = []
    for folder in sorted(f"{folder}/" for folder in folders):
        if not kept or not folder.startswith(kept[-1]):
            kept.append(folder)
    return kept
