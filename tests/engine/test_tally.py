"""What the elements of a job came to, written by a worker."""

import json
from typing import NamedTuple

import apache_beam as beam
import pytest

from pipelines.config import EngineSettings
from pipelines.engine import options, tally
from pipelines.engine.job import Job


class Seen(NamedTuple):
    images: int
    skipped: bool


@pytest.mark.parametrize("workers", [1, 2])
def test_fields_are_added_up_and_the_elements_counted(tmp_path, workers):
    path = str(tmp_path / "tally.json")
    seen = [Seen(number, number % 3 == 0) for number in range(10)]

    with options.pipeline(Job(EngineSettings(workers=workers), [])) as p:
        _ = p | beam.Create(seen) | beam.Reshuffle() | tally.WriteTally(path)

    assert json.loads((tmp_path / "tally.json").read_text()) == {
        "elements": 10,
        "images": 45,
        "skipped": 4,
    }


def test_a_tally_is_gone_once_it_was_taken(tmp_path):
    (tmp_path / "tally.json").write_text('{"skipped": 1}')

    assert tally.take(str(tmp_path / "tally.json")) == {"skipped": 1}
    assert not list(tmp_path.iterdir())
