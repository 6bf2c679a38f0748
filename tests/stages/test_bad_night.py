"""What makes a whole night bad."""

import pytest

from pipelines.config import LimitSettings
from pipelines.errors import BadNight
from pipelines.stages import bad_night
from pipelines.stages.bad_night import Rejected

LIMITS = LimitSettings()


def listing(**counts):
    usual = {"listed": 100, "new": 0, "changed": 0, "known": 100, "gone": 0}
    bad_night.check_listing(usual | counts, LIMITS, "/images")


def rejected(count, reason="corrupt"):
    return [Rejected(reason, f"/images/{number}") for number in range(count)]


def test_a_quiet_night_is_good():
    listing()


def test_a_first_night_of_any_size_is_good():
    listing(listed=10_000, new=10_000, known=0)


def test_an_empty_source_is_bad():
    with pytest.raises(BadNight, match="lists no entry at all"):
        listing(listed=0, known=0, gone=100)


def test_growth_beyond_tenfold_is_bad():
    with pytest.raises(BadNight, match="more than 10 times"):
        listing(listed=1001, new=901)


def test_tenfold_growth_is_good():
    listing(listed=1000, new=900)


def test_losing_half_is_good_and_more_is_bad():
    listing(listed=50, known=50, gone=50)
    with pytest.raises(BadNight, match="51 of 100 entries are gone"):
        listing(listed=49, known=49, gone=51)


def test_a_few_rejections_never_stop_a_night():
    bad_night.check_rejections(rejected(20), 20, LIMITS)


@pytest.mark.parametrize(("count", "is_bad"), [(50, False), (51, True)])
def test_the_share_of_rejections_is_limited(count, is_bad):
    if not is_bad:
        bad_night.check_rejections(rejected(count), 1000, LIMITS)
        return
    with pytest.raises(BadNight, match="51 of 1000"):
        bad_night.check_rejections(rejected(count), 1000, LIMITS)


def test_the_leading_reason_is_named_with_two_examples():
    found = [*rejected(30), *rejected(5, "empty")]

    with pytest.raises(BadNight, match=r"'corrupt' \(30\).*/images/0 and /images/1\."):
        bad_night.check_rejections(found, 40, LIMITS)


def test_black_images_are_bad_when_they_are_many():
    bad_night.check_blank(20, 30, LIMITS)
    bad_night.check_blank(50, 100, LIMITS)
    with pytest.raises(BadNight, match="51 of 100"):
        bad_night.check_blank(51, 100, LIMITS)
