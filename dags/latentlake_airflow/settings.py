"""What the DAGs are told: dataset files, and settings from the environment."""

import datetime
import os
import pathlib
import re
import shlex
import sys
import tomllib
import zoneinfo
from collections.abc import Mapping
from typing import Any, NamedTuple

from latentlake_airflow import cron

DATASET_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
BUNDLED = pathlib.Path(__file__).parents[1] / "datasets"


class Dataset(NamedTuple):
    """What a DAG needs to know of a dataset.

    Attributes:
        name: The file's name without its ending.
        file: Its settings file.
        cron: When its nights run; ``None`` for by hand only.
        timezone: The zone that a night's date is read in.
        source: Where its images come from, as the file says it.
        problem: Why the file cannot be used, or ``None``.
    """

    name: str
    file: pathlib.Path
    cron: str | None = None
    timezone: str = "UTC"
    source: str = ""
    problem: str | None = None


def datasets_folder() -> pathlib.Path:
    """Return the folder of the datasets' settings: ``LATENTLAKE_DATASETS``."""
    return pathlib.Path(os.environ.get("LATENTLAKE_DATASETS") or BUNDLED).absolute()


def read_all() -> list[Dataset]:
    """Return every dataset of the folder, by name; a broken one says its problem."""
    found = [read(file) for file in sorted(datasets_folder().glob("*.toml"))]
    shared = _problem()
    if shared is None:
        return found
    return [one._replace(problem=one.problem or shared) for one in found]


def read(file: pathlib.Path) -> Dataset:
    """Return what a DAG needs to know of the dataset in ``file``; never raises."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
        return _checked(file, values)
    except OSError as error:
        problem = f"it cannot be read: {error.strerror}"
    except (ValueError, TypeError) as error:  # TOML and Unicode errors among them
        problem = str(error)
    return Dataset(file.stem, file, problem=problem)


def _checked(file: pathlib.Path, values: Mapping[str, Any]) -> Dataset:
    if not DATASET_NAME.match(file.stem):
        raise ValueError(
            f"{file.stem!r} cannot name a dataset: use a lower-case letter, then "
            "lower-case letters, digits and underscores"
        )
    source = _section(values, "source").get("path")
    if not isinstance(source, str):
        raise ValueError("source.path: is missing; say where the images come from")
    schedule = _section(values, "schedule")
    timezone = schedule.get("timezone", "UTC")
    if str(timezone) not in zoneinfo.available_timezones():
        raise ValueError(
            f"schedule.timezone: found {timezone!r}; use one like Europe/Berlin"
        )
    when = schedule.get("cron", "@daily")
    if when == "none":
        return Dataset(file.stem, file, None, timezone, source)
    cron.check(when)
    return Dataset(file.stem, file, when, timezone, source)


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = values.get(name, {})
    if not isinstance(section, Mapping):
        raise ValueError(f"{name}: must be a section, [{name}]; found {section!r}")
    return section


def lake() -> str:
    """Return the lake's root: ``LATENTLAKE_LAKE``, else ``<AIRFLOW_HOME>/lake``."""
    home = os.environ.get("AIRFLOW_HOME") or os.path.expanduser("~/airflow")
    root = os.environ.get("LATENTLAKE_LAKE") or os.path.join(home, "lake")
    return root if "://" in root else os.path.abspath(root)


def interpreter() -> str:
    """Return the Python that has latentlake: ``LATENTLAKE_PYTHON``, else this one."""
    return os.environ.get("LATENTLAKE_PYTHON") or sys.executable


def beam_flags() -> list[str]:
    """Return the flags of the Beam stages: ``LATENTLAKE_BEAM_FLAGS``."""
    return shlex.split(os.environ.get("LATENTLAKE_BEAM_FLAGS", ""))


def retries() -> int:
    """Return how often an accident is tried again: ``LATENTLAKE_RETRIES``, else 2."""
    return _number("LATENTLAKE_RETRIES", 2)


def retry_delay() -> datetime.timedelta:
    """Return how long before the first time: ``LATENTLAKE_RETRY_SECONDS``, else 60."""
    return datetime.timedelta(seconds=_number("LATENTLAKE_RETRY_SECONDS", 60))


def _number(name: str, default: int) -> int:
    found = os.environ.get(name) or str(default)
    if not (found.isascii() and found.isdecimal()):
        raise ValueError(f"{name}: found {found!r}; use a whole number like {default}")
    return int(found)


def train_place() -> dict[str, Any]:
    """Return where the train task runs, as arguments of its operator.

    ``LATENTLAKE_TRAIN_POOL``, ``_QUEUE`` and ``_EXECUTOR`` name Airflow's own;
    ``LATENTLAKE_TRAIN_POD`` is a YAML file of what its pod has otherwise (Kubernetes).

    Raises:
        ValueError: The pod cannot be used; the message says why.
    """
    place: dict[str, Any] = {}
    for name in ("pool", "queue", "executor"):
        value = os.environ.get(f"LATENTLAKE_TRAIN_{name.upper()}")
        if value:
            place[name] = value
    path = os.environ.get("LATENTLAKE_TRAIN_POD")
    if path:
        place["executor_config"] = {"pod_override": _pod(path)}
    return place


def _pod(path: str) -> Any:
    try:
        from latentlake_airflow import pod  # imports kubernetes: only where it is asked
    except ImportError as error:
        raise ValueError(
            f"LATENTLAKE_TRAIN_POD: Airflow's environment lacks {error.name}. Install "
            "apache-airflow-providers-cncf-kubernetes there, or unset it"
        ) from error
    try:
        return pod.override(path)
    except ValueError as error:
        raise ValueError(f"LATENTLAKE_TRAIN_POD: {error}") from error


def _problem() -> str | None:
    """Return what is wrong with the settings that all datasets share."""
    try:
        retries(), retry_delay(), train_place()
    except ValueError as error:
        return str(error)
    return None
