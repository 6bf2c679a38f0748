"""A whole night without Airflow: every stage in order, then the report."""

import logging
import subprocess
import sys
import time

from pipelines.errors import DONE, NOTHING_TO_DO
from pipelines.lake.run import Run
from pipelines.stages.perform import CHAIN

log = logging.getLogger(__name__)


def run(run: Run, beam_flags: list[str]) -> int:
    """Run the stages of ``run``, each as a process of its own; return the exit code.

    A stage that has nothing to do is no reason to stop; one that fails is, and the
    report is made all the same. The code is that of the first failure, else 10 where
    nothing was published.
    """
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
        except BaseException:
            child.terminate()  # Ctrl-C reaches the child by itself, SIGTERM does not
            child.wait()
            raise
    log.info("── %s: %.1f s, exit code %d", stage, time.perf_counter() - began, code)
    return code if code >= 0 else 128 - code
