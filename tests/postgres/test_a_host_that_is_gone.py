"""A holder of the lease on another host, whose cable is pulled: no word of goodbye."""

import os
import shutil
import subprocess
import sys
import time
import uuid

import postgres_server
import pytest

from pipelines.errors import LakeBusy
from pipelines.lake import lease
from pipelines.lake.catalog import VARIABLE
from pipelines.lake.layout import Lake

HOLDER = """
import sys
from pipelines.errors import LatentlakeError
from pipelines.lake import lease
from pipelines.lake.layout import Lake
try:
    with lease.hold(Lake(sys.argv[1], "digits"), "2026-01-01-1") as held:
        print("held", flush=True)
        sys.stdin.readline()
        held.confirm()
except LatentlakeError as error:
    print(f"{type(error).__name__}: {error}", flush=True)
"""


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def host():
    """Yield (the name of a network namespace, our address on the cable to it)."""
    if os.getuid() != 0 or not shutil.which("ip"):
        pytest.skip("only root makes hosts of its own (network namespaces)")
    name = f"c{uuid.uuid4().hex[:8]}"
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as refused:
        pytest.skip(f"no network namespaces here: {refused.stderr.decode().strip()}")
    third = os.getpid() % 250
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("address", "add", f"10.213.{third}.1/24", "dev", name)
        ip("link", "set", name, "up")
        ip("-n", name, "address", "add", f"10.213.{third}.2/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        yield name, f"10.213.{third}.1"
    finally:
        subprocess.run(["ip", "link", "delete", name], check=False)
        subprocess.run(["ip", "netns", "delete", name], check=False)


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_the_lease_of_a_host_that_is_gone_ends_within_two_minutes(
    host, tmp_path, monkeypatch
):
    name, address = host
    lake = Lake(str(tmp_path), "digits")
    with postgres_server.serving(host=address) as pg:
        monkeypatch.setenv(VARIABLE, pg.create("catalog"))
        command = ["ip", "netns", "exec", name, sys.executable, "-c", HOLDER, lake.root]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        other = subprocess.Popen(command, text=True, **pipes)
        try:
            assert other.stdout.readline() == "held\n"
            ip("-n", name, "link", "set", "eth0", "down")
            gone = time.monotonic()
            with pytest.raises(LakeBusy), lease.hold(lake, "next", wait_s=1):
                pass

            with lease.hold(lake, "next", wait_s=180):
                took = time.monotonic() - gone

            other.stdin.write("go\n")  # and what does the other end make of it?
            said = other.communicate(timeout=180)[0]
            noticed = time.monotonic() - gone
        finally:
            other.kill()
            other.communicate()

    assert took < 120
    assert said.startswith("Unreachable: the catalog's Postgres is not reached, or was")
    print(f"let go after {took:.0f} s, noticed by its holder after {noticed:.0f} s")
