"""A job that stops moving is cancelled, one that works is left alone."""

import signal
import sys
import threading
import time

import pytest

from pipelines.engine import job_server, watchdog
from pipelines.engine.flink import FlinkJob, Slots
from pipelines.engine.watchdog import Limits, Watched
from pipelines.errors import LatentlakeError

STALL_S = 0.4
LONG_S = 2.0
PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, seconds in {"PAUSE_S": 0.02, "APPEAR_S": 0.2, "LET_GO_S": 0.2}.items():
        monkeypatch.setattr(watchdog, name, seconds)


@pytest.fixture
def told(monkeypatch) -> list[str]:
    """Return the names of jobs that Beam's job server was told to cancel."""
    names: list[str] = []
    monkeypatch.setattr(job_server, "cancel", lambda server, name: names.append(name))
    return names


class Flink:
    """A master whose only job says the same for ever, until it is cancelled."""

    def __init__(self, listed: bool = True) -> None:
        self.listed = listed
        self.asked = 0
        self.cancelled = threading.Event()

    def jobs(self, name):
        self.asked += 1
        state = "CANCELED" if self.cancelled.is_set() else "RUNNING"
        first = self.asked == 1  # when the watch begins, the job is not sent yet
        return [] if first or not self.listed else [FlinkJob("1", name, state)]

    def details(self, job_id):
        return {"vertices": [{"id": "v", "status": "RUNNING", "tasks": {}}]}

    def unfinished(self, job_id):
        return [("Read", "10.0.0.2", "RUNNING")]

    def slots(self):
        return Slots(2, 0)

    def cancel(self, found):
        self.cancelled.set()


def run(master, wait, progress=None):
    """Watch over a job that ``wait`` waits for; return the watchdog."""
    limits = Limits(STALL_S, 600)
    with watchdog.watched(master, Watched("job", "x:1", progress), limits) as dog:
        wait()
    return dog


def as_beam_waits():
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:  # gRPC looks up several times a second
        time.sleep(0.1)


def test_a_job_whose_files_appear_is_left_alone(told):
    master = Flink()
    began = time.monotonic()

    dog = run(
        master,
        lambda: time.sleep(LONG_S),
        progress=lambda: int((time.monotonic() - began) / STALL_S * 4),
    )

    assert dog.reason is None
    assert not master.cancelled.is_set()
    assert told == []


@pytest.mark.parametrize("progress", [None, lambda: 7, lambda: 1 // 0])
def test_a_job_of_which_nothing_moves_is_cancelled(told, progress):
    master = Flink()

    dog = run(master, lambda: master.cancelled.wait(PATIENCE_S), progress)

    assert dog.reason == (
        "it has not moved for 0 s; it waited for Read on 10.0.0.2 (RUNNING)"
    )
    assert dog.waited_on == ["10.0.0.2"]


def test_the_work_is_looked_at_a_few_times_while_a_job_says_nothing(told):
    master = Flink()
    looks = []

    run(
        master,
        lambda: master.cancelled.wait(PATIENCE_S),
        progress=lambda: looks.append(1) or 0,
    )

    assert len(looks) <= 1 + watchdog.LOOKS


def test_whatever_the_master_says_the_watch_goes_on(told):
    class Odd(Flink):
        def details(self, job_id):
            raise KeyError("vertices")

        def unfinished(self, job_id):
            raise KeyError("vertices")

    master = Odd()

    dog = run(master, lambda: master.cancelled.wait(PATIENCE_S))

    assert dog.reason.startswith("it has not moved for 0 s; the master does not say")
    assert told == ["job"]


def test_a_job_that_flink_never_got_is_cancelled_at_the_job_server(monkeypatch):
    done = threading.Event()
    monkeypatch.setattr(job_server, "cancel", lambda server, name: done.set())

    dog = run(Flink(listed=False), lambda: done.wait(PATIENCE_S))

    assert done.is_set()
    assert "Flink never got it" in dog.reason


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])
def test_who_waits_for_a_job_that_nobody_can_cancel_is_let_go(monkeypatch, handler):
    def refuse(server, name):
        raise LatentlakeError("the job server is gone")

    monkeypatch.setattr(job_server, "cancel", refuse)
    before = signal.signal(signal.SIGINT, handler)  # SIG_IGN: as behind a shell's &

    try:
        with pytest.raises(RuntimeError, match=r"not moved.*Read on.*server is gone"):
            run(Flink(), as_beam_waits)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_of_a_person_stays_one(told):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Flink(), interrupt)


def test_whoever_is_told_to_stop_cancels_a_job_that_is_not_listed_yet(told):
    with pytest.raises(SystemExit):
        run(Flink(listed=False), lambda: sys.exit(143))

    assert told == ["job"]


def test_whoever_is_told_to_stop_does_not_wait_for_a_master_that_hangs(
    told, monkeypatch
):
    monkeypatch.setattr(watchdog, "END_S", 0.3)
    monkeypatch.setattr(watchdog, "JOIN_S", 0.1)
    gate = threading.Event()

    class Hanging(Flink):
        def jobs(self, name):
            return super().jobs(name) if self.asked == 0 else gate.wait(PATIENCE_S)

    def stopped():
        time.sleep(0.1)
        sys.exit(143)

    began = time.monotonic()
    try:
        with pytest.raises(SystemExit):
            run(Hanging(), stopped)
        assert time.monotonic() - began < PATIENCE_S / 2
    finally:
        gate.set()


def test_cancelling_takes_less_time_than_the_keeper_gives():
    assert watchdog.END_S + watchdog.JOIN_S <= 15
