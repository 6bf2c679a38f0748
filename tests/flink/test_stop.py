"""A job that nobody waits for any more does not go on, and one that hangs is told."""

import contextlib
import signal
import threading
import time

import flink_parts
import psutil
import pytest

from pipelines.engine import job_server
from pipelines.engine.flink import Master

pytestmark = pytest.mark.slow
PATIENCE_S = 300
LARGE = {"height": 256, "width": 256}
"""So large that a job takes a while."""


def wait_for(ready, what):
    until = time.monotonic() + PATIENCE_S
    while not (found := ready()):
        assert time.monotonic() < until, f"waited for {what}"
        time.sleep(0.2)
    return found


def state_of(job, cluster):
    """Return what has become of a job, in Flink's word."""
    return {one.id: one.state for one in Master(cluster.master).jobs()}[job.id]


def at_work(cluster):
    """Return the stage's own job, once it runs."""
    found = Master(cluster.master).jobs()
    return [one for one in found if not one.is_over and not one.name.endswith("/check")]


def test_a_stage_that_is_told_to_stop_cancels_its_job(cluster, place, source):
    one = place("stopped", source, cluster.engine(), image=LARGE)
    process = one.start("ingest")
    (job,) = wait_for(lambda: at_work(cluster), "the job to run")

    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 128 + signal.SIGTERM, said
    assert state_of(job, cluster) == "CANCELED"


def test_a_retry_first_cancels_what_a_killed_attempt_left(cluster, place, source):
    one = place("killed", source, cluster.engine(), image=LARGE)
    process = one.start("ingest")
    (job,) = wait_for(lambda: at_work(cluster), "the job to run")
    process.kill()
    process.communicate()
    assert job.id in {left.id for left in at_work(cluster)}

    with frozen(cluster):  # or what was left may be done before the retry has begun
        process = one.start("ingest")
        wait_for(
            lambda: state_of(job, cluster) == "CANCELED", "the job to be cancelled"
        )
    said, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0, said
    assert one.manifest("ingest")["counts"]["accepted"] > 9_900


def test_beams_job_server_finds_a_job_by_its_name_and_ends_the_wait(
    cluster, place, source
):
    one = place("named", source, cluster.engine(), image=LARGE)
    process = one.start("ingest")
    (job,) = wait_for(lambda: at_work(cluster), "the job to run")

    job_server.cancel(cluster.jobs, job.name)

    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, said
    assert not at_work(cluster)


def test_a_job_that_does_not_move_is_cancelled_and_says_what_it_waited_for(
    cluster, place, source
):
    engine = cluster.engine() | {"stall_limit_s": 20}
    one = place("stalled", source, engine, image=LARGE)
    process = one.start("ingest")
    wait_for(lambda: at_work(cluster), "the job to run")
    with frozen(cluster):
        said, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 1, said
    assert "it has not moved for 20 s; it waited for" in said
    assert any(host in said for host in cluster.workers)
    assert not at_work(cluster)


@contextlib.contextmanager
def frozen(cluster):
    """Stop every Python worker in its tracks, also those that start meanwhile."""
    stopped, over = {}, threading.Event()

    def freeze():
        while not over.wait(0.1):
            for one in flink_parts.processes(cluster.home):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if one.pid not in stopped and "SdkHarness" in str(one.cmdline()):
                        one.suspend()
                        stopped[one.pid] = one

    thread = threading.Thread(target=freeze)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for worker in stopped.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.resume()
