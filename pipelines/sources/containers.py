"""Files that hold many images: found by name, opened once, read at offsets."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from pipelines.errors import BadNight
from pipelines.records import Entry, Rejection
from pipelines.sources.files import FileInfo, Files, missing

Place = Callable[[bytes, Entry], bytes]
"""Makes encoded bytes of what lies at an entry's place."""

Opener = Callable[[str], IO[bytes]]
"""Opens a container by its URI."""


def only(files: Files, endings: tuple[str, ...], what: str) -> list[FileInfo]:
    """Return the files whose names have one of ``endings``, in order.

    Raises:
        BadNight: There are none.
    """
    everything = files.walk()
    found = [info for info in everything if info.uri.lower().endswith(endings)]
    if not found:
        raise BadNight(
            f"source.path: {files.path} holds no {what} files (names that end in "
            f"{', '.join(endings)}). Nothing was published."
        )
    return sorted(found)


def fingerprint(info: FileInfo) -> str:
    """Return what tells a container from what it was before: etag, else its size."""
    return info.etag or f"size-{info.bytes}"


def member_uri(container: str, index: int) -> str:
    """Return the URI of one numbered image; names sort as the numbers do."""
    return f"{container}#{index:08d}"


def as_it_is(data: bytes, _: Entry) -> bytes:
    """Return ``data``: the container holds encoded images."""
    return data


def each_container(
    files: Files,
    entries: Sequence[Entry],
    encode: Place = as_it_is,
    opened: Opener | None = None,
) -> Iterator[tuple[Entry, bytes | Rejection]]:
    """Yield the bytes of each entry by its offset and length, in order.

    A container is opened once (by ``opened``, where that is not a plain opening) for
    all the entries that follow one another in it.
    """
    open_one = opened or files.open
    for container, group in itertools.groupby(entries, lambda one: one.container):
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(open_one(container))
            except (FileNotFoundError, PermissionError) as error:
                yield from ((entry, missing(container, error)) for entry in group)
                continue
            for entry in group:
                yield entry, _read_one(files, file, entry, encode)


def _read_one(
    files: Files, file: IO[bytes], entry: Entry, encode: Place
) -> bytes | Rejection:
    data = files.read_at(file, entry.offset or 0, entry.length or 0)
    if len(data) != (entry.length or 0):
        return Rejection("missing", f"{entry.container} ends before this image does")
    return encode(data, entry)


def pnm(height: int, width: int, pixels: bytes) -> bytes:
    """Return raw grey or RGB pixels as an encoded image (PNM, P5 or P6)."""
    kind = b"P5" if len(pixels) == height * width else b"P6"
    return b"%s\n%d %d\n255\n" % (kind, width, height) + pixels
