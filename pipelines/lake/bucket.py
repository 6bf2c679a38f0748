"""Objects in a bucket: one client for all of our files, with limits on its patience.

Keys come from the environment or the usual AWS files, as botocore finds them; nothing
is remembered of what a bucket held, since others write to it at the same time. A call
that finds no server is tried again for some seconds, then ends in an error of ours.
Any filesystem of fsspec's will do for the rest; S3's is the one that is looked after.
"""

import contextlib
import functools
import logging
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import IO, Any, TypeVar

import fsspec
import tenacity

from pipelines.errors import AccessRefused, ConfigError, Unreachable
from pipelines.lake import afar, s3_address

S3 = ("s3", "s3a")
PATIENCE_S = 20.0
"""So long a call that finds no server is tried again, beside botocore's own tries."""
CONNECT_S = 5
READ_S = 15
TRIES = 3
"""Of botocore for one request: refused, throttled, broken off."""
PART_BYTES = 16 * 2**20
"""A file twice as large goes in parts of this size, a few at once."""
ANY_REGION = "us-east-1"
"""What a server that knows no regions is told."""
PARTS_AT_ONCE = 4
BLOCK_BYTES = 4 * 2**20
"""What a file that is open for reading fetches at once, and ahead."""
FILES_AT_ONCE = 16

T = TypeVar("T")
log = logging.getLogger(__name__)


def filesystem(path: str) -> tuple[Any, str]:
    """Return the filesystem of ``path``, and the path as that one knows it.

    Cheap to call: fsspec keeps one client for each process (a forked one makes its
    own), and threads share it.

    Raises:
        ConfigError: The path names no filesystem that is installed, or no bucket.
    """
    kind, _, rest = path.partition("://")
    if kind in S3 and not rest.strip("/"):
        raise ConfigError(f"{path}: names no bucket. Give s3://BUCKET/PREFIX.")
    try:
        fs, inner = fsspec.core.url_to_fs(path, **(_s3_options() if kind in S3 else {}))
    except ImportError as error:
        raise ConfigError(
            f"{path}: {error}. For s3:// that is: pip install 'latentlake[bucket]'."
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}.") from error
    if kind in S3:
        fs.retries = 2  # of a body that breaks off; requests are botocore's to try
    return fs, inner


def _s3_options() -> dict[str, Any]:
    config: dict[str, Any] = {
        "connect_timeout": CONNECT_S,
        "read_timeout": READ_S,
        "retries": {"mode": "standard", "total_max_attempts": TRIES},
        "max_pool_connections": 32,
    }
    place = s3_address.endpoint()
    if place and "amazonaws.com" not in place:
        config["s3"] = {"addressing_style": "path"}  # as PyArrow asks such a server
    options: dict[str, Any] = {
        "use_listings_cache": False,
        "default_block_size": BLOCK_BYTES,
        "max_concurrency": 1,  # else each reading asks for the size first
        "config_kwargs": config,
    }
    if region := s3_address.region():
        options["client_kwargs"] = {"region_name": region}
    return options


def call(path: str, do: Callable[[Any, str], T]) -> T:
    """Return what ``do(filesystem, inner path)`` returns; errors are ours.

    Raises:
        ConfigError: Keys, bucket or region are wrong.
        Unreachable: The server did not answer in time.
        FileNotFoundError: There is nothing at ``path``.
    """

    def attempt() -> T:
        fs, inner = filesystem(path)
        try:
            with afar.explained(path):
                return do(fs, inner)
        except FileNotFoundError:
            require(path)
            raise

    again = tenacity.Retrying(
        stop=tenacity.stop_after_delay(PATIENCE_S),
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=5),
        retry=tenacity.retry_if_exception_type(Unreachable),
        before_sleep=lambda state: _say(path, state.attempt_number),
        reraise=True,
    )
    return again(attempt)


def _say(path: str, tries: int) -> None:
    if tries == 1:
        log.warning("%s: no answer; trying again for a while", path)


def require(path: str) -> None:
    """Make sure, once in each process, that the bucket of ``path`` is there for us.

    Raises:
        ConfigError: It does not exist, or the keys are wrong.
        Unreachable: The server does not answer.
    """
    fs, inner = filesystem(path)
    if is_s3(fs):
        _require_known(path.partition("://")[0], fs.split_path(inner)[0], os.getpid())


@functools.lru_cache(maxsize=64)  # a bucket that stood is not asked for again
def _require_known(kind: str, name: str, pid: int) -> None:
    path = f"{kind}://{name}"
    fs, _ = filesystem(path)
    try:
        with afar.explained(path):
            # Unlike a HEAD, an answer with a body says what is wrong.
            fs.call_s3("list_objects_v2", Bucket=name, MaxKeys=1)
    except FileNotFoundError as error:
        raise afar.no_bucket(path) from error
    except AccessRefused:
        return  # not to be let list is no reason to stop: one may read


def size(path: str) -> int | None:
    """Return the bytes of the object at ``path``, ``None`` where there is none.

    One question about one object: a folder is no object, and nothing is listed.
    """
    try:
        return call(path, _size)
    except FileNotFoundError:
        return None


def _size(fs: Any, inner: str) -> int:
    if not is_s3(fs):
        return int(fs.size(inner) or 0)
    bucket, key, _ = fs.split_path(inner)
    return int(fs.call_s3("head_object", Bucket=bucket, Key=key)["ContentLength"])


def read(path: str) -> bytes:
    """Return the whole object at ``path``."""
    return bytes(call(path, lambda fs, inner: fs.cat_file(inner)))


@contextlib.contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """Yield the object at ``path``, to be read from any place of it."""
    file = call(path, lambda fs, inner: fs.open(inner, "rb"))
    with file, afar.explained(path):
        yield file


def names(folder: str) -> list[str]:
    """Return the names of what lies in ``folder``; none where it is missing."""
    try:
        found = call(folder, lambda fs, inner: fs.ls(inner, detail=False))
    except FileNotFoundError:
        return []
    return [path.rstrip("/").rsplit("/", 1)[-1] for path in found]


def put(local: str, path: str) -> None:
    """Upload the file ``local`` to ``path``: there whole, or not at all.

    A large one goes in parts, of which nothing is seen before the last act; parts of an
    upload that is killed stay hidden in the bucket until its own rule takes them away.
    """
    call(path, lambda fs, inner: fs.put_file(local, inner, **_parts(fs)))


def write(path: str, data: bytes) -> None:
    """Put ``data`` at ``path``: there whole, or not at all."""
    call(path, lambda fs, inner: fs.pipe_file(inner, data, **_parts(fs)))


def _parts(fs: Any) -> dict[str, int]:
    if not is_s3(fs):
        return {}
    return {"chunksize": PART_BYTES, "max_concurrency": PARTS_AT_ONCE}


def fetch(path: str, local: str) -> None:
    """Copy the object at ``path`` to the file ``local``."""
    call(path, lambda fs, inner: fs.get_file(inner, local))


def fetch_folder(folder: str, local: str) -> None:
    """Copy what lies below ``folder`` to the folder ``local``, several at once."""

    def get(fs: Any, inner: str) -> None:
        found = [one for one in fs.find(inner) if not one.endswith("/")]
        if not found:
            raise FileNotFoundError(folder)
        root = inner.rstrip("/")
        places = [pathlib.Path(local, one[len(root) + 1 :]) for one in found]
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
        if is_s3(fs):
            fs.get(found, [str(place) for place in places], batch_size=FILES_AT_ONCE)
            return
        for one, place in zip(found, places, strict=True):
            fs.get_file(one, str(place))

    call(folder, get)


def delete(path: str) -> None:
    """Delete the object at ``path`` and all below it; nothing there is no error."""
    try:
        call(path, lambda fs, inner: fs.rm(inner, recursive=True))
    except FileNotFoundError:
        return


def is_s3(fs: Any) -> bool:
    """Return whether a filesystem of fsspec's is that of S3."""
    kinds = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return bool(set(kinds) & set(S3))
