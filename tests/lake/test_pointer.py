from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.config import Settings
from pipelines.errors import ArtifactMismatch
from pipelines.lake import pointer
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run


def make_run(tmp_path, night="2026-01-01"):
    settings = Settings.model_validate({"source": {"path": "x"}})
    return Run(Lake(str(tmp_path), "digits"), f"{night}-1", night, settings)


def test_a_lake_without_an_accepted_encoder_has_no_pointer(tmp_path):
    assert pointer.read(Lake(str(tmp_path), "digits")) is None


def test_the_last_accepted_encoder_is_the_one_pointed_to(tmp_path):
    run = make_run(tmp_path)
    pointer.accept(run.lake, "one", run, eval_error=0.5)

    pointer.accept(run.lake, "two", run, eval_error=0.25)

    found = pointer.read(run.lake)
    assert (found.space_id, found.eval_error) == ("two", 0.25)
    assert [move["space_id"] for move in found.history] == ["one", "two"]


def test_accepting_the_same_encoder_again_changes_nothing(tmp_path):
    run = make_run(tmp_path)

    pointer.accept(run.lake, "one", run)
    pointer.accept(run.lake, "one", run)

    assert len(pointer.read(run.lake).history) == 1


def test_stepping_back_points_to_the_earlier_encoder_with_its_error(tmp_path):
    run = make_run(tmp_path)
    pointer.accept(run.lake, "one", run, eval_error=0.5)
    pointer.accept(run.lake, "two", run)

    pointer.step_back(run.lake, "one")

    found = pointer.read(run.lake)
    assert (found.space_id, found.eval_error) == ("one", 0.5)


def test_stepping_back_to_a_space_never_accepted_is_refused(tmp_path):
    run = make_run(tmp_path)
    pointer.accept(run.lake, "one", run)

    with pytest.raises(ArtifactMismatch, match="ghost was never accepted"):
        pointer.step_back(run.lake, "ghost")


def test_an_attempt_is_kept_once_for_each_run_even_where_none_was_accepted(tmp_path):
    run = make_run(tmp_path)

    pointer.note_attempt(run.lake, run, "one", "refused")
    pointer.note_attempt(run.lake, run, "two", "refused")

    assert pointer.read(run.lake) is None
    assert [one["space_id"] for one in pointer.attempts(run.lake)] == ["two"]


def test_attempts_noted_at_the_same_time_are_all_kept(tmp_path):
    runs = [make_run(tmp_path, f"2026-01-{night:02}") for night in range(1, 13)]

    with ThreadPoolExecutor(len(runs)) as pool:
        noted = [
            pool.submit(pointer.note_attempt, run.lake, run, "one", "refused")
            for run in runs
        ]
    for one in noted:
        one.result()

    found = pointer.attempts(runs[0].lake)
    assert sorted(one["run_id"] for one in found) == [run.run_id for run in runs]
