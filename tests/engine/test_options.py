"""Where and how Beam runs, and what becomes of errors on its workers."""

import os

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from pipelines.config import EngineSettings
from pipelines.engine import options
from pipelines.engine.job import Job
from pipelines.errors import ArtifactMismatch, ConfigError


class Refuse(beam.DoFn):
    """Raises what it is given, before or at its first element."""

    def __init__(self, error: Exception, early: bool = False) -> None:
        self._error = error
        self._early = early

    def setup(self) -> None:
        if self._early:
            raise self._error

    def process(self, element: int) -> None:
        raise self._error


def run(settings, *given):
    with options.pipeline(Job(settings, [])) as p:
        _ = p | beam.Create([1, 2]) | beam.Reshuffle() | beam.ParDo(Refuse(*given))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("early", [False, True])
def test_an_error_of_ours_on_a_worker_stays_what_it_was(workers, early):
    said = "x.tfrecord: is damaged.\nDelete it, and run ingest again."

    with pytest.raises(ArtifactMismatch) as caught:
        run(EngineSettings(workers=workers), ArtifactMismatch(said), early)

    assert str(caught.value) == said


def test_an_accident_on_a_worker_stays_an_accident():
    with pytest.raises(RuntimeError, match="the moon"):
        run(EngineSettings(workers=2), KeyError("the moon"))


def view(settings, flags):
    found = options.options(Job(settings, flags))
    direct = found.view_as(DirectOptions)
    runner = found.view_as(StandardOptions).runner
    return runner, direct.direct_num_workers, direct.direct_running_mode


def test_the_local_runner_is_named_and_works_in_threads():
    found = view(EngineSettings(workers=2), [])

    assert found == ("FnApiRunner", 2, "multi_threading")


def test_one_worker_needs_no_threads():
    assert view(EngineSettings(workers=1), [])[1:] == (1, "in_memory")


def test_no_number_of_workers_means_every_core_we_may_use():
    assert view(EngineSettings(), [])[1] == len(os.sched_getaffinity(0))


def test_flags_of_beam_win():
    flags = ["--runner=PortableRunner", "--direct_num_workers=7"]

    assert view(EngineSettings(workers=2), flags)[:2] == ("PortableRunner", 7)


def test_a_pipeline_runs_in_this_process(tmp_path):
    with options.pipeline(Job(EngineSettings(workers=2), [])) as p:
        _ = p | beam.Create([1, 2, 3]) | beam.Map(lambda n: (tmp_path / str(n)).touch())

    assert {path.name for path in tmp_path.iterdir()} == {"1", "2", "3"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--no_such_flag=1"], "--no_such_flag"),
        (["stray"], "stray"),
        (["--runner=Moon"], "--runner=Moon"),
        (["--runner=DaskRunner"], "loses data"),
        (["--direct_num_workers=many"], "invalid int value"),
    ],
)
def test_a_flag_that_beam_does_not_have_is_an_error_and_no_warning(flags, said):
    with pytest.raises(ConfigError, match=said):
        options.options(Job(EngineSettings(), flags))


def test_flags_of_the_settings_come_before_those_given():
    settings = EngineSettings(flags=("--direct_num_workers=3",))

    assert view(settings, [])[1] == 3
    assert view(settings, ["--direct_num_workers=5"])[1] == 5


def test_a_cluster_is_left_alone_where_a_flag_names_a_local_runner():
    settings = EngineSettings(runner="flink", master="m:1", job_server="j:1")

    assert view(settings, ["--runner=FnApiRunner"])[0] == "FnApiRunner"
