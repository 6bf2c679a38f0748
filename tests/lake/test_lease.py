import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.errors import LakeBusy
from pipelines.lake import lease
from pipelines.lake.layout import Lake

HOLDER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pipelines.lake import lease
from pipelines.lake.layout import Lake
with lease.hold(Lake(sys.argv[1], "digits"), "2026-01-01-1"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_holds_the_lease(tmp_path, other):
    lake = Lake(str(tmp_path), "digits")

    with (
        pytest.raises(LakeBusy, match=f"2026-01-01-1 .process {other.pid} on"),
        lease.hold(lake, "2026-01-02-1", wait_s=0.1),
    ):
        pass


def test_a_lease_ends_with_the_process_that_was_killed(tmp_path, other):
    other.kill()
    other.wait()

    with lease.hold(Lake(str(tmp_path), "digits"), "2026-01-02-1", wait_s=5):
        pass


def test_leases_of_two_datasets_do_not_meet(tmp_path):
    with (
        lease.hold(Lake(str(tmp_path), "one"), "a", wait_s=0.1),
        lease.hold(Lake(str(tmp_path), "two"), "b", wait_s=0.1),
    ):
        pass


def test_who_holds_a_lease_may_hold_it_again_and_keeps_it_after(tmp_path, other):
    other.kill()
    other.wait()
    lake = Lake(str(tmp_path), "digits")

    with lease.hold(lake, "outer", wait_s=5):
        with lease.hold(lake, "inner", wait_s=0.1) as inner:
            assert inner.exclusive
        with ThreadPoolExecutor(1) as pool:
            refused = pool.submit(_hold, lake)

    assert "outer (process" in str(refused.exception())


def _hold(lake):
    with lease.hold(lake, "another thread", wait_s=0.1):
        pass


def test_a_bucket_without_a_postgres_gives_a_lease_that_is_not_exclusive(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(lease, "open_catalog", lambda lake: None)

    with lease.hold(Lake("s3://bucket/lake", "digits"), "a") as held:
        held.confirm()
        assert not held.exclusive
