import os
import pathlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine

from pipelines.errors import LakeBusy, Unreachable
from pipelines.lake import database, lease, pointer
from pipelines.lake.layout import Lake

HOLDER = """
import sys
from pipelines.lake import lease
from pipelines.lake.layout import Lake
with lease.hold(Lake(sys.argv[1], "digits"), "2026-01-01-1"):
    print("held", flush=True)
    sys.stdin.read()
"""
WAITER = """
import sys
from pipelines.lake import lease
from pipelines.lake.layout import Lake
from pipelines.stages.perform import Stopped, signals_raise
print("waits", flush=True)
try:
    with signals_raise(), lease.hold(Lake(sys.argv[1], "digits"), "2026-01-02-1"):
        print("held", flush=True)
except Stopped as stopped:
    print(stopped, flush=True)
"""


@pytest.fixture
def lake(catalog, tmp_path):
    return Lake(str(tmp_path), "digits")


@pytest.fixture
def other(lake, child):
    process = child(HOLDER, lake.root)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_who_holds_the_lease_and_since_when(lake, other):
    said = rf"2026-01-01-1 .process {other.pid} on .*, since \d\d:\d\d UTC is moving"

    with (
        pytest.raises(LakeBusy, match=said),
        lease.hold(lake, "2026-01-02-1", wait_s=0.1),
    ):
        pass


def test_a_lease_ends_at_once_with_the_process_that_was_killed(lake, other):
    other.kill()
    killed = time.monotonic()

    with lease.hold(lake, "2026-01-02-1", wait_s=30):
        assert time.monotonic() - killed < 10


def test_a_holder_that_is_frozen_keeps_the_lease(lake, other):
    other.send_signal(signal.SIGSTOP)

    with pytest.raises(LakeBusy), lease.hold(lake, "2026-01-02-1", wait_s=0.5):
        pass


def test_leases_of_two_datasets_do_not_meet(catalog, tmp_path):
    with (
        lease.hold(Lake(str(tmp_path), "one"), "a", wait_s=0.1),
        lease.hold(Lake(str(tmp_path), "two"), "b", wait_s=0.1),
    ):
        pass


def test_who_holds_a_lease_may_hold_it_again_and_keeps_it_after(lake, child):
    with lease.hold(lake, "outer"):
        with lease.hold(lake, "inner", wait_s=0.1):
            pass
        waiter = child(WAITER, lake.root)
        assert waiter.stdout.readline() == "waits\n"
        time.sleep(1.0)
        assert waiter.poll() is None

    assert waiter.communicate(timeout=60)[0] == "held\n"


def test_a_folder_on_which_files_cannot_be_locked_needs_no_lock_file(lake):
    with lease.hold(lake, "a") as held:
        assert held.exclusive
        assert not os.path.exists(lake.lease)
        assert not os.path.exists(lake.lease_holder)


def test_a_signal_is_heard_while_the_lease_is_waited_for(lake, other, child):
    waiter = child(WAITER, lake.root)
    assert waiter.stdout.readline() == "waits\n"
    time.sleep(1.0)

    waiter.send_signal(signal.SIGTERM)

    assert waiter.communicate(timeout=15)[0] == "SIGTERM\n"


def test_a_lease_that_went_with_its_connection_is_not_confirmed(lake, server):
    with lease.hold(lake, "a") as held:
        held.confirm()
        server.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE 'a (process%'"
        )

        with pytest.raises(Unreachable, match="run the same command again"):
            held.confirm()


def test_a_lock_that_a_pooler_gave_to_another_session_is_not_confirmed(lake, catalog):
    engine = create_engine(catalog)
    with database.locked(engine, "one", "a", 0.1) as (lock, other):
        assert other is None
        lock._is("SELECT pg_advisory_unlock(:key)")

        with pytest.raises(Unreachable, match="let it keep whole sessions"):
            lock.confirm()


def test_the_server_lets_go_of_a_client_that_is_gone(lake, catalog):
    engine = create_engine(catalog)
    with database.locked(engine, "one", "a", 0.1) as (lock, _):
        wanted = "SELECT setting = '30' FROM pg_settings WHERE name = '{}'"

        assert lock._is(wanted.format("tcp_keepalives_idle"))
        assert lock._is(wanted.format("idle_session_timeout").replace("30", "0"))


def test_a_name_too_long_for_the_server_is_cut(lake, catalog):
    engine = create_engine(catalog)
    with (
        database.locked(engine, "one", "ä" * 60, 0.1),
        database.locked(engine, "one", "b", 0.0) as (_, other),
    ):
        assert "since" in other


def test_what_the_lease_protects_does_not_depend_on_the_path_s_spelling(
    lake, other, tmp_path_factory
):
    link = pathlib.Path(tmp_path_factory.mktemp("elsewhere"), "lake")
    link.symlink_to(lake.root)

    with (
        pytest.raises(LakeBusy),
        lease.hold(Lake(str(link), "digits"), "2026-01-02-1", wait_s=0.1),
    ):
        pass


def test_attempts_noted_at_the_same_time_are_all_kept(nights):
    runs = [nights.begin("2026-01-01", number) for number in range(1, 9)]

    with ThreadPoolExecutor(len(runs)) as pool:
        noted = [
            pool.submit(pointer.note_attempt, run.lake, run, "one", "refused")
            for run in runs
        ]
    for one in noted:
        one.result()

    found = pointer.attempts(nights.lake)
    assert sorted(one["run_id"] for one in found) == [run.run_id for run in runs]
