"""Sources by kind, and the kind of a source by the names of its files."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from pipelines.config import SourceSettings
from pipelines.errors import ConfigError
from pipelines.lake import store
from pipelines.records import Entry, Rejection
from pipelines.sources.cifar import CIFAR100, CifarSource
from pipelines.sources.files import Files, Roots
from pipelines.sources.folder import FolderSource
from pipelines.sources.idx import IdxSource
from pipelines.sources.lists import ListSource
from pipelines.sources.parquet import ParquetSource, opened
from pipelines.sources.tar import TarSource


class Source(Protocol):
    """Where a dataset's images come from. Built from plain settings on any machine."""

    def roots(self) -> Roots:
        """Return the beginnings of the URIs that a listing covers.

        An entry under one of them that the listing lacks is gone.
        """

    def list(self) -> Iterator[Entry]:
        """Yield every entry, each URI once, in no order; nothing is decoded."""

    def read(
        self, entries: Sequence[Entry]
    ) -> Iterator[tuple[Entry, bytes | Rejection]]:
        """Yield each entry with its encoded bytes, in order, none left out.

        A container is opened once for the entries that follow one another in it.
        """


KINDS: dict[str, Callable[[SourceSettings], Source]] = {
    "folder": FolderSource,
    "tar": TarSource,
    "parquet": ParquetSource,
    "list": ListSource,
    "idx": IdxSource,
    "cifar": CifarSource,
}
LOOKED_AT = 1000
"""Files whose names decide the kind."""

IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pnm", ".heic", ".avif"),
)
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def open_source(settings: SourceSettings) -> Source:
    """Return the source that ``settings`` describe.

    Raises:
        ConfigError: There is nothing at the path, or its kind cannot be told.
        BadNight: There is nothing in it.
    """
    kind = settings.kind
    found = KINDS[detect(settings) if kind == "auto" else kind](settings)
    return found if store.is_local(settings.path) else FarSource(found, settings)


class FarSource:
    """A source that is not on this machine; what a bucket refuses is an error of ours.

    A connection may be lost anywhere while a file of many images is read.
    """

    def __init__(self, source: Source, settings: SourceSettings) -> None:
        self._source = source
        self._explained = Files(settings.path, settings.retries).far.explained

    def roots(self) -> Roots:
        with self._explained():
            return self._source.roots()

    def list(self) -> Iterator[Entry]:
        with self._explained():
            yield from self._source.list()

    def read(
        self, entries: Sequence[Entry]
    ) -> Iterator[tuple[Entry, bytes | Rejection]]:
        with self._explained():
            yield from self._source.read(entries)


def detect(settings: SourceSettings) -> str:
    """Return the kind of a source, by the names of its first thousand files.

    A single file is what its name says. A folder is a tree of images if there is any
    image in it; otherwise the one kind of container that it holds.
    """
    files = Files(settings.path, settings.retries)
    names = [info.uri for info in itertools.islice(files.walk(), LOOKED_AT)]
    if any(name.lower().endswith(IMAGE_ENDINGS) for name in names):
        return "folder"
    kinds = {kind: name for name in names if (kind := _kind_by_name(name))}
    if len(kinds) > 1:
        raise ConfigError(
            f"source.path: {settings.path} holds several kinds of source: "
            f"{', '.join(f'{kind} ({name})' for kind, name in sorted(kinds.items()))}. "
            "Give source.kind, or the path of one of them."
        )
    if not kinds:
        return _only_by_extension(settings, names)
    (kind, name), = kinds.items()  # fmt: skip
    return _images_or_list(settings, files, name) if kind == "parquet" else kind


def _kind_by_name(name: str) -> str | None:
    lower = name.lower()
    if lower.endswith(COMPRESSED_TARS):
        raise ConfigError(
            f"{name}: is a compressed tar, which cannot be read from the middle. "
            "Decompress it (gunzip FILE), the images within are compressed anyway."
        )
    base = lower.rpartition("/")[2]
    cifar = base.startswith(("data_batch", "test_batch")) or base in CIFAR100
    endings = {
        ".tar": "tar",
        ".parquet": "parquet",
        ".csv": "list",
        ".tsv": "list",
        "ubyte": "idx",
        "ubyte.gz": "idx",
        ".bin": "cifar" if cifar else None,
    }
    return next((kind for end, kind in endings.items() if lower.endswith(end)), None)


def _only_by_extension(settings: SourceSettings, names: Sequence[str]) -> str:
    """Return ``folder`` for a folder of files without telling names."""
    if Files(settings.path, settings.retries).is_folder():
        return "folder"
    raise ConfigError(
        f"source.path: {settings.path} ({names[0]}): the name does not say what kind "
        f"of source it is. Give source.kind: one of {', '.join(KINDS)}."
    )


def _images_or_list(settings: SourceSettings, files: Files, name: str) -> str:
    with files.open(name) as file:
        columns = opened(file, name).schema_arrow.names
    if settings.image_column in columns:
        return "parquet"
    if settings.uri_column in columns:
        return "list"
    raise ConfigError(
        f"{name}: has neither the image column {settings.image_column!r} nor the URI "
        f"column {settings.uri_column!r}, but {', '.join(columns)}. Set "
        "source.image_column or source.uri_column (latentlake init: --image-column)."
    )
