"""What the cluster of this machine says of itself, before anything of it is started."""

import sys

import flink_cluster
import flink_parts
import flink_ready
import pytest
from flink_cluster import CannotStop, Cluster
from flink_install import CannotStart
from flink_parts import Part


@pytest.fixture
def cluster(tmp_path):
    home = tmp_path / "home"
    return Cluster(home, "http://m:8081", "j:1", "10.0.0.1", ["a", "b"], 1, 9, True)


def test_a_part_that_ended_by_itself_is_named_with_its_log(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit(1)"]
    flink_parts.start(tmp_path, Part("pool-1", command), {})

    with pytest.raises(CannotStart, match=r"^pool-1 ended .*/pool-1\.log$"):
        flink_ready.Started(tmp_path, {"pool-1"}).wait_for("a pool", "127.0.0.1:9")


def test_what_cannot_start_says_how_to_stop_the_rest(tmp_path, monkeypatch):
    def refuse(home, part, env):
        raise CannotStart("there is no more memory")

    monkeypatch.setattr(flink_cluster.flink_install, "require", lambda: None)
    monkeypatch.setattr(flink_cluster.flink_network, "refused", lambda: "a test")
    monkeypatch.setattr(
        flink_cluster, "_parts", lambda *given: [Part("jobmanager", [])]
    )
    monkeypatch.setattr(flink_parts, "start", refuse)

    with pytest.raises(CannotStart, match=rf"no more memory.* down --home {tmp_path}"):
        flink_cluster.up(tmp_path)


def test_the_home_of_make_is_stopped_by_make():
    assert flink_cluster._stopping(flink_cluster.HOME) == "make flink-down"


def test_processes_that_never_end_do_not_hold_down_for_ever(tmp_path, monkeypatch):
    class Endless:
        pid = 17

    monkeypatch.setattr(flink_parts, "processes", lambda home: [Endless()])
    monkeypatch.setattr(flink_parts, "end", lambda found: None)

    with pytest.raises(CannotStop, match="go on when killed: 17"):
        flink_cluster.down(tmp_path)


def test_a_cluster_of_another_size_says_so(cluster, capsys):
    flink_cluster._tell(cluster, 3, None)

    assert "not the size asked for: it was up already" in capsys.readouterr().out


def test_a_cluster_of_the_size_asked_for_says_nothing_of_it(cluster, capsys):
    flink_cluster._tell(cluster, 2, 1)
    flink_cluster._tell(cluster, None, None)

    said = capsys.readouterr().out
    assert "not the size" not in said
    assert "Warning" not in said


def test_a_pool_that_everyone_reaches_is_warned_of(cluster, capsys):
    flink_cluster._tell(cluster._replace(apart=False), None, None)

    assert "Warning: the worker pool listens at port 9" in capsys.readouterr().out
