"""Files of a source that are not on this machine: listed by pages, read many at once.

Bytes that are asked for at the same time are bounded, in files and in their sizes. A
bucket is asked through ``lake.bucket``'s client, and what it refuses is an error of
ours; what other filesystems raise (a web server's, say) is left as it is.
"""

import contextlib
import functools
import glob
import re
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, TypeVar

import tenacity
from fsspec.implementations.local import LocalFileSystem

from pipelines.errors import AccessRefused, ConfigError
from pipelines.lake import afar, bucket
from pipelines.sources.names import counts

FILES_AT_ONCE = 64
BYTES_AT_ONCE = 64 * 2**20
UNKNOWN_BYTES = 2**20
"""What a file is taken for whose size nobody told."""

PERMANENT = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    ValueError,
    TypeError,
    LookupError,
    ImportError,
    NotImplementedError,
    AccessRefused,
)
"""What a retry does not mend, and one file alone may have."""

T = TypeVar("T")
Info = dict[str, Any]


class Remote:
    """The files at ``path`` on another machine.

    Attributes:
        fs: Their filesystem.
        inner: The path as it knows it.
    """

    def __init__(self, path: str, retries: int) -> None:
        self.path = path
        self.fs, inner = bucket.filesystem(path)
        self.local = isinstance(self.fs, LocalFileSystem)
        self.inner: str = inner.rstrip("/") or "/"
        self._in_bucket = bucket.is_s3(self.fs)
        self._again = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(1 if self.local else retries + 1),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=20),
            retry=tenacity.retry_if_not_exception_type((*PERMANENT, ConfigError)),
            reraise=True,
        )

    def ask(self, do: Callable[..., T], *args: Any, **options: Any) -> T:
        """Return what ``do`` returns, tried again where that may help."""

        def attempt() -> T:
            with self.explained():
                return do(*args, **options)

        return self._again(attempt)

    def explained(self, path: str | None = None) -> contextlib.AbstractContextManager:
        """Return a context in which what a bucket refuses is an error of ours."""
        if self._in_bucket:
            return afar.explained(path or self.path)
        return contextlib.nullcontext()

    @functools.cached_property
    def folder(self) -> bool:
        """Whether the path is a folder; a bucket is asked for one name in it."""
        if not self._in_bucket:
            return bool(self.ask(self.fs.isdir, self.inner))
        if glob.has_magic(self.inner):
            return False
        name, prefix = self._place()
        found = self.ask(
            self.fs.call_s3, "list_objects_v2", Bucket=name, Prefix=prefix, MaxKeys=1
        )
        return bool(found.get("Contents"))

    @functools.cached_property
    def exists(self) -> bool:
        """Whether there is a file (or a folder) of this very name."""
        if not self._in_bucket:
            return bool(self.ask(self.fs.exists, self.inner))
        return bucket.size(self.path.rstrip("/")) is not None

    def below(self) -> Iterator[tuple[str, Info]]:
        """Yield the files of the folder; those of a bucket a page at a time."""
        if self._in_bucket:
            yield from self._pages()
            return
        found = self.ask(self.fs.find, self.inner, detail=True)
        for inner, info in found.items():
            if counts(inner[len(self.inner) :]):
                yield inner, info

    def _pages(self) -> Iterator[tuple[str, Info]]:
        name, prefix = self._place()
        more: dict[str, str] = {}
        while True:
            page = self.ask(
                self.fs.call_s3, "list_objects_v2", Bucket=name, Prefix=prefix, **more
            )
            for one in page.get("Contents", ()):
                key = one["Key"]
                if not key.endswith("/") and counts(key[len(prefix) :]):
                    yield f"{name}/{key}", {**one, "size": one["Size"]}
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _place(self) -> tuple[str, str]:
        """Return the bucket's name, and what the names of the folder begin with."""
        name, key, _ = self.fs.split_path(self.inner)
        return name, f"{key.rstrip('/')}/" if key else ""

    def matches(self) -> Iterator[tuple[str, Info]]:
        """Yield the files that the path, a glob, stands for."""
        fixed = len(re.split(r"[*?\[]", self.inner)[0].rpartition("/")[0])
        found = self.ask(self.fs.glob, self.inner, detail=True)
        for inner, info in found.items():
            if counts(inner[fixed:]) and info["type"] == "file":
                yield inner, info

    def info(self, inner: str) -> Info:
        """Return what the filesystem says of one file."""
        return dict(self.ask(self.fs.info, inner))

    def open(self, uri: str) -> IO[bytes]:
        """Return the file at ``uri``, open for reading."""
        file: IO[bytes] = self.ask(self.fs.open, uri, "rb")
        return file

    def read(
        self, uris: Sequence[str], sizes: Sequence[int | None]
    ) -> Iterator[bytes | Exception]:
        """Yield the content of each file, or why there is none, in order."""
        for start, stop in batches(sizes):
            yield from self._read_batch(list(uris[start:stop]))

    def _read_batch(self, uris: list[str]) -> Iterator[bytes | Exception]:
        inner = [self.fs._strip_protocol(uri) for uri in uris]
        # A name with [, ? or * would be taken for a glob: it is read by itself.
        plain = [name for name in inner if not glob.has_magic(name)]
        found = self.fs.cat(plain, on_error="return") if plain else {}
        for uri, name in zip(uris, inner, strict=True):
            data = found.pop(name, None)
            yield data if isinstance(data, bytes) else self._read_one(uri, name)

    def _read_one(self, uri: str, name: str) -> bytes | Exception:
        try:
            with self.explained(uri):
                return self.ask(self.fs.cat_file, name)
        except PERMANENT as error:
            return error


def batches(sizes: Sequence[int | None]) -> Iterator[tuple[int, int]]:
    """Yield ranges of files to ask for at once: few enough, and small enough together.

    A file that is larger than all that may be asked for is asked for by itself.
    """
    start, waiting = 0, 0
    for at, size in enumerate(sizes):
        needed = UNKNOWN_BYTES if size is None else size
        full = at - start == FILES_AT_ONCE or waiting + needed > BYTES_AT_ONCE
        if full and at > start:
            yield start, at
            start, waiting = at, 0
        waiting += needed
    if start < len(sizes):
        yield start, len(sizes)
