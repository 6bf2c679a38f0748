"""Progress of a Beam job, told by the files that it has finished.

It works for every runner, since it looks only at the lake: a bar on a terminal, a
plain line for about every tenth part in a log. A bucket is asked for a sample of the
files, so that looking costs the same however large the job is.
"""

import contextlib
import logging
import random
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.progress import TimeRemainingColumn as Remaining

from pipelines.errors import LatentlakeError
from pipelines.lake import store

LOCAL_SECONDS = 0.5
BUCKET_SECONDS = 30.0
JOIN_SECONDS = 10.0
FEW = 512
"""So many files of a bucket are asked for one by one, rather than their folders."""
SAMPLE = 256
"""So many files of a bucket stand for all: the share is off by 3% or so."""
AT_A_TIME = 16
STEPS = 10

log = logging.getLogger(__name__)


def finished(paths: Collection[str]) -> int:
    """Return how many of the files at ``paths`` stand.

    Each folder is listed once; in a bucket, where a folder may hold millions, a few
    files are asked for one by one.
    """
    if len(paths) <= FEW and not all(map(store.is_local, paths)):
        return _asked(paths)
    folders: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders[folder].add(name)
    return sum(
        len(wanted.intersection(store.names(folder)))
        for folder, wanted in folders.items()
    )


def estimate(paths: Collection[str]) -> int:
    """Return about how many of the files at ``paths`` stand, at a bounded cost.

    A folder on a disk is counted. Of a bucket the same sample is asked for each time,
    so that the answer does not fall while files only come; nothing is listed. All is
    told as done only where the whole sample is, nothing only where none of it is.
    """
    if len(paths) <= SAMPLE or all(map(store.is_local, paths)):
        return finished(paths)
    chosen = random.Random(0).sample(sorted(paths), SAMPLE)
    return _asked(chosen) * len(paths) // SAMPLE


def _asked(paths: Collection[str]) -> int:
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return sum(pool.map(store.exists, paths))


@contextlib.contextmanager
def watching(paths: Collection[str], what: str) -> Iterator[None]:
    """Say, while the block runs, how many of the files at ``paths`` stand."""
    if not paths:
        yield
        return
    stop = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(paths, what, stop), daemon=True, name="watch"
    )
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join(timeout=JOIN_SECONDS)


def _watch(paths: Collection[str], what: str, stop: threading.Event) -> None:
    local = store.is_local(next(iter(paths)))
    pause = LOCAL_SECONDS if local else BUCKET_SECONDS
    # Where the lake is lost the job itself says so.
    with contextlib.suppress(LatentlakeError), _teller(what, len(paths)) as tell:
        while not stop.wait(pause):
            tell(estimate(paths))
        tell(estimate(paths))


@contextlib.contextmanager
def _teller(what: str, total: int) -> Iterator[Callable[[int], None]]:
    if not sys.stderr.isatty():
        yield _Lines(what, total)
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


class _Lines:
    """A plain line in the log for about every tenth part."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._told = 0

    def __call__(self, done: int) -> None:
        step = done * STEPS // self._total
        if step > self._told:
            self._told = step
            log.info("%s: %d of %d", self._what, done, self._total)
