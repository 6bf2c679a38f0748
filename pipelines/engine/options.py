"""Where and how Beam runs: the in-process runner by name, a cluster, or what flags say.

A runner is always named: Beam's default would download one.
"""

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.runner import create_runner

from pipelines import errors
from pipelines.config import EngineSettings
from pipelines.engine import beam_flags, cluster, told
from pipelines.engine.job import Job
from pipelines.errors import ConfigError, LatentlakeError

LOCAL_RUNNER = "FnApiRunner"
FLINK_RUNNER = "FlinkRunner"
LOCAL_RUNNERS = (LOCAL_RUNNER, "DirectRunner", "BundleBasedDirectRunner")
LOSES_DATA = ("DaskRunner",)
"""Runners that end well without having written what they were given."""
CACHE_MS = 600_000
"""Workers stay for the next step of a job; each new one takes seconds to start."""
ALL_SLOTS = -1
OURS = re.compile(
    r"^(?:Caused by: )?pipelines\.errors\.(\w+): (.+?)"
    r"(?: \[while running '|\n\n|\n\tat |\s*\Z)",
    re.M | re.S,
)
"""One of our errors in a traceback: its class, and what it said."""


def options(job: Job) -> PipelineOptions:
    """Return Beam's options; the flags given win over our own.

    Raises:
        ConfigError: A flag or a runner is none that Beam has.
    """
    # It warns of flags that it does not know; that is for us to judge.
    logging.getLogger("apache_beam.options").setLevel(logging.ERROR)
    flags = flags_of(job)
    found = beam_flags.parse(flags)
    standard = found.view_as(StandardOptions)
    if standard.runner is None:
        standard.runner = LOCAL_RUNNER
    _require_runner(standard.runner)
    if standard.runner in LOCAL_RUNNERS:  # others have a server, which is asked later
        beam_flags.require_known(flags, found)
    given = " ".join(flags)
    direct = found.view_as(DirectOptions)
    if "direct_num_workers" not in given:
        direct.direct_num_workers = threads(job.settings)
    if "direct_running_mode" not in given and direct.direct_num_workers != 1:
        direct.direct_running_mode = "multi_threading"
    return found


def is_local(job: Job) -> bool:
    """Return whether the job runs in this process, and so sees this disk alone."""
    return options(job).view_as(StandardOptions).runner in LOCAL_RUNNERS


def threads(settings: EngineSettings) -> int:
    """Return how many threads the local runner works in."""
    return settings.workers or len(os.sched_getaffinity(0))


def flags_of(job: Job) -> list[str]:
    """Return all flags of the job; of two that say the same, the later one counts."""
    settings = job.settings
    given = [*settings.flags, *job.flags]
    runner = beam_flags.parse(given).view_as(StandardOptions).runner
    if settings.runner != "flink" or runner not in (None, FLINK_RUNNER):
        return given
    ours = {
        "runner": FLINK_RUNNER,
        "flink_master": settings.master,
        "job_endpoint": settings.job_server,
        "environment_type": "EXTERNAL",
        "environment_config": settings.worker_pool,
        "environment_cache_millis": CACHE_MS,
        "parallelism": settings.parallelism or ALL_SLOTS,
    }
    return [*(f"--{name}={value}" for name, value in ours.items()), *given]


def _require_runner(name: str) -> None:
    """Raise :class:`ConfigError` where ``name`` is no runner that can be trusted."""
    if name in LOSES_DATA:
        raise ConfigError(
            f"--runner={name}: this runner loses data without a word. Leave the flag "
            'out for this machine, or set engine.runner = "flink" for a cluster.'
        )
    try:
        create_runner(name)
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"--runner={name}: Beam has no such runner here ({error}). Leave the flag "
            'out for this machine, or set engine.runner = "flink" for a cluster.'
        ) from error


@contextlib.contextmanager
def pipeline(job: Job) -> Iterator[beam.Pipeline]:
    """Yield a pipeline to fill in; the end of the block runs it and waits.

    On Flink the cluster is checked first, and the job watched over.

    Raises:
        LatentlakeError: One that a worker raised, of the class that it was.
    """
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    told.once()
    found = options(job)
    flink = found.view_as(StandardOptions).runner == FLINK_RUNNER
    if not flink or found.view_as(FlinkRunnerOptions).flink_master.startswith("["):
        with _errors_of_workers(), beam.Pipeline(options=found) as made:
            yield made
        return
    with (
        cluster.sent(job, found, flags_of(job)),
        _errors_of_workers(),
        beam.Pipeline(options=found) as made,
    ):
        yield made


@contextlib.contextmanager
def _errors_of_workers() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, LatentlakeError) as error:
        kind = type(error)
        meant = on_purpose(f"{kind.__module__}.{kind.__name__}: {error}")
        if meant is None:
            raise
        raise meant from error


def on_purpose(text: str) -> LatentlakeError | None:
    """Return the error of ours that ``text`` tells of, or ``None``.

    Runners hand on what a worker raised as the text of its traceback, so that a
    damaged shard would look like an accident that a retry helps.
    """
    found = OURS.findall(text)
    if not found:
        return None
    name, said = found[-1]
    kind: Any = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, LatentlakeError):
        return kind(said)
    return None
