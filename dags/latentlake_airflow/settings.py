"""What the DAGs are told: dataset files, and settings from the environment."""

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
    return [read(file) for file in sorted(datasets_folder().glob("*.toml"))]


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
    return int(os.environ.get("LATENTLAKE_RETRIES") or 2)


def train_place() -> dict[str, Any]:
    """Return where the train task runs, as arguments of its operator.

    ``LATENTLAKE_TRAIN_POOL``, ``_QUEUE`` and ``_EXECUTOR`` name Airflow's own;
    ``LATENTLAKE_TRAIN_POD`` is a pod template file for the Kubernetes executor.
    """
    place: dict[str, Any] = {}
    for name in ("pool", "queue", "executor"):
        value = os.environ.get(f"LATENTLAKE_TRAIN_{name.upper()}")
        if value:
            place[name] = value
    pod = os.environ.get("LATENTLAKE_TRAIN_POD")
    if pod:
        place["executor_config"] = {"pod_template_file": pod}
    return place
