"""What the workers' answers are judged by."""

import pytest

from pipelines.engine import cluster, probe
from pipelines.engine.flink import Slots
from pipelines.errors import ConfigError

HOSTS = ["10.0.0.1", "10.0.0.2"]


class Flink:
    """A master of two hosts."""

    def __init__(self, hosts=HOSTS, slots=2) -> None:
        self._hosts = hosts
        self._slots = slots

    def hosts(self):
        return self._hosts

    def slots(self):
        return Slots(self._slots, self._slots)


def answers(*hosts, **other):
    """Return what the workers of each of ``hosts`` answer."""
    mine = probe.build()._asdict() | {"executable": "/bin/python"} | other
    return [mine | {"host": host} for host in hosts for _ in range(cluster.QUESTIONS)]


def judge(found, master=None, slots=2):
    cluster._judge(found, master or Flink(), slots, "/lake/workers")


def test_all_answers_of_all_hosts_are_enough_also_twice():
    judge(answers(*HOSTS))
    judge(answers(*HOSTS, *HOSTS))


def test_a_lake_that_only_some_hosts_share_is_told_with_the_silent_one():
    with pytest.raises(ConfigError, match=r"8 answers .* 4 are seen.*none of 10.0.0.2"):
        judge(answers(HOSTS[0]))


def test_a_host_that_is_silent_is_told_also_where_another_answered_twice():
    with pytest.raises(ConfigError, match=r"8 are seen.*none of 10.0.0.2.*same lake"):
        judge(answers(HOSTS[0], HOSTS[0]))


def test_one_answer_that_is_missing_is_one_too_few():
    with pytest.raises(ConfigError, match=r"8 answers there, and 7 are seen"):
        judge(answers(*HOSTS)[1:])


def test_a_lake_that_nobody_shares_is_told():
    with pytest.raises(ConfigError, match=r"and 0 are seen.*of hosts 10.0.0.1, 10"):
        judge([])


def test_a_job_of_fewer_slots_may_leave_a_host_alone():
    judge(answers(HOSTS[0]), slots=1)


def test_hosts_that_flink_knows_by_name_are_not_missed():
    judge(answers(*HOSTS), Flink(["flink-a", "flink-b"]))


def test_other_code_of_a_host_is_named():
    with pytest.raises(ConfigError, match=r"^10.0.0.1: its workers run .*code other"):
        judge(answers(*HOSTS, code="other"))
