"""What the servers of this folder have in common: ports, and how they begin and end."""

import ctypes
import signal
import socket
import sys
import threading
from collections.abc import Callable

LOCALHOST = "127.0.0.1"


class CannotStart(RuntimeError):
    """A server does not come up; the message says why."""


def free_port(host: str = LOCALHOST) -> int:
    """Return a port of ``host`` that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def end_with_us() -> Callable[[], None] | None:
    """Return what Popen is to do first, so that Linux ends the child when we die.

    What is watched is the thread that started it, so that must be the main one.
    """
    return _end_with_parent if sys.platform == "linux" and in_main_thread() else None


def in_main_thread() -> bool:
    """Return whether the caller runs in the thread that lives as long as we do."""
    return threading.current_thread() is threading.main_thread()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
