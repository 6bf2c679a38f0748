import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import types

import pytest

from pipelines.config import Settings, SourceSettings
from pipelines.errors import BadNight, GateRefused
from pipelines.lake import lease
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.records import StageResult
from pipelines.stages import perform

SETTINGS = Settings(source=SourceSettings(path="photos"))


@pytest.fixture
def run(tmp_path):
    lake = Lake(str(tmp_path / "lake"), "birds")
    run = Run(lake=lake, run_id="r-1", night="2026-02-01", settings=SETTINGS)
    runs.pin(run)
    return run


@pytest.fixture
def stage(monkeypatch):
    """Return a function that puts a stage of the test's own in place of ingest."""

    def put(body):
        module = types.ModuleType("pipelines.stages.ingest")
        module.run = body
        monkeypatch.setitem(sys.modules, "pipelines.stages.ingest", module)

    return put


def test_a_done_stage_leaves_a_manifest_with_its_cost(run, stage):
    stage(lambda run, flags: StageResult(counts={"listed": 3}, note="three"))

    code = perform.perform("ingest", run, [])

    found = run.manifest("ingest")
    assert code == 0
    assert (found["status"], found["counts"], found["note"]) == (
        "done",
        {"listed": 3},
        "three",
    )
    assert found["cost"]["peak_mib"] > 1
    assert found["settings"]["source"]["path"] == "photos"
    assert found["versions"]["latentlake"]


def test_a_done_stage_is_not_done_again_unless_asked(run, stage):
    calls = []
    stage(lambda run, flags: calls.append(1) or StageResult())

    perform.perform("ingest", run, [])
    perform.perform("ingest", run, [])
    assert len(calls) == 1

    perform.perform("ingest", run, [], again=True)
    assert len(calls) == 2


@pytest.mark.parametrize(("error", "code"), [(BadNight, 4), (GateRefused, 3)])
def test_an_error_on_purpose_is_recorded_with_its_exit_code(run, stage, error, code):
    def fail(run, flags):
        raise error("40 of 50 are truncated. Look at the disk.")

    stage(fail)

    assert perform.perform("ingest", run, []) == code
    found = run.manifest("ingest")
    assert (found["status"], found["exit_code"]) == ("failed", code)
    assert found["error"] == "40 of 50 are truncated. Look at the disk."


def test_an_accident_is_recorded_and_the_next_try_is_a_real_one(run, stage, caplog):
    def fail(run, flags):
        raise RuntimeError("the moon")

    stage(fail)
    assert perform.perform("ingest", run, []) == 1
    assert "to go on" in caplog.text

    stage(lambda run, flags: StageResult())
    assert perform.perform("ingest", run, []) == 0


def test_nothing_to_do_is_exit_code_ten(run, stage):
    stage(lambda run, flags: StageResult(skipped=True, note="nothing new"))

    assert perform.perform("ingest", run, []) == 10
    assert perform.perform("ingest", run, []) == 10
    assert run.manifest("ingest")["status"] == "skipped"


def test_what_the_system_refuses_is_said_without_a_traceback(run, stage, caplog):
    def refused(run, flags):
        raise PermissionError(errno.EACCES, "Permission denied", "/lake/shards")

    stage(refused)

    assert perform.perform("ingest", run, []) == 1
    assert "/lake/shards: Permission denied. Look who owns it" in caplog.text
    assert "latentlake ingest birds" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_backend_that_is_not_installed_is_named(run, stage, caplog, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "no_such_backend")
    stage(lambda run, flags: __import__("no_such_backend"))

    assert perform.perform("ingest", run, []) == 1
    assert "Keras is to compute with no_such_backend (KERAS_BACKEND)" in caplog.text
    assert "Traceback" not in caplog.text


def test_an_error_that_holds_a_traceback_is_named_by_its_last_line(run, stage, caplog):
    def fail(run, flags):
        raise RuntimeError("Traceback (most recent call last):\n  File x\nOSError: y\n")

    stage(fail)
    perform.perform("ingest", run, [])

    assert "ingest: stopped (OSError: y)" in caplog.text


def test_a_run_that_cannot_be_pinned_while_another_holds_the_lease_is_one_sentence(
    tmp_path,
):
    (tmp_path / "birds.toml").write_text('[source]\npath = "photos"\n')
    lake = Lake(str(tmp_path / "lake"), "birds")
    script = textwrap.dedent(f"""
        import functools, sys
        from pipelines import cli
        from pipelines.lake import lease
        lease.hold = functools.partial(lease.hold, wait_s=0.1)
        sys.argv[1:] = ["ingest", "birds", "--lake", {lake.root!r}]
        cli.main()
    """)

    with lease.hold(lake, "another-run"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"LATENTLAKE_DATASETS": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert "latentlake: birds: another-run (process" in done.stderr
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_metrics_line_is_one_line_of_json(run, stage, capsys, monkeypatch):
    monkeypatch.setenv("LATENTLAKE_METRICS", "1")
    stage(lambda run, flags: StageResult(counts={"listed": 3}))

    perform.perform("ingest", run, [])

    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("METRICS ")
    assert json.loads(last.removeprefix("METRICS "))["counts"] == {"listed": 3}


def test_a_long_error_is_cut_short_in_the_metrics_alone(
    run, stage, capsys, monkeypatch
):
    def fail(run, flags):
        raise RuntimeError("x" * 100_000)

    monkeypatch.setenv("LATENTLAKE_METRICS", "1")
    stage(fail)

    perform.perform("ingest", run, [])

    assert len(capsys.readouterr().out) < 10_000
    assert len(run.manifest("ingest")["error"]) > 100_000


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_stage_leaves_no_manifest_and_says_how_to_go_on(run, signum):
    script = textwrap.dedent(f"""
        import sys, time, types
        from pipelines.lake import run as runs
        from pipelines.lake.layout import Lake
        from pipelines.stages import perform
        def slow(run, flags):
            print("started", flush=True)
            time.sleep(60)
        module = types.ModuleType("pipelines.stages.ingest")
        module.run = slow
        sys.modules["pipelines.stages.ingest"] = module
        run = runs.pinned(Lake({run.lake.root!r}, "birds"), "r-1")
        sys.exit(perform.perform("ingest", run, []))
    """)
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "started\n"

    os.kill(child.pid, signum)
    began = time.monotonic()
    _, errors = child.communicate(timeout=30)

    assert time.monotonic() - began < 20
    assert child.returncode == 128 + signum
    assert "latentlake ingest birds" in errors
    assert "--run-id r-1" in errors
    assert run.manifest("ingest") is None
