"""Where and how Beam runs: the in-process runner by name, or what the flags say."""

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)

from pipelines import errors
from pipelines.config import EngineSettings
from pipelines.errors import LatentlakeError

LOCAL_RUNNER = "FnApiRunner"
OURS = re.compile(
    r"^pipelines\.errors\.(\w+): (.+?)(?: \[while running '|\n\n|\s*\Z)", re.M | re.S
)
"""One of our errors in a traceback: its class, and what it said."""


def options(settings: EngineSettings, beam_flags: list[str]) -> PipelineOptions:
    """Return Beam's options; ``beam_flags`` (after ``--``) win over our own.

    The runner is always named: Beam's default would download one.
    """
    found = PipelineOptions(beam_flags)
    if found.view_as(StandardOptions).runner is None:
        found.view_as(StandardOptions).runner = LOCAL_RUNNER
    given = " ".join(beam_flags)
    direct = found.view_as(DirectOptions)
    if "direct_num_workers" not in given:
        direct.direct_num_workers = threads(settings)
    if "direct_running_mode" not in given and direct.direct_num_workers != 1:
        direct.direct_running_mode = "multi_threading"
    return found


def threads(settings: EngineSettings) -> int:
    """Return how many threads the local runner works in."""
    return settings.workers or len(os.sched_getaffinity(0))


@contextlib.contextmanager
def pipeline(
    settings: EngineSettings, beam_flags: list[str]
) -> Iterator[beam.Pipeline]:
    """Yield a pipeline to fill in; the end of the block runs it and waits.

    Raises:
        LatentlakeError: One that a worker raised, of the class that it was.
    """
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    try:
        with beam.Pipeline(options=options(settings, beam_flags)) as made:
            yield made
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
