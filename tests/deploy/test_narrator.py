import io

import pytest
from narrator import Narrator
from rich.console import Console

OPERATOR = "airflow.task.operators.latentlake_airflow.operator.StageOperator"


def line(said, who=OPERATOR, more="loc=operator.py:53"):
    return f"2026-11-23T08:10:34.217063Z [info     ] {said} [{who}] {more}\n"


STARTS = line(
    "ingest starts: -m pipelines ingest digits --lake /l --run-id 2026-11-23-e7"
)
GOOD = line("ingest ends: 12.3 s, exit code 0")
BAD = line("ingest ends: 0.1 s, exit code 4")
NOTHING = line("ingest ends: 0.1 s, exit code 10")


@pytest.fixture
def told():
    """Return a narrator and a way to read what it said."""
    console = Console(file=io.StringIO(), width=200)
    return Narrator(console), console.file.getvalue


def test_a_stage_is_told_as_it_starts_and_as_it_ends(told):
    narrator, said = told

    narrator.hear(STARTS)
    assert "ingest" in said()
    narrator.hear(GOOD)

    assert "✓ ingest 12.3 s" in said()
    assert (narrator.run_id, narrator.failed) == ("2026-11-23-e7", [])


def test_a_skipped_stage_is_no_failure(told):
    narrator, said = told

    for one in (STARTS, NOTHING):
        narrator.hear(one)

    assert "– ingest skipped" in said()
    assert narrator.failed == []


def test_a_failed_stage_is_remembered(told):
    narrator, said = told

    for one in (STARTS, BAD):
        narrator.hear(one)

    assert "✗ ingest failed with exit code 4" in said()
    assert narrator.failed == ["ingest"]


def test_what_tensorflow_says_of_missing_gpus_is_left_to_the_log(told):
    narrator, said = told

    noise = "I0000 00:00:1795423061.418968   27283 cudart_stub.cc:31] no cuda"
    narrator.hear(line(noise, "latentlake.train.stderr"))

    assert said() == ""


def test_a_stages_own_lines_are_passed_on_and_airflows_are_not(told):
    narrator, said = told

    narrator.hear(line("08:10:35 ingest: 5,024 entries", "latentlake.ingest.stderr"))
    narrator.hear(line("Pushing xcom", "task"))
    narrator.hear("a warning without a time\n")

    assert said().strip() == "ingest: 5,024 entries"
