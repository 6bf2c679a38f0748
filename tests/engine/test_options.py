import apache_beam as beam
import pytest

from pipelines.config import EngineSettings
from pipelines.engine import options
from pipelines.errors import ArtifactMismatch


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
    with options.pipeline(settings, []) as p:
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
