"""Watches over a job on Flink: one that stops moving is cancelled, and says why."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pipelines.engine.flink import FlinkJob, Master
from pipelines.errors import LatentlakeError

PAUSE_S = 2.0
APPEAR_S = 10.0
"""So long may a job that was sent take to be listed."""
MOST_SAID = 4

log = logging.getLogger(__name__)


class Limits(NamedTuple):
    """How long a job may take, in seconds.

    Attributes:
        stall: Without any sign of life.
        total: From its first running task to its end.
    """

    stall: float
    total: float


class Watchdog:
    """Looks at one job until it is told to stop.

    Attributes:
        reason: Why it cancelled the job; ``None`` where it did not.
        waited_on: The hosts of the tasks that were not done when it did.
    """

    def __init__(self, master: Master, name: str, limits: Limits) -> None:
        self.reason: str | None = None
        self.waited_on: list[str] = []
        self._master = master
        self._name = name
        self._limits = limits
        self._earlier = {one.id for one in master.jobs(name)}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="flink")

    def job(self) -> FlinkJob | None:
        """Return the job as the master has it, ``None`` before it has."""
        found = self._master.jobs(self._name)
        mine = [one for one in found if one.id not in self._earlier]
        return mine[0] if mine else None

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        self._stop.set()
        self._thread.join()

    def cancel(self) -> None:
        """Cancel the job, also one that was sent and is not listed yet."""
        until = time.monotonic() + APPEAR_S
        while (found := self.job()) is None and time.monotonic() < until:
            time.sleep(PAUSE_S / 4)
        if found is not None:
            self._master.cancel([found])

    def _watch(self) -> None:
        moved = time.monotonic()
        running_since: float | None = None
        before: Any = None
        while not self._stop.wait(PAUSE_S):
            now = time.monotonic()
            try:
                found = self.job()
                details = self._master.details(found.id) if found else None
            except LatentlakeError:  # the master may come back
                details = before
            seen = _signs(details)
            if seen != _signs(before):
                moved, before = now, details
            if running_since is None and seen and "RUNNING" in seen.values():
                running_since = now
            late = running_since and now - running_since > self._limits.total
            if late or now - moved > self._limits.stall:
                limit = self._limits.total if late else self._limits.stall
                self._give_up(limit, stalled=not late)
                return

    def _give_up(self, limit: float, *, stalled: bool) -> None:
        what = "has not moved for" if stalled else "was not done within"
        try:
            self.reason = f"it {what} {limit:.0f} s; {self._waiting_for()}"
            self.cancel()
        except LatentlakeError as error:
            self.reason = f"it {what} {limit:.0f} s, and the master is gone: {error}"
        log.error("Flink: %s is cancelled: %s", self._name, self.reason)

    def _waiting_for(self) -> str:
        found = self.job()
        if found is None:
            return "the job server took it and Flink never got it: see its log"
        tasks = self._master.unfinished(found.id)
        started = [one for one in tasks if one[2] in ("RUNNING", "INITIALIZING")]
        if not started:
            slots = self._master.slots()
            return f"it waited for slots: {slots.free} of {slots.total} are free"
        self.waited_on = sorted({host for _, host, _ in started})
        names = [f"{task} on {host} ({state})" for task, host, state in started]
        more = f" and {len(names) - MOST_SAID} more" if len(names) > MOST_SAID else ""
        return f"it waited for {'; '.join(names[:MOST_SAID])}{more}"


def _signs(details: dict[str, Any] | None) -> dict[str, Any]:
    """Return all that changes in a job while it moves."""
    if not details:
        return {}
    found: dict[str, Any] = {}
    for vertex in details["vertices"]:
        found[f"{vertex['id']} status"] = vertex["status"]
        found[f"{vertex['id']} tasks"] = vertex["tasks"]
        metrics = vertex.get("metrics", {})
        found[f"{vertex['id']} records"] = [
            metrics.get(name) for name in ("read-records", "write-records")
        ]
    return found


@contextmanager
def watched(master: Master, name: str, limits: Limits) -> Iterator[Watchdog]:
    """Watch over the job of this name that the block sends, and waits for.

    Whatever ends the block early (a signal, an error) cancels the job on the cluster.
    """
    dog = Watchdog(master, name, limits)
    dog.start()
    try:
        yield dog
    except BaseException:
        dog.stop()
        try:
            dog.cancel()
        except LatentlakeError as error:
            log.error("Flink: %s could not be cancelled: %s", name, error)
        raise
    finally:
        dog.stop()
