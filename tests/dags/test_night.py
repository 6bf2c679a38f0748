import datetime
import re
from typing import NamedTuple

import pytest
from latentlake_airflow import night

UTC = datetime.UTC
LATE = datetime.datetime(2026, 3, 9, 23, 30, tzinfo=UTC)


class DagRun(NamedTuple):
    run_id: str = "manual__1"
    logical_date: datetime.datetime | None = None
    run_after: datetime.datetime = LATE


def test_a_night_given_by_hand_wins():
    dag_run = DagRun(logical_date=LATE)

    assert night.night_of(dag_run, "2026-01-31", "UTC") == "2026-01-31"


def test_a_scheduled_run_stands_for_its_logical_date():
    dag_run = DagRun(logical_date=datetime.datetime(2026, 3, 8, tzinfo=UTC))

    assert night.night_of(dag_run, None, "UTC") == "2026-03-08"


def test_a_run_without_a_logical_date_stands_for_the_moment_it_became_due():
    assert night.night_of(DagRun(), None, "UTC") == "2026-03-09"


@pytest.mark.parametrize(
    ("timezone", "date"),
    [("Europe/Berlin", "2026-03-10"), ("America/New_York", "2026-03-09")],
)
def test_a_night_is_read_in_the_time_zone_of_the_dataset(timezone, date):
    assert night.night_of(DagRun(), None, timezone) == date


def test_a_night_that_is_no_date_is_refused():
    with pytest.raises(ValueError, match="yesterday"):
        night.night_of(DagRun(), "yesterday", "UTC")


def test_a_run_keeps_its_id_and_another_run_of_the_night_gets_its_own():
    first = night.run_id_of(DagRun("manual__1"), "2026-03-09")
    again = night.run_id_of(DagRun("manual__1"), "2026-03-09")
    other = night.run_id_of(DagRun("manual__2"), "2026-03-09")

    assert re.fullmatch(r"2026-03-09-a[0-9a-f]{8}", first)
    assert first == again != other
