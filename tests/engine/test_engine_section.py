"""The section ``[engine]``, and where transform works on a cluster."""

import pytest

from pipelines import config
from pipelines.errors import ConfigError
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.stages import transform

FLINK = {"runner": "flink", "master": "m:8081", "job_server": "j:8099"}


def parsed(**engine):
    values = {"source": {"path": "/src"}, "engine": engine}
    return config.parse(values, origin="birds.toml")


@pytest.mark.parametrize("name", ["master", "job_server"])
def test_flink_needs_its_addresses_and_says_which(name):
    with pytest.raises(ConfigError, match=f"engine.{name} is empty.*make flink-up"):
        parsed(**{**FLINK, name: ""})


def test_an_unknown_runner_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match=r"engine\.runner: found 'spark'.*'flink'"):
        parsed(runner="spark")


def run_of(root, **engine):
    return Run(Lake(root, "birds"), "r-1", "2026-01-01", parsed(**FLINK, **engine))


@pytest.mark.parametrize("work", ["", "s3://bucket/work"])
def test_a_lake_in_a_bucket_needs_a_folder_that_all_hosts_see(work):
    run = run_of("s3://bucket/lake", work=work)

    with (
        pytest.raises(ConfigError, match=r"engine\.work.*shared by all"),
        transform._work(run, local=False),
    ):
        pass


def test_tft_works_in_the_shared_folder_and_leaves_nothing(tmp_path):
    run = run_of("s3://bucket/lake", work=str(tmp_path))

    with transform._work(run, local=False) as work:
        assert work.startswith(str(tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_tft_works_in_the_run_where_every_host_sees_the_lake(tmp_path):
    run = run_of(str(tmp_path))

    with transform._work(run, local=False) as work:
        assert work == run.path("transform")
