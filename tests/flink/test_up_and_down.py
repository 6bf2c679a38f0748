"""A cluster goes up twice without harm, and down without a trace."""

import flink_cluster
import flink_network
import flink_parts
import psutil
import pytest

pytestmark = pytest.mark.slow


def traces(home) -> list[str]:
    """Return what there is of a cluster on this machine."""
    names = [one.name() for one in flink_parts.processes(home)]
    network = flink_network.Network(home)
    resolvers = flink_network.RESOLVERS.glob(f"{network.bridge}-*")
    return [*names, *network.leftovers(), *map(str, resolvers)]


def test_down_leaves_nothing_also_of_what_was_killed(two_hosts, tmp_path):
    cluster = flink_cluster.up(tmp_path)
    assert traces(tmp_path)
    for part in ("pool-1", "jobmanager", "taskmanager-2"):
        cluster.kill(part)

    flink_cluster.down(tmp_path)

    assert traces(tmp_path) == []
    assert not (tmp_path / "state.json").exists()


def test_up_starts_only_what_does_not_run(two_hosts, tmp_path):
    with flink_cluster.serving(tmp_path) as first:
        before = {name: one.pid for name, one in flink_parts.leaders(tmp_path).items()}
        first.kill("pool-2")

        second = flink_cluster.up(tmp_path)

        after = {name: one.pid for name, one in flink_parts.leaders(tmp_path).items()}
        assert second == first
        assert before.keys() == after.keys()
        assert {name for name in after if after[name] != before[name]} == {"pool-2"}


def test_a_home_is_found_by_nothing_but_its_own_name(two_hosts, tmp_path):
    with flink_cluster.serving(tmp_path / "a", hosts=1) as one:
        flink_cluster.down(tmp_path / "b")

        assert len(flink_parts.leaders(one.home)) == 4
        assert all(psutil.pid_exists(p.pid) for p in flink_parts.processes(one.home))


def test_without_hosts_of_their_own_there_is_one_with_two_slots(
    two_hosts, tmp_path, monkeypatch
):
    monkeypatch.setattr(flink_network, "refused", lambda: "this is a test")

    with flink_cluster.serving(tmp_path) as cluster:
        assert (cluster.workers, cluster.slots) == (["127.0.0.1"], 2)
        assert flink_network.Network(tmp_path).leftovers() == []

    assert traces(tmp_path) == []
