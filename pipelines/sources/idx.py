"""IDX files, as MNIST comes in them: raw grey or RGB images, gzip or not."""

import functools
import gzip
import io
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

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
from pipelines.sources.splits import split_of

UNSIGNED_BYTE = 8
GZIP = b"\x1f\x8b"
MOST_RATIO = 1100
"""Deflate cannot pack more than 1 : 1032."""

ENDINGS = ("ubyte", "ubyte.gz", ".idx", ".idx.gz")


class Shape(NamedTuple):
    """What the header of an IDX file says: where the data begins, and its sides."""

    start: int
    sides: tuple[int, ...]

    @property
    def end(self) -> int:
        """How long the file is, uncompressed."""
        return self.start + math.prod(self.sides)


class IdxSource:
    """Images of ``*-images-idx3-ubyte`` files; labels from the file beside each."""

    def __init__(self, settings: SourceSettings) -> None:
        self._files = Files(settings.path, settings.retries)
        self._wants_labels = settings.label == "auto"
        self._shapes: dict[str, Shape] = {}

    def roots(self) -> Roots:
        return self._files.prefixes()

    def list(self) -> Iterator[Entry]:
        found = {info.uri: info for info in only(self._files, ENDINGS, "IDX")}
        for info in found.values():
            with self._open(info.uri):
                shape = self._shapes[info.uri]
            if len(shape.sides) in (3, 4):
                yield from self._images(info, shape, self._labels(info.uri, [*found]))

    def _images(
        self, info: FileInfo, shape: Shape, labels: bytes | None
    ) -> Iterator[Entry]:
        count = shape.sides[0]
        if labels is not None and len(labels) != count:
            raise BadNight(
                f"{info.uri}: {count} images, but {len(labels)} labels beside them. "
                "Nothing was published; fetch both files again."
            )
        size = math.prod(shape.sides[1:])
        split = _split(info.uri.rpartition("/")[2].lower())
        for index in range(count):
            yield Entry(
                source_uri=member_uri(info.uri, index),
                bytes=size,
                modified=info.modified,
                etag=fingerprint(info),
                label=None if labels is None else str(labels[index]),
                split=split,
                container=info.uri,
                offset=shape.start + index * size,
                length=size,
            )

    def _labels(self, uri: str, known: Sequence[str]) -> bytes | None:
        sibling = _labels_beside(uri, known) if self._wants_labels else None
        if sibling is None:
            return None
        with self._open(sibling) as file:
            shape = self._shapes[sibling]
            return self._files.read_at(file, shape.start, shape.end - shape.start)

    def _open(self, uri: str) -> IO[bytes]:
        """Return the file at ``uri`` uncompressed, its header read and checked."""
        file = self._files.open(uri)
        if file.read(2) == GZIP:
            with file:
                file.seek(0)
                content = _unpacked(file.read(), uri)
            file = io.BytesIO(content)
        self._shapes[uri] = _checked(file, uri)
        return file

    def read(
        self, entries: Sequence[Entry]
    ) -> Iterator[tuple[Entry, bytes | Rejection]]:
        return each_container(self._files, entries, self._encoded, self._open)

    def _encoded(self, pixels: bytes, entry: Entry) -> bytes:
        sides = self._shapes[entry.container].sides
        return pnm(sides[1], sides[2], pixels)


def shape_of(start: bytes, uri: str) -> Shape:
    """Return what the first bytes of an IDX file say.

    Raises:
        BadNight: They are not those of an IDX file of unsigned bytes.
    """
    sane = len(start) >= 8 and start[:2] == b"\0\0" and start[2] == UNSIGNED_BYTE
    count = start[3] if sane else 0
    if count not in (1, 3, 4) or len(start) < 4 + 4 * count:
        raise BadNight(
            f"{uri}: is not an IDX file of unsigned bytes (it begins with "
            f"{start[:4].hex(' ')}). Nothing was published."
        )
    sides = struct.unpack_from(f">{count}I", start, 4)
    if count == 4 and sides[3] not in (1, 3):
        raise BadNight(f"{uri}: {sides[3]} channels; 1 and 3 are images.")
    return Shape(4 + 4 * count, sides)


def _checked(file: IO[bytes], uri: str) -> Shape:
    file.seek(0)
    shape = shape_of(file.read(20), uri)
    size = file.seek(0, io.SEEK_END)
    if size < shape.end:
        raise BadNight(
            f"{uri}: {size} bytes, but the header promises {shape.end}. Nothing was "
            "published; fetch the file again."
        )
    return shape


@functools.lru_cache(maxsize=2)  # images and labels: chunks come from one file in turn
def _unpacked(packed: bytes, uri: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            shape = shape_of(file.read(20), uri)
            if shape.end > MOST_RATIO * len(packed):
                raise BadNight(
                    f"{uri}: promises {shape.end} bytes, and cannot hold it."
                )
            file.seek(0)
            return file.read(shape.end)
    except (OSError, EOFError, zlib.error) as error:
        raise BadNight(
            f"{uri}: is not a whole gzip file ({error}). Nothing was published; fetch "
            "it again."
        ) from error


def _split(name: str) -> Split | None:
    return "eval" if name.startswith("t10k") else split_of(name.split("-")[0])


def _labels_beside(uri: str, known: Sequence[str]) -> str | None:
    """Return the labels file that belongs to an images file, compressed or not."""
    folder, _, name = uri.removesuffix(".gz").rpartition("/")
    name = (
        name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    )
    for candidate in (f"{folder}/{name}", f"{folder}/{name}.gz"):
        if candidate != uri and candidate in known:
            return candidate
    return None
