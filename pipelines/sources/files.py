"""Files of a source, on any filesystem that fsspec reads: listed, opened, read.

Names from outside are names and nothing more: hidden and system files are left out, a
link that leaves the root is not followed, and only regular files are ever opened.
"""

import errno
import glob
import itertools
import logging
import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

from pipelines.errors import BadNight, ConfigError
from pipelines.records import Rejection
from pipelines.sources.names import hidden, plain_name, real_name
from pipelines.sources.remote import PERMANENT, Remote

_NO_FILE = {errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV}
"""What opening says of a name that can be no file's: a loop of links, a socket."""

Roots = list[str]
"""Beginnings of URIs (a source's own ``list`` hides the name of the type)."""


class FileInfo(NamedTuple):
    """What a filesystem says of one file.

    Attributes:
        uri: Absolute path, or URL.
        bytes: Its size.
        modified: When it was changed, in microseconds since 1970.
        etag: The object store's fingerprint of it.
    """

    uri: str
    bytes: int | None
    modified: int | None
    etag: str | None


class Files:
    """The files at ``path``: one file, a folder tree, or the matches of a glob."""

    def __init__(self, path: str, retries: int) -> None:
        self.path = path
        self.far = Remote(path, retries)
        self.local = self.far.local
        self.inner = self.far.inner

    def uri(self, inner: str) -> str:
        """Return the name of a file as the image table keeps it."""
        if self.local:
            return plain_name(inner)
        return str(self.far.fs.unstrip_protocol(inner))

    def prefixes(self) -> list[str]:
        """Return the beginnings of all URIs that a listing of these files covers."""
        if self.is_folder():
            return [self.uri(self.inner).rstrip("/") + "/"]
        if self.far.exists:
            return [self.uri(self.inner) + "#"]
        return [self.uri(re.split(r"[*?\[]", self.inner)[0])]

    @property
    def root(self) -> str:
        """The folder that all of these files lie below."""
        prefix = self.prefixes()[0]
        return prefix[: prefix.rindex("/")] or "/"

    def is_folder(self) -> bool:
        """Return whether ``path`` is a folder."""
        return self.far.folder

    def walk(self) -> Iterator[FileInfo]:
        """Yield every file that counts, in no order.

        Raises:
            ConfigError: Nothing is there.
            BadNight: There is a folder, but no file in it, or one cannot be read.
        """
        found = False
        for info in self._walk():
            found = True
            yield info
        if not found:
            raise BadNight(
                f"source.path: {self.path} holds no files (hidden ones do not "
                "count). Look whether it is mounted and the path still right."
            )

    def _walk(self) -> Iterator[FileInfo]:
        if self.is_folder():
            if self.local:
                return self._walk_local()
            return itertools.starmap(self._described, self.far.below())
        if self.far.exists:
            return iter([self.info(self.inner)])
        if glob.has_magic(self.inner):
            return self._matches()
        raise ConfigError(
            f"source.path: {self.path} is not there. Give a folder, a file or a glob "
            "that this machine can read."
        )

    def _matches(self) -> Iterator[FileInfo]:
        for inner, info in self.far.matches():
            yield self.info(inner) if self.local else self._described(inner, info)

    def _walk_local(self) -> Iterator[FileInfo]:
        links = 0
        real_root = os.path.realpath(self.inner)
        for entry in scan(self.inner):
            if entry.is_symlink() and not stays_inside(entry.path, real_root):
                links += 1
                continue
            try:
                found = entry.stat()
            except OSError:  # gone since the folder was read
                continue
            if stat.S_ISREG(found.st_mode):
                name = plain_name(entry.path)
                yield FileInfo(name, found.st_size, found.st_mtime_ns // 1000, None)
        if links:
            logging.getLogger(__name__).warning(
                "%s: left out %d links to folders, to nothing, or out of the source",
                self.path,
                links,
            )

    def info(self, inner: str) -> FileInfo:
        """Return what the filesystem says of one file.

        Raises:
            OSError: It is not there, or is not a regular file.
        """
        if not self.local:
            return self._described(inner, self.far.info(inner))
        found = os.stat(real_name(inner))
        if not stat.S_ISREG(found.st_mode):
            raise FileNotFoundError(f"{inner} is not a regular file")
        return FileInfo(
            plain_name(inner), found.st_size, found.st_mtime_ns // 1000, None
        )

    def _described(self, inner: str, info: dict[str, Any]) -> FileInfo:
        when = next(
            (info[key] for key in ("mtime", "LastModified", "updated", "created")
             if info.get(key) is not None),
            None,
        )  # fmt: skip
        etag = info.get("ETag") or info.get("etag")
        size = info.get("size")
        return FileInfo(self.uri(inner), size, microseconds(when), etag)

    def open(self, uri: str) -> IO[bytes]:
        """Return the file at ``uri``, open for reading."""
        if self.local:
            self.info(uri)  # never open a pipe or a device: that could wait for ever
            return open(real_name(uri), "rb")
        return self.far.open(uri)

    def read_at(self, file: IO[bytes], offset: int, length: int) -> bytes:
        """Return ``length`` bytes of an open file, fewer where it ends early."""

        def read() -> bytes:
            file.seek(offset)
            return file.read(length)

        return self.far.ask(read)

    def read(
        self, uris: Sequence[str], sizes: Sequence[int | None] | None = None
    ) -> Iterator[bytes | Rejection]:
        """Yield the whole content of each file, many at once where that helps.

        Args:
            uris: The files.
            sizes: Their sizes, as far as they are known: so many are asked for at once.
        """
        if self.local:
            yield from (read_local(uri) for uri in uris)
            return
        found = self.far.read(uris, sizes or [None] * len(uris))
        for uri, data in zip(uris, found, strict=True):
            yield data if isinstance(data, bytes) else missing(uri, data)


def scan(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield what lies below a local folder, folders aside; links are not walked into.

    Raises:
        BadNight: A folder cannot be read, so that nothing can be said of what is gone.
    """
    todo = [folder]
    while todo:
        place = todo.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if hidden(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    else:
                        yield entry
        except OSError as error:
            raise BadNight(
                f"{place}: this folder of the source cannot be read "
                f"({error.strerror}). Nothing was published; make it readable."
            ) from error


def stays_inside(link: str, real_root: str) -> bool:
    """Return whether a link leads to a file below the root."""
    real = os.path.realpath(link)
    return real.startswith(real_root.rstrip("/") + "/") and os.path.isfile(real)


_READ_AT_ONCE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # a pipe must not block us


def read_local(uri: str) -> bytes | Rejection:
    """Return the content of a regular file on this machine."""
    try:
        place = os.open(real_name(uri), _READ_AT_ONCE)
    except PERMANENT as error:
        return missing(uri, error)
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        return missing(uri, error)
    try:
        found = os.fstat(place)
        if not stat.S_ISREG(found.st_mode):
            return Rejection("missing", "not a regular file")
        data = os.read(place, found.st_size + 1)
        if len(data) == found.st_size:  # nearly always; a longer one has grown since
            return data
        with open(place, "rb", closefd=False) as file:
            return data + file.read()
    except PERMANENT as error:
        return missing(uri, error)
    finally:
        os.close(place)


def missing(uri: str, error: Exception) -> Rejection:
    """Return the rejection of an entry that was listed and is not to be had."""
    return Rejection("missing", f"{uri}: {type(error).__name__}: {error}"[:200])


def microseconds(when: Any) -> int | None:
    """Return a time as filesystems give it (seconds, datetime) in microseconds."""
    if hasattr(when, "timestamp"):
        when = when.timestamp()
    return round(when * 1e6) if isinstance(when, int | float) else None
