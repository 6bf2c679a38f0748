"""A stage's process: both of its pipes read as they fill, and its end for certain."""

import io
import pathlib
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

KEEPER = pathlib.Path(__file__).with_name("keeper.py")
LONGEST_LINE = 32_768
LAST_WORDS_S = 10.0
"""A pipe that stays open longer after the end is held by a daemon: not waited for."""
OnLine = Callable[[str, str], None]
"""Called with ``stdout`` or ``stderr`` and a line, from two threads."""


class Child:
    """A command that runs until it ends, is stopped, or its task dies."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        on_line: OnLine,
        grace: float = 20.0,
    ) -> None:
        """Start ``command``; after :meth:`stop` it has ``grace`` seconds to end."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(KEEPER), str(grace), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            bufsize=0,
            start_new_session=True,  # signals to the task's group must not reach it
        )
        self._pumps = [
            self._pump("stdout", self._process.stdout, on_line),
            self._pump("stderr", self._process.stderr, on_line),
        ]

    def wait(self) -> int:
        """Return the exit code, once all that was said has been passed on."""
        try:
            code = self._process.wait()
            for pump in self._pumps:
                pump.join(LAST_WORDS_S)
        except BaseException:  # a time limit or Ctrl-C: nothing is left running
            self.stop()
            self._process.wait()
            raise
        self.stop()
        return code if code >= 0 else 128 - code

    def stop(self) -> None:
        """Ask for the end; returns at once, may be called in a signal handler."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    @staticmethod
    def _pump(name: str, pipe: Any, on_line: OnLine) -> threading.Thread:
        thread = threading.Thread(target=_read, args=(name, pipe, on_line), daemon=True)
        thread.start()
        return thread


def _read(name: str, pipe: io.RawIOBase, on_line: OnLine) -> None:
    with io.TextIOWrapper(io.BufferedReader(pipe), "utf-8", errors="replace") as text:
        while line := text.readline(LONGEST_LINE):
            on_line(name, line.rstrip("\n"))
