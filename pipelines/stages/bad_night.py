"""What makes a whole night bad: nothing of it is published, and it says why."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pipelines.config import LimitSettings
from pipelines.errors import BadNight

EXAMPLES = 2


class Rejected(NamedTuple):
    """One rejection of tonight.

    Attributes:
        reason: Why the entry was left out.
        source_uri: Which entry.
    """

    reason: str
    source_uri: str


def check_listing(
    counts: Mapping[str, int], limits: LimitSettings, origin: str
) -> None:
    """Raise :class:`BadNight` where what ``origin`` lists cannot be the whole truth.

    ``counts`` are those of the diff: listed, new, changed, known, gone.
    """
    before = counts["known"] + counts["changed"] + counts["gone"]
    if counts["listed"] == 0:
        raise BadNight(
            f"{origin}: lists no entry at all ({before} on the last night). Look "
            "whether the source is mounted and the path still right, then run again."
        )
    if before and counts["listed"] > limits.max_growth * before:
        raise BadNight(
            f"{origin}: lists {counts['listed']} entries, {before} on the last night: "
            f"more than {limits.max_growth:g} times as many. If that is meant, raise "
            "limits.max_growth for a night and run again."
        )
    if counts["gone"] > _most(limits, limits.max_gone_fraction, before):
        raise BadNight(
            f"{origin}: {counts['gone']} of {before} entries are gone since the last "
            f"night: more than {limits.max_gone_fraction:.0%}. Look whether a folder "
            "is missing; if they were removed on purpose, raise "
            "limits.max_gone_fraction for a night and run again."
        )


def check_rejections(
    rejected: Iterable[Rejected], due: int, limits: LimitSettings
) -> None:
    """Raise :class:`BadNight` where too many of the ``due`` entries were rejected."""
    found = list(rejected)
    most = _most(limits, limits.max_rejected_fraction, due)
    if len(found) <= most:
        return
    reasons = Counter(one.reason for one in found)
    leading, number = reasons.most_common(1)[0]
    named = [one.source_uri for one in found if one.reason == leading][:EXAMPLES]
    raise BadNight(
        f"{len(found)} of {due} new and changed entries were rejected; the limit "
        f"tonight is {most}. The leading reason is {leading!r} ({number}), for "
        f"example {' and '.join(named)}. Mend the source, or raise "
        "limits.max_rejected_fraction, and run again."
    )


def check_blank(blank: int, decoded: int, limits: LimitSettings) -> None:
    """Raise :class:`BadNight` where too many new images are of one single colour."""
    if blank > _most(limits, limits.max_blank_fraction, decoded):
        raise BadNight(
            f"{blank} of {decoded} new images are of one single colour, more than "
            f"{limits.max_blank_fraction:.0%}: a camera or a copy has failed, most "
            "likely. Mend the source, or raise limits.max_blank_fraction, and run "
            "again."
        )


def _most(limits: LimitSettings, fraction: float, of: int) -> int:
    """Return the largest number that is still a good night's."""
    return max(limits.max_rejected_floor, int(fraction * of))
