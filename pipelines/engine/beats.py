"""Beats: small files by which the workers of a job show that they are at work.

Flink learns of a bundle when it is done, and Beam may hand it hours of work as one.
"""

import contextlib
import functools
import time
import uuid
from collections.abc import Iterator

from pipelines.engine.job import Job
from pipelines.errors import LatentlakeError
from pipelines.lake import store

BEAT_S = 10.0
"""So far apart are the beats of a worker; a small job leaves none."""


class Beat:
    """What one worker has done, counted in a file of its own in ``folder``."""

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/{uuid.uuid4().hex}.json"
        self._count = 0
        self._written = time.monotonic()

    def add(self) -> None:
        """Count one more; write it, if the last time is a while ago."""
        self._count += 1
        now = time.monotonic()
        if now - self._written < BEAT_S:
            return
        self._written = now
        with contextlib.suppress(LatentlakeError, OSError):  # the work itself goes on
            store.write_json(self._path, {"count": self._count})


def total(folder: str) -> int:
    """Return what all workers have counted in ``folder``."""
    found = (store.read_json(f"{folder}/{name}") for name in store.names(folder))
    return sum(one["count"] for one in found)


@contextlib.contextmanager
def telling(job: Job) -> Iterator[tuple[Job, str]]:
    """Yield the job with its progress told by beats, and the folder for these."""
    folder = f"{job.folder}-beats"
    store.delete(folder)
    try:
        yield job._replace(progress=functools.partial(total, folder)), folder
    finally:
        store.delete(folder)
