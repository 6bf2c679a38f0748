"""Where and how Beam runs: the in-process runner by name, or what the flags say."""

import logging
import os

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)

from pipelines.config import EngineSettings

LOCAL_RUNNER = "FnApiRunner"


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


def pipeline(settings: EngineSettings, beam_flags: list[str]) -> beam.Pipeline:
    """Return a pipeline to fill in a ``with`` block, which runs it and waits."""
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    return beam.Pipeline(options=options(settings, beam_flags))
