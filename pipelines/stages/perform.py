"""One stage of a run, from its settings to its manifest and its exit code."""

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import platform
import resource
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pipelines.config import digest_of
from pipelines.errors import (
    ACCIDENT,
    DONE,
    NOTHING_TO_DO,
    LatentlakeError,
    Unreachable,
    explain_system,
)
from pipelines.lake import afar, manifest
from pipelines.lake import run as runs
from pipelines.lake.run import Run
from pipelines.records import StageResult

CHAIN = ("ingest", "transform", "train", "evaluate", "encode", "publish")
"""The stages that make a night, in order."""
AFTER = ("classify", "report")
"""The stages that only look at a night."""
MOST_SAID = 4000
"""Characters of an error in the line of metrics; its manifest has all of it."""
LIBRARIES = ("apache-beam", "tensorflow", "jax", "keras", "pyiceberg", "numpy")

log = logging.getLogger(__name__)


class Stopped(BaseException):
    """A signal asked the stage to stop."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


def begin(run: Run) -> Run:
    """Return ``run`` as its first stage pinned it; pin it now if none did.

    Raises:
        LakeBusy: Another process holds the lease for long.
    """
    earlier = _pinned(run)
    if earlier is not None:
        return earlier
    from pipelines.lake import lease, tables

    tables.ensure(run.lake)
    with lease.hold(run.lake, run.run_id):  # two processes may begin the same run
        earlier = _pinned(run)
        if earlier is not None:
            return earlier
        base = tables.main_ids(run.lake)
        fresh = dataclasses.replace(
            run, images_base=base.images, features_base=base.features
        )
        runs.pin(fresh)
    return fresh


def _pinned(run: Run) -> Run | None:
    earlier = runs.pinned(run.lake, run.run_id)
    if earlier is not None and earlier.settings != run.settings:
        log.warning(
            "%s: this run is pinned to the settings it began with; the ones given now "
            "are left for the next run",
            run.run_id,
        )
    return earlier


def perform(stage: str, run: Run, beam_flags: list[str], *, again: bool = False) -> int:
    """Run ``stage`` of ``run``, leave its manifest, and return the exit code.

    A stage that is done with the same inputs is not done again, unless ``again``.
    """
    inputs = _inputs(stage, run)
    earlier = run.manifest(stage)
    if earlier and not again and _stands(earlier, inputs, stage):
        log.info("%s: already %s in run %s", stage, earlier["status"], run.run_id)
        _say_metrics(earlier)
        return int(earlier["exit_code"])
    value = _attempt(stage, run, beam_flags) | {"inputs": inputs}
    if value.pop("transient", False):
        return int(value["exit_code"])
    _leave(stage, run, value)
    _say_metrics(value)
    return int(value["exit_code"])


def _leave(stage: str, run: Run, value: dict[str, Any]) -> None:
    """Write the manifest; where the lake is lost, what came before counts."""
    try:
        manifest.write(run.lake, run.run_id, stage, value)
    except Unreachable:
        if value["status"] != manifest.FAILED:
            raise
        log.warning("%s: nor can this be noted in the lake", stage)


def _stands(earlier: dict[str, Any], inputs: str, stage: str) -> bool:
    # What only looks at a night looks again: the tables may have moved since.
    finished = earlier["status"] != manifest.FAILED and stage not in AFTER
    return finished and earlier.get("inputs") == inputs


def _attempt(stage: str, run: Run, beam_flags: list[str]) -> dict[str, Any]:
    """Return the manifest of one attempt; never raises what people can mend."""
    began = time.perf_counter()
    try:
        with signals_raise():
            module = importlib.import_module(f"pipelines.stages.{stage}")
            value = _of_result(module.run(run, beam_flags))
    except LatentlakeError as error:
        log.error("%s: %s", stage, error)
        value = _of_error(error, error.exit_code)
    except (Stopped, KeyboardInterrupt) as error:
        code = getattr(error, "exit_code", 128 + signal.SIGINT)
        _say_how_to_go_on(stage, run, error)
        return {"transient": True, "exit_code": code}
    except Exception as error:
        value = _of_accident(stage, run, error)
    if value["note"]:
        log.info("%s: %s", stage, value["note"])
    return value | {
        "stage": stage,
        "run_id": run.run_id,
        "night": run.night,
        "settings": run.settings.model_dump(mode="json"),
        "versions": versions(),
        "cost": _cost(time.perf_counter() - began),
    }


def _of_accident(stage: str, run: Run, error: Exception) -> dict[str, Any]:
    """Say what happened: in words where these are known, else by a traceback."""
    # A source may be lost too: the lake is blamed for what is its own beyond doubt.
    meant = _of_catalog(error) or afar.meaning(error, run.lake.root, sure=False)
    if meant is not None:
        log.error("%s: %s", stage, meant)
        return _of_error(meant, meant.exit_code)
    words = explain_system(error)
    if words:
        log.error("%s: %s", stage, words)
    else:
        log.exception("%s: an accident; nothing half-written was left", stage)
    _say_how_to_go_on(stage, run, error)
    return _of_error(error, ACCIDENT)


def _of_catalog(error: Exception) -> LatentlakeError | None:
    """Return what ``error`` means if it is a catalog's; a trainer has no catalog."""
    if importlib.util.find_spec("pyiceberg") is None:
        return None
    from pipelines.lake import catalog

    return catalog.explain(error)


def _of_result(result: StageResult) -> dict[str, Any]:
    value = dataclasses.asdict(result)
    skipped = value.pop("skipped")
    return value | {
        "status": manifest.SKIPPED if skipped else manifest.DONE,
        "exit_code": NOTHING_TO_DO if skipped else DONE,
    }


def _of_error(error: Exception, exit_code: int) -> dict[str, Any]:
    named = isinstance(error, LatentlakeError)
    text = str(error) if named else f"{type(error).__name__}: {error}"
    empty = _of_result(StageResult())
    return empty | {
        "status": manifest.FAILED,
        "exit_code": exit_code,
        "error": text,
        "error_kind": type(error).__name__,
    }


def _inputs(stage: str, run: Run) -> str:
    """Return the digest of all that decides what the stage does."""
    chain = CHAIN[: CHAIN.index(stage)] if stage in CHAIN else CHAIN
    upstream = {}
    for name in chain:
        found = run.manifest(name) or {}
        counts = dict(found.get("counts") or {})
        counts.pop("skipped", None)  # how it was done, not what
        upstream[name] = [found.get("status"), counts, found.get("wrote")]
    return digest_of(
        {
            "settings": run.settings.model_dump(mode="json"),
            "retrain": run.retrain,
            "dry_run": run.dry_run,
            "upstream": upstream,
        }
    )


@contextmanager
def signals_raise() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into :class:`Stopped` while the block runs."""

    def stop(signum: int, _: FrameType | None) -> None:
        raise Stopped(signum)

    wanted = (signal.SIGTERM, signal.SIGHUP)
    before = {one: signal.signal(one, stop) for one in wanted}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _say_how_to_go_on(stage: str, run: Run, error: BaseException) -> None:
    command = (
        f"latentlake {stage} {shlex.quote(run.lake.dataset)} "
        f"--lake {shlex.quote(run.lake.root)} --run-id {run.run_id}"
    )
    lines = [line for line in str(error).splitlines() if line.strip()]
    lines = lines or [type(error).__name__]
    # a worker's error may hold its whole traceback, whose last line is the reason
    why = lines[-1 if lines[0].startswith("Traceback") else 0]
    log.error(
        "%s: stopped (%s). Nothing half-written is visible; to go on:\n  %s",
        stage,
        why.strip(),
        command,
    )


def _cost(wall: float) -> dict[str, float]:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    scale = 2**20 if sys.platform == "darwin" else 2**10
    peak = max(own.ru_maxrss, children.ru_maxrss) / scale
    return {
        "wall_s": round(wall, 3),
        "cpu_s": round(cpu, 3),
        "peak_mib": round(peak, 1),
    }


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of the main libraries."""
    found = {"python": platform.python_version()}
    for name in ("latentlake", *LIBRARIES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _say_metrics(value: dict[str, Any]) -> None:
    """Print the one line that Airflow's operator reads, where it asked for it."""
    if os.environ.get("LATENTLAKE_METRICS") != "1":
        return
    keys = ("status", "counts", "figures", "wrote", "note", "error", "cost")
    short = {key: value[key] for key in keys if key in value}
    if "error" in short:
        short["error"] = short["error"][:MOST_SAID]
    print(f"METRICS {json.dumps(short, default=str)}", flush=True)
