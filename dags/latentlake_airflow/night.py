"""The night that a DAG run stands for, and the run id that goes with it."""

import datetime
import hashlib
import zoneinfo
from typing import Protocol


class DagRun(Protocol):
    """What is read of Airflow's run of a DAG."""

    run_id: str
    logical_date: datetime.datetime | None
    run_after: datetime.datetime


def night_of(dag_run: DagRun, given: str | None, timezone: str) -> str:
    """Return the date that the run stands for, ``YYYY-MM-DD``; never the clock's.

    The date ``given`` by hand, else that of the logical date, else (runs that an asset
    or the API started have none) of the moment the run became due, in ``timezone``.
    """
    if given:
        return datetime.date.fromisoformat(given).isoformat()
    moment = dag_run.logical_date or dag_run.run_after
    return moment.astimezone(zoneinfo.ZoneInfo(timezone)).date().isoformat()


def run_id_of(dag_run: DagRun, night: str) -> str:
    """Return the run's id in the lake: the same in every stage and every retry."""
    digest = hashlib.sha256(dag_run.run_id.encode()).hexdigest()
    return f"{night}-a{digest[:8]}"  # with a letter: numbers are runs by hand
