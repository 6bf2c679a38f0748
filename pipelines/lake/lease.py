"""The lease of a dataset: two that move its tables or its pointer take turns.

With a Postgres behind the catalog it is a lock of that database, also for a lake on a
shared folder, whose file locks are not to be trusted. Else a local lake has a lock
file. A bucket with another catalog has none: there the catalog's own check of the base
keeps two publishes apart.
"""

import contextlib
import contextvars
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout

from pipelines.errors import ArtifactMismatch, LakeBusy
from pipelines.lake import database, store
from pipelines.lake.catalog import open_catalog
from pipelines.lake.layout import Lake

if TYPE_CHECKING:
    from sqlalchemy import Engine

WAIT_S = 60.0
"""So long a second one waits before it gives up: most leases are held for less."""


class Lease(NamedTuple):
    """A lease that is held.

    Attributes:
        exclusive: Whether nobody else can hold it; not so where there are no locks.
        confirm: Raises :class:`pipelines.errors.Unreachable` where it was lost.
    """

    exclusive: bool
    confirm: Callable[[], None]


_held: contextvars.ContextVar[Mapping[Lake, Lease]] = contextvars.ContextVar(
    "held", default=MappingProxyType({})
)


@contextlib.contextmanager
def hold(lake: Lake, holder: str, wait_s: float = WAIT_S) -> Iterator[Lease]:
    """Hold the lease of the dataset as ``holder`` (a run's id, or a command).

    The lock ends with the process that holds it, however that ends. Who holds it
    already holds it on: the inner ``with`` block does nothing.

    Raises:
        LakeBusy: Another process holds it; the message says who.
    """
    if lake in _held.get():
        yield _held.get()[lake]
        return
    with _way(lake, holder, wait_s) as lease:
        before = _held.set({**_held.get(), lake: lease})
        try:
            yield lease
        finally:
            _held.reset(before)


def _way(lake: Lake, holder: str, wait_s: float) -> AbstractContextManager[Lease]:
    catalog = open_catalog(lake)
    engine = database.engine_of(catalog)
    if engine is not None:
        name = f"latentlake {catalog.name}.{lake.dataset}"
        return _in_database(lake, engine, name, holder, wait_s)
    if store.is_local(lake.root):
        return _in_file(lake, holder, wait_s)
    return contextlib.nullcontext(Lease(False, _nothing))


@contextlib.contextmanager
def _in_database(
    lake: Lake, engine: "Engine", name: str, holder: str, wait_s: float
) -> Iterator[Lease]:
    mine = f"{holder} (process {os.getpid()} on {socket.gethostname()})"
    with database.locked(engine, name, mine, wait_s) as (lock, other):
        if other is not None:
            raise LakeBusy(_busy(lake, other, wait_s))
        yield Lease(True, lock.confirm)


@contextlib.contextmanager
def _in_file(lake: Lake, holder: str, wait_s: float) -> Iterator[Lease]:
    os.makedirs(os.path.dirname(lake.lease), exist_ok=True)
    lock = FileLock(lake.lease, timeout=wait_s)
    try:
        lock.acquire()
    except Timeout as error:
        raise LakeBusy(_busy(lake, _who(lake), wait_s)) from error
    try:
        store.write_json(
            lake.lease_holder,
            {"holder": holder, "pid": os.getpid(), "host": socket.gethostname()},
        )
        yield Lease(True, _nothing)
    finally:
        store.delete(lake.lease_holder)
        lock.release()


def _nothing() -> None:
    """Confirm what cannot be lost."""


def _busy(lake: Lake, other: str, wait_s: float) -> str:
    return (
        f"{lake.dataset}: {other} is moving its tables, and still was after "
        f"{wait_s:g} s. Wait for it to end, then run the same command again."
    )


def _who(lake: Lake) -> str:
    try:
        held = store.read_json(lake.lease_holder)
    except (FileNotFoundError, ArtifactMismatch):
        return "another process"
    return f"{held['holder']} (process {held['pid']} on {held['host']})"
