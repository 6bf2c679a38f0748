"""Watches over a job on Flink: one that stops moving is cancelled, and says why."""

import _thread
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pipelines.engine import job_server
from pipelines.engine.flink import FlinkJob, Master

PAUSE_S = 2.0
APPEAR_S = 8.0
"""So long may a job that was sent take to be listed."""
END_S = 12.0
"""So long may cancelling take: who told us to stop kills us after 20 s."""
JOIN_S = 2.0
LET_GO_S = 30.0
"""So long may Beam take to see that its job was cancelled."""
LOOKS = 4
"""So often is the work itself looked at while a job says nothing."""
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


class Watched(NamedTuple):
    """The job to look at.

    Attributes:
        name: What it is called, at Flink and at Beam's job server.
        server: Address of Beam's job server; empty where it is started for the job.
        progress: Tells how much of its work is done. Flink alone does not: Beam hands
            it all that a worker is to do as one bundle, and it counts whole ones.
    """

    name: str
    server: str = ""
    progress: Callable[[], int] | None = None


class Watchdog:
    """Looks at one job until it is told to stop.

    Attributes:
        reason: Why it cancelled the job; ``None`` where it did not.
        waited_on: The hosts of the tasks that were not done when it did.
    """

    def __init__(self, master: Master, job: Watched, limits: Limits) -> None:
        self.reason: str | None = None
        self.waited_on: list[str] = []
        self._master = master
        self._job = job
        self._limits = limits
        self._earlier = {one.id for one in master.jobs(job.name)}
        self._stop = threading.Event()
        self._ending = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="flink")

    def job(self) -> FlinkJob | None:
        """Return the job as the master has it, ``None`` before it has."""
        found = self._master.jobs(self._job.name)
        mine = [one for one in found if one.id not in self._earlier]
        return mine[0] if mine else None

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the watch to end: from now on it cancels nothing."""
        with self._ending:
            self._stop.set()

    def join(self) -> None:
        """Wait a little until the watch has ended."""
        self._thread.join(JOIN_S)

    def cancel(self) -> None:
        """Cancel the job, also one that was sent and is not listed yet."""
        try:
            found = self.job()
            if found is not None:
                self._master.cancel([found])
        finally:  # it may be about to send the job, or know nothing of its end
            job_server.cancel(self._job.server, self._job.name)
        until = time.monotonic() + APPEAR_S
        while found is None and time.monotonic() < until:
            time.sleep(PAUSE_S / 4)
            found = self.job()
        if found is not None:
            self._master.cancel([found])

    def _watch(self) -> None:
        moved = looked = time.monotonic()
        running_since: float | None = None
        before: dict[str, Any] = {}
        done = self._progress()
        while not self._stop.wait(PAUSE_S):
            now = time.monotonic()
            seen = self._seen(before)
            if seen != before:
                moved, before = now, seen
            if now - max(moved, looked) > self._limits.stall / LOOKS:
                looked, count = now, self._progress()
                if count is not None and count != done:
                    moved, done = now, count
            if running_since is None and "RUNNING" in seen.values():
                running_since = now
            late = running_since and now - running_since > self._limits.total
            if late or now - moved > self._limits.stall:
                limit = self._limits.total if late else self._limits.stall
                self._give_up(limit, stalled=not late)
                return

    def _seen(self, before: dict[str, Any]) -> dict[str, Any]:
        """Return the signs of the job's life; ``before`` where there is no news."""
        try:
            found = self.job()
            return _signs(self._master.details(found.id)) if found else {}
        except Exception:  # the master may come back, whatever it said
            log.debug("Flink: no news of %s", self._job.name, exc_info=True)
            return before

    def _progress(self) -> int | None:
        """Return how much is done, ``None`` where that cannot be told just now."""
        try:
            return self._job.progress() if self._job.progress else 0
        except Exception:  # the job itself says so, where the lake is lost
            log.debug("Flink: no count of %s", self._job.name, exc_info=True)
            return None

    def _give_up(self, limit: float, *, stalled: bool) -> None:
        """Cancel the job, and see that nobody waits for it any more."""
        what = "has not moved for" if stalled else "was not done within"
        try:
            why = self._waiting_for()
        except Exception as error:
            why = f"the master does not say what it waited for ({error})"
        with self._ending:
            if self._stop.is_set():  # it has ended meanwhile
                return
            self.reason = f"it {what} {limit:.0f} s; {why}"
        try:
            self.cancel()
        except Exception as error:
            self.reason += f"; cancelling it failed: {error}"
        log.error("Flink: %s is cancelled: %s", self._job.name, self.reason)
        if self._stop.wait(LET_GO_S):
            return
        with self._ending:
            if not self._stop.is_set():  # Beam waits for a job that is no more
                _thread.interrupt_main()

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


def _signs(details: dict[str, Any]) -> dict[str, Any]:
    """Return all that changes in a job while it moves, as far as Flink knows."""
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
def watched(master: Master, job: Watched, limits: Limits) -> Iterator[Watchdog]:
    """Watch over the job that the block sends, and waits for.

    Whatever ends the block early (a signal, an error) cancels the job on the cluster.

    Raises:
        RuntimeError: Beam says that the job was cancelled, or did not even notice; the
            watchdog has the reason.
    """
    dog = Watchdog(master, job, limits)
    dog.start()
    try:
        with _interruptible(), _attended(dog, job.name):
            yield dog
    except KeyboardInterrupt as error:
        if dog.reason is None:
            raise
        raise RuntimeError(dog.reason) from error


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let the watchdog end a wait also where SIGINT is ignored, as behind a shell's &.

    A thread that is not the main one is never interrupted, and has no signals to set.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _attended(dog: Watchdog, name: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        dog.stop()
        if dog.reason is None:
            _cancel_soon(dog, name)
        raise
    finally:
        dog.stop()
        dog.join()


def _cancel_soon(dog: Watchdog, name: str) -> None:
    """Cancel the job, and wait for it no longer than we are given."""

    def cancel() -> None:
        try:
            dog.cancel()
        except Exception as error:
            log.error("Flink: %s could not be cancelled: %s", name, error)

    worker = threading.Thread(target=cancel, daemon=True, name="flink-cancel")
    worker.start()
    worker.join(END_S)
