"""Waits until the parts of a cluster answer, and notices one that ended by itself."""

import json
import pathlib
import socket
import time
import urllib.request
from collections.abc import Callable
from typing import NamedTuple

import flink_parts
from flink_install import CannotStart

PATIENCE_S = 180.0
PAUSE_S = 0.25


class Started(NamedTuple):
    """Parts that were started.

    Attributes:
        home: The cluster's folder.
        parts: Their names.
    """

    home: pathlib.Path
    parts: set[str]

    def wait_for_slots(self, master: str, wanted: int) -> None:
        """Wait until the job manager has as many slots of task managers."""
        self._wait("the task managers", lambda: _slots(master) >= wanted)

    def wait_for(self, what: str, address: str) -> None:
        """Wait until something listens at ``address``, a host and a port."""
        self._wait(f"{what} at {address}", lambda: _listens(address))

    def _wait(self, what: str, ready: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE_S
        while not ready():
            ended = sorted(self.parts - set(flink_parts.leaders(self.home)))
            if ended:
                logs = ", ".join(str(self.home / f"{name}.log") for name in ended)
                raise CannotStart(
                    f"{', '.join(ended)} ended by itself; why is in {logs}"
                )
            if time.monotonic() > until:
                raise CannotStart(
                    f"waited {PATIENCE_S:.0f} s for {what}; why is in {self.home}/*.log"
                )
            time.sleep(PAUSE_S)


def _slots(master: str) -> int:
    try:
        with urllib.request.urlopen(f"{master}/overview", timeout=5) as answer:
            return int(json.load(answer)["slots-total"])
    except (OSError, ValueError, KeyError):  # it is not ready yet
        return 0


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True
