"""What is said, in seconds, of a cluster that cannot take a job."""

import contextlib
import pathlib

import apache_beam as beam
import flink_cluster
import pytest

from pipelines.config import EngineSettings
from pipelines.engine import options
from pipelines.engine.job import Job
from pipelines.engine.tally import WriteTally
from pipelines.errors import ArtifactMismatch, ConfigError, LatentlakeError
from pipelines.lake import store

CHECK_S = 100


def test_a_master_that_does_not_answer_is_named():
    settings = EngineSettings(runner="flink", master="127.0.0.1:9", job_server="x:1")

    with pytest.raises(LatentlakeError, match=r"engine.master http://127.0.0.1:9.*up"):
        send(Job(settings, [], "test"))


def test_a_job_server_that_does_not_answer_is_named(cluster):
    with pytest.raises(LatentlakeError, match=r"engine.job_server 127.0.0.1:9"):
        send(job(cluster, pathlib.Path("/unused"), job_server="127.0.0.1:9"))


def test_a_cluster_with_too_few_slots_says_how_many_it_has(cluster, tmp_path):
    with pytest.raises(LatentlakeError, match=r"has 2 slots on 2 hosts.*wants 3"):
        send(job(cluster, tmp_path, parallelism=3))


def test_a_flag_that_neither_beam_nor_its_server_has_is_refused(cluster, tmp_path):
    wrong = job(cluster, tmp_path)._replace(flags=["--object_reuze=true"])

    with pytest.raises(ConfigError, match="--object_reuze: Beam has no such flag"):
        send(wrong)


@pytest.mark.slow
def test_sound_workers_answer_and_leave_nothing(cluster, tmp_path):
    send(job(cluster, tmp_path))

    assert list(tmp_path.iterdir()) == [tmp_path / "done"]


@pytest.mark.slow
def test_a_pool_with_a_wrong_python_is_named_within_the_limit(cluster, tmp_path):
    wrong = tmp_path / "bin" / "python"
    wrong.parent.mkdir()
    wrong.write_text("#!/bin/sh\nexit 1\n")
    wrong.chmod(0o755)

    with (
        replaced(cluster, "pool-2", {"PATH": f"{wrong.parent}:/usr/bin:/bin"}),
        pytest.raises(LatentlakeError, match=r"no worker answered.*PATH") as caught,
    ):
        send(job(cluster, tmp_path, check_limit_s=CHECK_S))

    assert cluster.workers[1] in str(caught.value)


@pytest.mark.slow
def test_a_host_with_another_version_of_ours_is_named(cluster, tmp_path):
    info = tmp_path / "other" / "latentlake-9.9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: latentlake\nVersion: 9.9.9\n")

    with (
        replaced(cluster, "pool-1", {"PYTHONPATH": str(info.parent)}),
        pytest.raises(ConfigError, match=r"latentlake 9\.9\.9 .*Install") as caught,
    ):
        send(job(cluster, tmp_path))

    assert str(caught.value).startswith(cluster.workers[0])


@pytest.mark.slow
def test_a_host_without_our_package_is_named(cluster, tmp_path):
    bare = tmp_path / "bare" / "pipelines"  # hides ours
    bare.mkdir(parents=True)
    (bare / "__init__.py").write_text('raise ModuleNotFoundError("pipelines")\n')

    with (
        replaced(cluster, "pool-1", {"PYTHONPATH": str(bare.parent)}),
        pytest.raises(ConfigError, match="cannot import our package") as caught,
    ):
        send(job(cluster, tmp_path))

    assert str(caught.value).startswith(cluster.workers[0])


@pytest.mark.slow
def test_an_error_of_ours_on_a_host_stays_what_it_was(cluster, tmp_path):
    damaged = tmp_path / "card.json"
    damaged.write_text("{")

    with (
        pytest.raises(ArtifactMismatch, match=r"card\.json: is damaged: it does not"),
        options.pipeline(job(cluster, tmp_path)) as p,
    ):
        _ = p | beam.Create([str(damaged)]) | beam.Map(store.read_json)


@pytest.mark.slow
def test_an_accident_on_a_host_names_it_and_where_to_read_on(cluster, tmp_path):
    with (
        pytest.raises(
            LatentlakeError, match=r"failed on 10\..*invalid lit.*/exceptions"
        ) as caught,
        options.pipeline(job(cluster, tmp_path)) as p,
    ):
        _ = p | beam.Create(["no number"]) | beam.Map(int)

    assert type(caught.value) is LatentlakeError


def job(cluster, folder, **settings):
    given = cluster.engine() | settings
    name = f"test {folder.name}"  # no slash: what stands before one is the stage
    return Job(EngineSettings(**given), [], name, str(folder / "workers"))


def send(job):
    """Send a job that writes one file; the check comes first."""
    done = str(pathlib.Path(job.folder).parent / "done")
    with options.pipeline(job) as p:
        _ = p | beam.Create([{"n": 1}]) | WriteTally(done)


@contextlib.contextmanager
def replaced(cluster, part, env):
    """Give a part of the cluster another environment for the block's time."""
    cluster.kill(part)
    flink_cluster.up(cluster.home, env=env)
    try:
        yield
    finally:
        cluster.kill(part)
        flink_cluster.up(cluster.home)
