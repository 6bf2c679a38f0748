"""Tells a person what a night does, from the log that Airflow writes."""

import re

from rich.console import Console
from rich.markup import escape

LINE = re.compile(r"^\S+ \[(?P<level>\w+)\s*\] (?P<said>.*?)\s+\[(?P<who>[\w.]+)\]")
STARTS = re.compile(r"(?P<stage>\w+) starts: .*--run-id (?P<run_id>\S+)")
ENDS = re.compile(r"(?P<stage>\w+) ends: (?P<s>[\d.]+) s, exit code (?P<code>\d+)")
STAGE_LINE = re.compile(r"(?:\d\d:\d\d:\d\d )?(?P<said>.*)")
# What TensorFlow's C++ says while it looks for a GPU that is not there.
NOISE = re.compile(r"[IWE]\d{4} \d\d:\d\d:|WARNING: All log messages before absl")
OPERATOR = "latentlake_airflow.operator"
DONE, NOTHING_TO_DO = 0, 10


class Narrator:
    """Follows the log line by line.

    Attributes:
        run_id: The run in the lake, once a stage started.
        failed: The stages that failed, in order.
        code: Airflow's own exit code, once it ended.
    """

    def __init__(self, console: Console) -> None:
        self.run_id: str | None = None
        self.failed: list[str] = []
        self.code: int | None = None
        self._console = console

    def hear(self, line: str) -> None:
        """Take one line of the log."""
        found = LINE.match(line)
        if not found:
            return
        if OPERATOR in found["who"]:
            self._stage(found["said"])
        elif found["who"].startswith("latentlake.") and not NOISE.match(found["said"]):
            said = STAGE_LINE.fullmatch(found["said"])
            self._say(f"    [dim]{escape(said['said'] if said else '')}[/]")

    def finish(self, code: int) -> None:
        """Take Airflow's exit code."""
        self.code = code

    def _stage(self, said: str) -> None:
        starts, ends = STARTS.match(said), ENDS.match(said)
        if starts:
            self.run_id = starts["run_id"]
            self._say(f"  [bold cyan]{starts['stage']}[/]")
        elif ends:
            self._end(ends["stage"], float(ends["s"]), int(ends["code"]))

    def _end(self, stage: str, seconds: float, code: int) -> None:
        if code == DONE:
            self._say(f"  [green]✓ {stage}[/] {seconds:.1f} s")
        elif code == NOTHING_TO_DO:
            self._say(f"  [yellow]– {stage}[/] skipped, {seconds:.1f} s")
        else:
            self.failed.append(stage)
            self._say(f"  [bold red]✗ {stage}[/] failed with exit code {code}")

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)
