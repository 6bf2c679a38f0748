"""Tar shards in webdataset's layout: ``key.jpg`` beside ``key.cls`` or ``key.json``.

Members are read where they lie in the file; nothing is ever extracted, and a member's
name is a name, not a path. A compressed tar has no random access and is refused.
"""

import itertools
import json
import tarfile
from collections.abc import Iterator, Sequence
from typing import IO

from pipelines.config import SourceSettings
from pipelines.errors import BadNight, ConfigError
from pipelines.records import Entry, Rejection
from pipelines.sources.containers import each_container, fingerprint, only
from pipelines.sources.files import FileInfo, Files, Roots
from pipelines.sources.names import counts
from pipelines.sources.splits import splits_by_file

SIDECARS = frozenset(
    {
        *("cls", "txt", "json", "csv", "tsv", "xml", "md", "html", "yaml", "id"),
        *("npy", "npz", "pth", "pt", "pyd", "pkl", "pickle", "cbor", "mp", "msg"),
        *("ten", "tenbin", "index", "inx", "flac", "wav", "mp3", "mp4", "avi", "mov"),
    }
)
"""Extensions of what stands beside an image in a sample; all else is an image."""

MAX_SIDECAR = 65536
MAX_LABEL = 200
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


class TarSource:
    """The image members of every ``.tar`` at the path."""

    def __init__(self, settings: SourceSettings) -> None:
        self._files = Files(settings.path, settings.retries)
        self._wants_labels = settings.label == "auto"
        self._label_key = settings.label_column

    def roots(self) -> Roots:
        return self._files.prefixes()

    def list(self) -> Iterator[Entry]:
        shards = only(self._files, (".tar",), "tar")
        splits = splits_by_file(shard.uri for shard in shards)
        for shard in shards:
            with self._files.open(shard.uri) as file:
                for entry in self._members(file, shard):
                    yield entry._replace(split=splits.get(shard.uri))

    def _members(self, file: IO[bytes], shard: FileInfo) -> Iterator[Entry]:
        seen: set[str] = set()
        for _, sample in itertools.groupby(_files_of(file, shard.uri), _key):
            members = [*sample]
            sidecars = {_extension(one): one for one in members if _is_sidecar(one)}
            label = self._label(file, sidecars) if self._wants_labels else None
            for member in members:
                if not _is_sidecar(member):
                    yield _entry(member, shard, label, seen)

    def _label(
        self, file: IO[bytes], sidecars: dict[str, tarfile.TarInfo]
    ) -> str | None:
        for kind in ("cls", "json", "txt"):
            member = sidecars.get(kind)
            if member is None or member.size > MAX_SIDECAR:
                continue
            data = self._files.read_at(file, member.offset_data, member.size)
            label = label_in(data, kind, self._label_key)
            if label:
                return label
        return None

    def read(
        self, entries: Sequence[Entry]
    ) -> Iterator[tuple[Entry, bytes | Rejection]]:
        return each_container(self._files, entries)


def label_in(data: bytes, kind: str, key: str) -> str | None:
    """Return the label that a sidecar holds; a caption is none."""
    text = data.decode("utf-8", "replace").strip()
    if kind == "json":
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            return None
        value = values.get(key, values.get("cls")) if isinstance(values, dict) else None
        text = str(value) if isinstance(value, str | int) else ""
    short = len(text) <= MAX_LABEL and "\n" not in text
    return text if text and short else None


def _files_of(file: IO[bytes], uri: str) -> Iterator[tarfile.TarInfo]:
    start = file.read(4)
    file.seek(0)
    if start.startswith(COMPRESSED):
        raise ConfigError(
            f"{uri}: is a compressed tar, which cannot be read from the middle. "
            "Decompress it (gunzip FILE), the images within are compressed anyway."
        )
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                # else every member is kept in memory
                archive.members = []  # type: ignore[attr-defined]
                if member.isreg() and not member.issparse() and counts(member.name):
                    yield member
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise BadNight(
            f"{uri}: is not a whole tar file ({error}). Nothing was published; "
            "write it anew, or take it away."
        ) from error


def _key(member: tarfile.TarInfo) -> str:
    folder, _, name = member.name.rpartition("/")
    return f"{folder}/{name.split('.')[0]}"


def _extension(member: tarfile.TarInfo) -> str:
    return member.name.rpartition("/")[2].rpartition(".")[2].lower()


def _is_sidecar(member: tarfile.TarInfo) -> bool:
    return _extension(member) in SIDECARS


def _entry(
    member: tarfile.TarInfo, shard: FileInfo, label: str | None, seen: set[str]
) -> Entry:
    name = member.name.encode("utf-8", "replace").decode()
    if name in seen:  # a tar may hold a name twice
        name = f"{name}@{member.offset_data}"
    seen.add(name)
    return Entry(
        source_uri=f"{shard.uri}#{name}",
        bytes=member.size,
        modified=shard.modified,
        etag=fingerprint(shard),
        label=label,
        container=shard.uri,
        offset=member.offset_data,
        length=member.size,
    )
