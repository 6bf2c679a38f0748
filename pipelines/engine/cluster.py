"""Sends jobs to Flink: checks the cluster first, watches over the job, clears up.

A worker pool that starts another ``python`` than ours makes a job hang without a word;
so every worker is asked who it is, by a small job with a deadline.
"""

import contextlib
import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
)

from pipelines.engine import beam_flags, job_server, probe, watchdog
from pipelines.engine.flink import Master
from pipelines.engine.job import Job
from pipelines.engine.probe import Build
from pipelines.engine.watchdog import Limits, Watchdog, Watched
from pipelines.errors import ConfigError, LatentlakeError
from pipelines.lake import store

QUESTIONS = 4
"""So many for each slot: that one gets none is then next to impossible."""
NO_PACKAGE = "ModuleNotFoundError"

log = logging.getLogger(__name__)


@contextlib.contextmanager
def sent(job: Job, options: PipelineOptions, flags: list[str]) -> Iterator[None]:
    """Check the cluster, then watch over the job that the block sends to it.

    ``flags`` are those that ``options`` were made of.

    Raises:
        LatentlakeError: The cluster cannot take the job, or the job was cancelled
            because it had stopped moving; the message names the host and the cure.
    """
    master = _check(job, options, flags)
    settings = job.settings
    limits = Limits(settings.stall_limit_s, settings.time_limit_s)
    about = Watched(job.name, server_of(options), job.progress)
    try:
        with watchdog.watched(master, about, limits) as dog:
            yield
    except RuntimeError as error:
        raise _why(error, dog, master) from error


def _why(error: RuntimeError, dog: Watchdog, master: Master) -> Exception:
    """Return what became of a job that failed, in a sentence."""
    if dog.reason:
        return LatentlakeError(
            f"{master.address}: the job was cancelled, since {dog.reason}. Look at the "
            "log of the worker pool on that host: most often its python cannot start "
            "a worker, or a read hangs. Then run the same command again; what is done "
            "stays. A job of slower steps wants a higher engine.stall_limit_s."
        )
    found = dog.job()
    if found is None:
        return error
    return LatentlakeError(
        f"the job failed on {master.failed_at(found.id)}: {_reason(error)} All that "
        f"Flink knows is at {master.address}/#/job/completed/{found.id}/exceptions"
    )


def _reason(error: RuntimeError) -> str:
    """Return the last line before Java's own: where a worker says what happened."""
    text = str(error).partition("\n\tat ")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{lines[-1].rstrip('.')}." if lines else "Flink does not say why."


_ASKED: dict[str, tuple[str, int]] = {}
"""The clusters whose workers answered in this process, by stage."""


def _check(job: Job, options: PipelineOptions, flags: list[str]) -> Master:
    """Return the master, once it is sure that the job can run on its workers.

    It takes seconds. A job that an earlier attempt of the stage left is cancelled.
    """
    began = time.monotonic()
    flink = options.view_as(FlinkRunnerOptions)
    options.view_as(GoogleCloudOptions).job_name = job.name
    master = Master(flink.flink_master)
    slots = master.slots()
    if flink.parallelism in (None, -1):
        flink.parallelism = slots.total
    wanted = flink.parallelism
    if slots.total < max(1, wanted):
        raise LatentlakeError(
            f"engine.master {master.address}: the cluster has {slots.total} slots on "
            f"{len(master.hosts())} hosts, and the job wants {wanted}. Start more task "
            "managers, or lower engine.parallelism; then run the same command again."
        )
    server = server_of(options)
    if server:  # one that is started for this job cannot be asked
        beam_flags.require_known(flags, options, job_server.flags(server))
    stage = job.name.partition("/")[0]
    left = [one for one in master.jobs(stage) if not one.is_over]
    if left:
        log.warning("Flink: cancelling what an earlier attempt of this stage left")
        master.cancel(left)
    if _ASKED.get(stage) != (master.address, wanted):  # its first job
        small = [f"--job_name={job.name}/check", f"--parallelism={wanted}"]
        _ask_workers(job, PipelineOptions([*flags, *small]), master, wanted)
        _ASKED[stage] = (master.address, wanted)
    seconds = time.monotonic() - began
    hosts = ", ".join(master.hosts())
    log.info("Flink: %d slots on %s answer (%.1f s)", wanted, hosts, seconds)
    return master


def server_of(options: PipelineOptions) -> str:
    """Return the address of Beam's job server, empty where there is none yet."""
    address = options.view_as(PortableOptions).job_endpoint
    return "" if not address or address == "embed" else str(address)


def _ask_workers(
    job: Job, options: PipelineOptions, master: Master, slots: int
) -> None:
    """Raise an error unless every host answers, and runs what we run."""
    folder = f"{job.folder}-{uuid.uuid4().hex}"
    limits = Limits(job.settings.stall_limit_s, job.settings.check_limit_s)
    about = Watched(f"{job.name}/check", server_of(options))
    try:
        with watchdog.watched(master, about, limits) as dog:
            _run_probe(options, folder, master.address, slots * QUESTIONS)
        answers = [store.read_json(f"{folder}/{one}") for one in store.names(folder)]
    except RuntimeError as error:
        raise _no_answer(error, dog, master) from error
    finally:
        store.delete(folder)
    _judge(answers, master, slots, job.folder)


def _run_probe(
    options: PipelineOptions, folder: str, master: str, questions: int
) -> None:
    with beam.Pipeline(options=options) as p:
        (
            p
            | "Questions" >> beam.Create(range(questions), reshuffle=False)
            | "Spread" >> beam.Reshuffle()
            | "Ask" >> beam.ParDo(probe.Ask(folder, master))
        )


def _no_answer(error: RuntimeError, dog: Watchdog, master: Master) -> Exception:
    if dog.reason and dog.waited_on:
        return LatentlakeError(
            f"{', '.join(dog.waited_on)}: no worker answered ({dog.reason}). Most "
            "often the worker pool beside the task manager starts a `python` that "
            "cannot import Beam: its log on that host says why. Put the interpreter "
            "that latentlake is installed in first on the pool's PATH, start the pool "
            "anew, and run the same command again."
        )
    if dog.reason:
        return LatentlakeError(
            f"{master.address}: the small job that asks the workers was cancelled, "
            f"since {dog.reason}. Wait for the jobs that hold the slots, or add hosts; "
            "then run the same command again."
        )
    found = dog.job()
    host = master.failed_at(found.id) if found else master.address
    if NO_PACKAGE in str(error):
        line = next(one for one in str(error).splitlines() if NO_PACKAGE in one)
        return ConfigError(
            f"{host}: a worker cannot import our package ({line.strip()}). Install "
            f"{probe.build().words} in the environment of the worker pool on that "
            "host, and start the pool anew."
        )
    first = str(error).partition("\n")[0]
    return LatentlakeError(
        f"{host}: no worker can be started there ({first}). See that a Beam worker "
        "pool listens beside every task manager, where engine.worker_pool says, and "
        "run the same command again."
    )


def _judge(
    answers: list[dict[str, Any]], master: Master, slots: int, folder: str
) -> None:
    """Raise :class:`ConfigError` where ``answers`` are not those of our like."""
    _require_all(answers, master, slots, folder)
    ours = probe.build()
    for one in answers:
        theirs = Build(*(one[field] for field in Build._fields))
        if theirs != ours:
            raise ConfigError(
                f"{one['host']}: its workers run {theirs.words}, by "
                f"{one['executable']}, and this stage is {ours.words}. Install the "
                "same on that host and start its worker pool anew."
            )
    hosts = Counter(one["host"] for one in answers)
    log.debug("Flink: answers by host: %s", dict(hosts))


def _require_all(
    answers: list[dict[str, Any]], master: Master, slots: int, folder: str
) -> None:
    """Raise :class:`ConfigError` where a question, or a host, has no answer here."""
    wanted = slots * QUESTIONS  # a job that began anew has left more, never less
    hosts = set(master.hosts())
    answered = {one["host"] for one in answers}
    silent: set[str] = set()
    if slots == master.slots().total and answered <= hosts:  # both by address
        silent = hosts - answered
    if len(answers) >= wanted and not silent:
        return
    which = f"none of {', '.join(sorted(silent))}, " if silent and answers else ""
    raise ConfigError(
        f"{folder}: the workers wrote {wanted} answers there, and {len(answers)} are "
        f"seen from here, {which}of hosts {', '.join(sorted(hosts))}. All of them and "
        "this machine must see the same lake: a bucket, or a folder that is shared."
    )
