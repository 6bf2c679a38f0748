import pytest
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)
from latentlake_airflow import outcome


def test_a_stage_that_is_done_raises_nothing():
    outcome.raise_for("ingest", 0, "")


def test_a_stage_with_nothing_to_do_is_skipped_with_its_reason():
    with pytest.raises(AirflowSkipException, match="encode: no new image"):
        outcome.raise_for("encode", 10, "no new image")


@pytest.mark.parametrize("code", [2, 3, 4, 5])
def test_what_a_retry_cannot_help_fails_for_good(code):
    with pytest.raises(AirflowFailException, match="the key x is wrong"):
        outcome.raise_for("ingest", code, "the key x is wrong")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (1, "an accident"),
        (134, "SIGABRT"),
        (137, "SIGKILL.*memory"),
        (143, "SIGTERM"),
        (139, "SIGSEGV"),
    ],
)
def test_accidents_and_signals_are_tried_again(code, said):
    with pytest.raises(AirflowException, match=said) as caught:
        outcome.raise_for("train", code, "")

    assert not isinstance(caught.value, AirflowFailException | AirflowSkipException)
