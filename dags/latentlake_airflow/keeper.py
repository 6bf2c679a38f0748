"""Stands between a task and its stage, so that no stage outlives its task.

Run as a program: ``python keeper.py GRACE COMMAND …``. It starts the command in a
process group of its own and waits. When standard input ends, because the task closed
it or died in whatever way, it asks the whole group to stop, and after GRACE seconds
kills it. What the command leaves running is killed with it. The exit code is the
command's, or 128 + the signal that ended it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading


def keep(command: list[str], grace: float) -> int:
    """Return the exit code of ``command``, which ends when standard input does."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(child.pid, ended, grace), daemon=True)
    watch.start()
    # Not reaped yet, so that its number still names the group and nobody else's.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    ended.set()
    _signal_group(child.pid, signal.SIGKILL)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _watch(group: int, ended: threading.Event, grace: float) -> None:
    while os.read(0, 4096):
        pass
    if not ended.is_set():
        _signal_group(group, signal.SIGTERM)
    if not ended.wait(grace):
        _signal_group(group, signal.SIGKILL)


def _signal_group(group: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signum)


if __name__ == "__main__":
    os._exit(keep(sys.argv[2:], float(sys.argv[1])))
