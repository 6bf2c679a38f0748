"""A night by hand: its stages are processes of their own, and end with it."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

import pipelines

STAND_IN = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
print(sys.argv[3], flush=True)
code = {codes}.get(sys.argv[3], 0)
time.sleep(60 if code is None else 0)
sys.exit(code)
"""
NIGHT = """
import sys
from pipelines import config
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.stages import night
sys.executable = sys.argv[1]
settings = config.parse({"source": {"path": "/x"}}, origin="test")
sys.exit(night.run(Run(Lake("/lake", "birds"), "r-1", "2026-01-01", settings), []))
"""


@pytest.fixture
def begin(tmp_path):
    """Return a function: starts a night whose stages end with the codes given."""

    def start(codes):
        program = tmp_path / "python"
        program.write_text(f"#!{sys.executable}\n{STAND_IN.format(codes=codes)}")
        program.chmod(0o755)
        return subprocess.Popen(
            [sys.executable, "-c", NIGHT, str(program)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"PYTHONPATH": str(pathlib.Path(pipelines.__path__[0]).parent)},
        )

    return start


CHAIN = ["ingest", "transform", "train", "evaluate", "encode", "publish"]


@pytest.mark.parametrize(
    ("codes", "stages", "code"),
    [
        ({}, [*CHAIN, "report"], 0),
        ({"transform": 10, "train": 10, "evaluate": 10}, [*CHAIN, "report"], 0),
        ({"publish": 10}, [*CHAIN, "report"], 10),
        ({"evaluate": 3}, [*CHAIN[:4], "report"], 3),
        ({"evaluate": 3, "report": 1}, [*CHAIN[:4], "report"], 3),
        ({"report": 1}, [*CHAIN, "report"], 1),
    ],
)
def test_a_night_stops_at_a_failure_and_is_reported(begin, codes, stages, code):
    night = begin(codes)

    said, _ = night.communicate(timeout=30)

    assert said.split() == stages
    assert night.returncode == code


def test_a_night_that_is_asked_to_stop_takes_its_stage_along(begin):
    night = begin({"transform": None})
    assert [night.stdout.readline() for _ in range(2)] == ["ingest\n", "transform\n"]

    night.send_signal(signal.SIGTERM)

    said, _ = night.communicate(timeout=20)  # ends once nobody holds the pipe
    assert night.returncode == 143
    assert said == ""


@pytest.mark.parametrize(("code", "said"), [(1, True), (137, True), (2, False)])
def test_a_night_that_can_go_on_says_how(begin, code, said):
    night = begin({"train": code})

    _, errors = night.communicate(timeout=30)

    command = "latentlake night birds --lake /lake --run-id r-1"
    assert (command in errors) == said
