"""The lease of a dataset: two that move its tables take turns."""

import contextlib
import os
import socket
from collections.abc import Iterator

from filelock import FileLock, Timeout

from pipelines.errors import ArtifactMismatch, LakeBusy
from pipelines.lake import store
from pipelines.lake.layout import Lake

WAIT_S = 60.0
"""So long a second one waits before it gives up: most leases are held for less."""


@contextlib.contextmanager
def hold(lake: Lake, holder: str, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the lease of the dataset as ``holder`` (a run's id, or a command).

    The lock ends with the process that holds it, however that ends. A bucket has no
    locks: there the catalog's own check of the base keeps two publishes apart.

    Raises:
        LakeBusy: Another process holds it; the message says who.
    """
    if not store.is_local(lake.root):
        yield
        return
    os.makedirs(os.path.dirname(lake.lease), exist_ok=True)
    lock = FileLock(lake.lease, timeout=wait_s)
    try:
        lock.acquire()
    except Timeout as error:
        raise LakeBusy(
            f"{lake.dataset}: {_who(lake)} is moving its tables, and still was after "
            f"{wait_s:g} s. Wait for it to end, then run the same command again."
        ) from error
    try:
        store.write_json(
            lake.lease_holder,
            {"holder": holder, "pid": os.getpid(), "host": socket.gethostname()},
        )
        yield
    finally:
        store.delete(lake.lease_holder)
        lock.release()


def _who(lake: Lake) -> str:
    try:
        held = store.read_json(lake.lease_holder)
    except (FileNotFoundError, ArtifactMismatch):
        return "another process"
    return f"{held['holder']} (process {held['pid']} on {held['host']})"
