"""Files of a bucket, copied to this machine: by their digests, several at a time."""

import contextlib
import logging
import os
import pathlib
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import NamedTuple

from pipelines.errors import ArtifactMismatch
from pipelines.lake import store
from pipelines.lake.nearby_cache import Cache, sha256_of

THREADS = 8
SAY_EVERY_S = 10.0
"""So often a long fetch says how far it is."""

log = logging.getLogger(__name__)


class FarFile(NamedTuple):
    """A file in a bucket.

    Attributes:
        path: Where it is.
        size: Its bytes.
        sha256: Their digest, in hex.
    """

    path: str
    size: int
    sha256: str


@contextlib.contextmanager
def files(wanted: Sequence[FarFile]) -> Iterator[list[str]]:
    """Yield where ``wanted`` lie on this machine, in their order, whole and checked.

    They stay in the cache (``nearby_cache``) at least as long as the block lasts.

    Raises:
        ArtifactMismatch: A file is missing from the bucket, or not what its digest
            says.
        ConfigError: The cache is too small for them; the message says what is needed.
        InUse: It is too small while other processes use theirs.
    """
    cache = Cache.of_environment()
    with cache.using({one.sha256: one.size for one in wanted}) as aside:
        _fill(cache, list({one.sha256: one for one in wanted}.values()), aside)
        yield [str(cache.place(one.sha256)) for one in wanted]


def _fill(cache: Cache, wanted: list[FarFile], aside: pathlib.Path) -> None:
    """Fetch what is not here or not whole."""
    began = said = time.monotonic()
    here, fetched, size = 0, 0, 0
    with futures.ThreadPoolExecutor(THREADS, "fetch") as pool:
        jobs = {pool.submit(_bring, cache, one, aside): one for one in wanted}
        try:
            for here, job in enumerate(futures.as_completed(jobs), start=1):
                if job.result():
                    fetched, size = fetched + 1, size + jobs[job].size
                if time.monotonic() - said > SAY_EVERY_S:
                    said = time.monotonic()
                    log.info("examples: %d of %d files are here", here, len(jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    log.info(
        "examples: %d of %d files fetched (%.1f MB in %.1f s), the others were in %s",
        *(fetched, here, size / 1e6, time.monotonic() - began, cache.folder),
    )


def _bring(cache: Cache, one: FarFile, aside: pathlib.Path) -> bool:
    """Make sure of one file; return whether it had to be fetched."""
    place = cache.place(one.sha256)
    if place.exists():
        if sha256_of(place) == one.sha256:
            os.utime(place)  # the one used last
            return False
        log.warning("%s: is damaged; it is fetched again", place)
    coming = aside / one.sha256
    _fetch(one, coming)
    place.parent.mkdir(exist_ok=True)
    os.replace(coming, place)
    return True


def _fetch(one: FarFile, local: pathlib.Path) -> None:
    try:
        store.fetch_file(one.path, str(local))
    except FileNotFoundError as error:
        raise ArtifactMismatch(
            f"{one.path}: is missing, though examples.json lists it. "
            "Run transform again with --again."
        ) from error
    found = sha256_of(local)
    if found != one.sha256:
        raise ArtifactMismatch(
            f"{one.path}: is damaged: its SHA-256 is {found[:16]}…, and examples.json "
            f"says {one.sha256[:16]}…. Delete it and run transform again with --again."
        )
