"""A whole night without Airflow: every stage in order, then the report."""

import logging
import shlex
import signal
import subprocess
import sys
import time

from pipelines.errors import ACCIDENT, DONE, NOTHING_TO_DO
from pipelines.lake.run import Run
from pipelines.stages.perform import CHAIN, Stopped, signals_raise

GRACE_S = 10.0
"""So long a stage has to end after Ctrl-C, which reaches it by itself."""

log = logging.getLogger(__name__)


def run(run: Run, beam_flags: list[str]) -> int:
    """Run the stages of ``run``, each as a process of its own; return the exit code.

    A stage that has nothing to do is no reason to stop; one that fails is, and the
    report is made all the same. The code is that of the first failure, else 10 where
    nothing was published. SIGTERM ends the stage that runs, and the night.
    """
    try:
        with signals_raise():
            code = _whole(run, beam_flags)
    except (Stopped, KeyboardInterrupt) as stopped:
        code = getattr(stopped, "exit_code", 128 + signal.SIGINT)
    if code == ACCIDENT or code > 128:
        log.error("night: the whole night goes on with:\n  %s", _command(run))
    return code


def _command(run: Run) -> str:
    """Return the command that takes up the run where it stopped."""
    words = ["latentlake", "night", run.lake.dataset, "--lake", run.lake.root]
    return shlex.join([*words, "--run-id", run.run_id])


def _whole(run: Run, beam_flags: list[str]) -> int:
    code = DONE
    for stage in CHAIN:
        code = _stage(stage, run, beam_flags)
        if code not in (DONE, NOTHING_TO_DO):
            break
    reported = _stage("report", run, [])
    return code if code not in (DONE, NOTHING_TO_DO) else _worse(code, reported)


def _worse(code: int, reported: int) -> int:
    return code if reported in (DONE, NOTHING_TO_DO) else reported


def _stage(stage: str, run: Run, beam_flags: list[str]) -> int:
    command = [
        *(sys.executable, "-m", "pipelines", stage, run.lake.dataset),
        *("--lake", run.lake.root, "--run-id", run.run_id, "--night", run.night),
        *(["--", *beam_flags] if beam_flags else []),
    ]
    log.info("── %s", stage)
    began = time.perf_counter()
    with subprocess.Popen(command) as child:
        try:
            code = child.wait()
        except BaseException as error:
            _end(child, GRACE_S if isinstance(error, KeyboardInterrupt) else 0.0)
            raise
    log.info("── %s: %.1f s, exit code %d", stage, time.perf_counter() - began, code)
    return code if code >= 0 else 128 - code


def _end(child: subprocess.Popen[bytes], patience: float) -> None:
    """Wait for the end of ``child``; ask for it once ``patience`` is over."""
    try:
        child.wait(patience)
    except subprocess.TimeoutExpired:
        child.terminate()
        child.wait()
