"""When an encoder is due to be trained."""

import datetime

import pytest

from pipelines import config
from pipelines.stages import retrain
from pipelines.stages.retrain import Facts

SETTINGS = {"source": {"path": "/images"}}


def settings(**sections):
    return config.parse(SETTINGS | sections, origin="test")


def card(of=None, spec="spec"):
    values = (of or settings()).model_dump(mode="json")
    return {
        "image_spec_id": spec,
        "encoder": values["encoder"],
        "transform": values["transform"],
    }


def facts(**values):
    usual = {
        "night": "2026-03-10",
        "retrain": "auto",
        "settings": settings(),
        "image_spec_id": "spec",
        "accepted": card(),
        "tried": card(),
        "last_attempt": "2026-03-09",
    }
    return Facts(**usual | values)


def test_nothing_is_due_on_the_day_after():
    assert retrain.due(facts()) is None


@pytest.mark.parametrize("asked", ["auto", "always", "never"])
def test_without_an_encoder_training_is_always_due(asked):
    reason = retrain.due(facts(accepted=None, tried=None, retrain=asked))

    assert reason == "no encoder was accepted yet"


def test_an_encoder_for_other_images_is_none():
    reason = retrain.due(facts(image_spec_id="another", retrain="never"))

    assert "another spec" in reason


def test_it_is_due_when_asked_for():
    assert retrain.due(facts(retrain="always")) == "it was asked for"


def test_never_wins_over_calendar_and_drift():
    late = facts(retrain="never", last_attempt="2025-01-01", drift=9.0)

    assert retrain.due(late) is None


def test_changed_settings_are_named():
    changed = settings(encoder={"latent_dim": 64})

    assert "encoder.latent_dim" in retrain.due(facts(settings=changed))


def test_changed_settings_that_were_tried_wait_for_the_calendar():
    changed = settings(encoder={"latent_dim": 64})

    assert retrain.due(facts(settings=changed, tried=card(changed))) is None


@pytest.mark.parametrize(
    ("schedule", "last", "night", "is_due"),
    [
        ("daily", "2026-03-09", "2026-03-10", True),
        ("daily", "2026-03-10", "2026-03-10", False),
        ("weekly", "2026-03-03", "2026-03-10", True),
        ("weekly", "2026-03-04", "2026-03-10", False),
        ("monthly", "2026-02-10", "2026-03-10", True),
        ("monthly", "2026-02-11", "2026-03-10", False),
        ("never", "2020-01-01", "2026-03-10", False),
    ],
)
def test_the_calendar_counts_from_the_last_attempt(schedule, last, night, is_due):
    calendar = settings(schedule={"retrain": schedule})

    reason = retrain.due(facts(settings=calendar, last_attempt=last, night=night))

    assert (reason is not None) == is_due


def test_a_month_after_the_31st_ends_with_the_shorter_month():
    following = retrain.following(datetime.date(2026, 1, 31), "monthly")

    assert following == datetime.date(2026, 2, 28)


@pytest.mark.parametrize(("drift", "is_due"), [(1.5, False), (1.6, True)])
def test_drift_above_its_limit_makes_it_due(drift, is_due):
    assert (retrain.due(facts(drift=drift)) is not None) == is_due


@pytest.mark.parametrize(
    ("night", "is_due"),
    [("2026-03-08", False), ("2026-03-09", False), ("2026-03-10", True)],
)
def test_drift_that_the_last_attempt_has_seen_waits_for_newer_images(night, is_due):
    known = facts(drift=9.0, drift_night=night, last_attempt="2026-03-09")

    assert (retrain.due(known) is not None) == is_due
