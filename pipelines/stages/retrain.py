"""Whether an encoder is to be trained tonight: a pure function of a few facts."""

import dataclasses
import datetime
from typing import Any

from pipelines.config import Retrain, Settings
from pipelines.lake.run import RetrainNow


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What decides whether training is due.

    Attributes:
        night: The night of the run, ``YYYY-MM-DD``.
        retrain: What the run was asked for.
        settings: The dataset's settings.
        image_spec_id: Digest of its settings of images.
        accepted: The card of the accepted encoder, or ``None``.
        tried: The card of the encoder last judged, accepted or not, or ``None``.
        last_attempt: The night on which one was last judged, or ``None``.
        drift: How much worse new images reconstruct than at the gate, where known.
        drift_night: The night whose images showed that.
    """

    night: str
    retrain: RetrainNow
    settings: Settings
    image_spec_id: str
    accepted: dict[str, Any] | None
    tried: dict[str, Any] | None = None
    last_attempt: str | None = None
    drift: float | None = None
    drift_night: str | None = None


def due(facts: Facts) -> str | None:
    """Return why an encoder is to be trained tonight, or ``None`` if none is.

    ``never`` wins over everything but the want of an encoder that fits the images.
    """
    if facts.accepted is None:
        return "no encoder was accepted yet"
    if facts.accepted["image_spec_id"] != facts.image_spec_id:
        return "the accepted encoder is for images of another spec"
    if facts.retrain == "never":
        return None
    if facts.retrain == "always":
        return "it was asked for"
    return _changed(facts) or _calendar(facts) or _drifted(facts)


def _changed(facts: Facts) -> str | None:
    """Name the settings that no judged encoder was trained with yet.

    One that was judged with them and not accepted is tried again by the calendar.
    """
    cards = [card for card in (facts.accepted, facts.tried) if card is not None]
    keys = [differences(facts.settings, card) for card in cards]
    if all(keys):
        return f"the settings {', '.join(keys[-1])} changed"
    return None


def differences(settings: Settings, card: dict[str, Any]) -> list[str]:
    """Return the settings of encoder and transform that ``card`` has otherwise."""
    found = []
    for section in ("encoder", "transform"):
        known = card.get(section) or {}
        wanted = getattr(settings, section).model_dump(mode="json")
        found += [
            f"{section}.{key}"
            for key, value in wanted.items()
            if key in known and known[key] != value
        ]
    return found


def _calendar(facts: Facts) -> str | None:
    schedule = facts.settings.schedule.retrain
    if schedule == "never":
        return None
    if facts.last_attempt is None:
        return f"the calendar says {schedule}, and no attempt is on record"
    last = datetime.date.fromisoformat(facts.last_attempt)
    if datetime.date.fromisoformat(facts.night) < following(last, schedule):
        return None
    return f"the calendar says {schedule}, and the last attempt was on {last}"


def following(last: datetime.date, schedule: Retrain) -> datetime.date:
    """Return the first night on which training is due again after ``last``."""
    if schedule == "daily":
        return last + datetime.timedelta(days=1)
    if schedule == "weekly":
        return last + datetime.timedelta(days=7)
    month = (last.replace(day=1) + datetime.timedelta(days=31)).replace(day=1)
    days = (month + datetime.timedelta(days=31)).replace(day=1) - month
    return month.replace(day=min(last.day, days.days))


def _drifted(facts: Facts) -> str | None:
    """Name the drift of images that no judged encoder was trained on yet."""
    if (facts.drift_night or "9999") <= (facts.last_attempt or ""):
        return None
    limit = facts.settings.schedule.max_drift
    if facts.drift is None or facts.drift <= limit:
        return None
    return f"new images reconstruct {facts.drift:.2f} times worse (limit {limit:g})"
