import subprocess
import sys

import pytest

from pipelines.commands import rollback, status
from pipelines.errors import ConfigError
from pipelines.lake import manifest
from pipelines.stages import publish


def leave(nights, run, outcome="done"):
    """Leave the manifests of a run that ended with ``outcome`` in publish."""
    for stage in status.STAGES:
        value = {"status": "done", "exit_code": 0}
        if stage == "publish":
            value = {"status": outcome, "exit_code": 1 if outcome == "failed" else 0}
        manifest.write(nights.lake, run.run_id, stage, value)


def test_status_says_night_state_rows_space_and_what_is_due(nights, capsys):
    run = nights.night("2026-01-01", {"/src/a": "cat", "/src/b": "dog"})
    publish.run(run, [])
    leave(nights, run)

    code = status.run(nights.lake.root)

    said = capsys.readouterr().out
    assert code == 0
    for word in ("digits", "2026-01-01", "published", "space-one", "training"):
        assert word in said


def test_a_failed_stage_is_named_with_its_exit_code(nights):
    run = nights.begin("2026-01-01")
    leave(nights, run, outcome="failed")

    assert status.state_of(nights.lake, run.run_id) == "failed in publish (exit code 1)"


def test_a_failed_stage_is_quoted_by_its_first_line(nights):
    run = nights.begin("2026-01-01")
    value = {"status": "failed", "exit_code": 4, "error": "/src: lists no entry\nmore"}
    manifest.write(nights.lake, run.run_id, "ingest", value)

    said = status.state_of(nights.lake, run.run_id)

    assert said == "failed in ingest (exit code 4): /src: lists no entry"


def test_a_run_that_was_cut_off_says_how_far_it_came(nights):
    run = nights.begin("2026-01-01")
    manifest.write(nights.lake, run.run_id, "ingest", {"status": "done"})

    assert status.state_of(nights.lake, run.run_id) == "stopped after ingest"


def test_a_held_dataset_shows_that_it_is_held(nights):
    publish.run(nights.night("2026-01-01", {"/src/a": "cat"}), [])

    rollback.run(nights.lake.root, "digits")

    assert status.status_of(nights.lake).held.startswith("to feature snapshot")


def test_a_lake_without_runs_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no dataset has a run"):
        status.run(str(tmp_path))


def test_status_imports_no_engine():
    code = (
        "import sys; import pipelines.commands.status, pipelines.stages.retrain; "
        "heavy = {'apache_beam', 'tensorflow', 'keras', 'duckdb', 'sklearn'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
