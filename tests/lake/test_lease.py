import subprocess
import sys

import pytest

from pipelines.errors import LakeBusy
from pipelines.lake import lease
from pipelines.lake.layout import Lake

HOLDER = """
import sys
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
