import datetime
import json
import logging
import stat
import sys
from typing import NamedTuple

import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from latentlake_airflow import forms
from latentlake_airflow.follow import FollowOperator
from latentlake_airflow.operator import StageOperator
from latentlake_airflow.settings import Dataset

FEATURES = Asset(name="birds_features", uri="latentlake://birds/features")
PROGRAM = """#!{python}
import json, os, sys
print("argv", json.dumps(sys.argv[1:]))
print("env", json.dumps(dict(os.environ)))
print("a last word", file=sys.stderr)
print('METRICS {{"counts": {{"new": 3}}, "note": "all is well"{more}}}')
sys.exit({code})
"""


class DagRun(NamedTuple):
    run_id: str = "manual__1"
    conf: dict | None = None
    logical_date: datetime.datetime | None = None
    run_after: datetime.datetime = datetime.datetime(2026, 3, 9, tzinfo=datetime.UTC)


class Event(NamedTuple):
    extra: dict


class Said:
    """Keeps what a task handed to Airflow."""

    def __init__(self):
        self.xcom = {}
        self.extra = None

    def xcom_push(self, key, value):
        self.xcom[key] = value


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a way to put a program in the place of Python with latentlake."""
    file = tmp_path / "python"
    monkeypatch.setenv("LATENTLAKE_PYTHON", str(file))
    monkeypatch.setenv("LATENTLAKE_LAKE", str(tmp_path / "lake"))

    def write(code=0, more="", text=PROGRAM):
        file.write_text(text.format(python=sys.executable, code=code, more=more))
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    return write


def make(tmp_path, stage="ingest", kind=StageOperator, **kwargs):
    dataset = Dataset("birds", tmp_path / "birds.toml")
    with DAG("nightly_birds", params=forms.night_form("/birds")):
        return kind(stage=stage, dataset=dataset, **kwargs)


def context(params=None, conf=None, events=()):
    form = {name: param.value for name, param in forms.night_form("/birds").items()}
    said = Said()
    return {
        "params": form | (params or {}),
        "dag_run": DagRun(conf=conf),
        "ti": said,
        "outlet_events": {FEATURES: said},
        "triggering_asset_events": {FEATURES: list(events)} if events else {},
    }


def told(caplog, word):
    (line,) = [x for x in caplog.messages if x.startswith(f"{word} ")]
    return json.loads(line.removeprefix(f"{word} "))


def test_the_first_stage_is_told_the_night_and_the_form(tmp_path, program, caplog):
    program()
    caplog.set_level(logging.INFO)

    make(tmp_path).execute(context=context({"epochs": 3, "source": "$(x) {{ y }}"}))

    assert told(caplog, "argv") == [
        *("-m", "pipelines", "ingest", "birds"),
        *("--lake", str(tmp_path / "lake")),
        *("--run-id", "2026-03-09-a19b04f56", "--night", "2026-03-09"),
        *("--source.path", "$(x) {{ y }}", "--retrain", "auto"),
        *("--train.epochs", "3"),
    ]


def test_a_later_stage_is_told_only_its_run(tmp_path, program, caplog):
    program()
    caplog.set_level(logging.INFO)

    make(tmp_path, "publish").execute(context=context({"epochs": 3}))

    assert told(caplog, "argv") == [
        *("-m", "pipelines", "publish", "birds"),
        *("--lake", str(tmp_path / "lake"), "--run-id", "2026-03-09-a19b04f56"),
    ]


def test_beam_flags_go_to_the_beam_stages_alone(tmp_path, program, caplog, monkeypatch):
    program()
    monkeypatch.setenv("LATENTLAKE_BEAM_FLAGS", "--runner=FlinkRunner --x='a b'")
    caplog.set_level(logging.INFO)

    make(tmp_path, "encode").execute(context=context())
    beam = told(caplog, "argv")
    caplog.clear()
    make(tmp_path, "evaluate").execute(context=context())

    assert beam[-3:] == ["--", "--runner=FlinkRunner", "--x=a b"]
    assert "--" not in told(caplog, "argv")


def test_a_stage_gets_our_environment_without_airflows_own(
    tmp_path, program, caplog, monkeypatch
):
    program()
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "secret")
    caplog.set_level(logging.INFO)

    make(tmp_path).execute(context=context())

    env = told(caplog, "env")
    assert env["LATENTLAKE_METRICS"] == "1"
    assert env["LATENTLAKE_DATASETS"] == str(tmp_path)
    assert not [name for name in env if name.startswith("AIRFLOW")]


def test_counts_become_the_xcom_and_part_of_the_asset_event(tmp_path, program, caplog):
    program()
    caplog.set_level(logging.INFO)
    given = context()

    returned = make(tmp_path, "publish", outlets=[FEATURES]).execute(context=given)

    assert returned == {"counts": {"new": 3}, "note": "all is well"}
    assert given["ti"].xcom["return_value"] == returned
    assert given["outlet_events"][FEATURES].extra == {
        "run_id": "2026-03-09-a19b04f56",
        "night": "2026-03-09",
        **returned,
    }
    assert not [line for line in caplog.messages if line.startswith("METRICS")]


def test_the_log_tells_the_pipes_apart(tmp_path, program, caplog):
    program()
    caplog.set_level(logging.INFO)

    make(tmp_path).execute(context=context())

    names = {one.getMessage().split()[0]: one.name for one in caplog.records}
    assert names["argv"] == "latentlake.ingest.stdout"
    assert names["a"] == "latentlake.ingest.stderr"


def test_a_stage_that_fails_is_quoted_and_its_counts_are_kept(tmp_path, program):
    program(4, ', "error": "300 of 310 are broken"')
    given = context()

    with pytest.raises(AirflowFailException, match="300 of 310 are broken"):
        make(tmp_path).execute(context=given)

    assert given["ti"].xcom["return_value"]["counts"] == {"new": 3}


def test_a_stage_that_dies_without_a_word_is_quoted_by_its_last_line(tmp_path, program):
    program(text="#!/bin/sh\necho no such setting >&2; exit 2\n")

    with pytest.raises(AirflowFailException, match="no such setting"):
        make(tmp_path).execute(context=context())


def test_counts_too_long_for_a_line_do_not_stop_the_stage(tmp_path, program):
    program(4, f', "error": "{"x" * 100_000}"')
    given = context()

    with pytest.raises(AirflowFailException, match="exit code 4"):
        make(tmp_path).execute(context=given)

    assert given["ti"].xcom == {}


def test_a_skip_says_why(tmp_path, program):
    program(10)

    with pytest.raises(AirflowSkipException, match="all is well"):
        make(tmp_path).execute(context=context())


def test_a_key_that_the_form_lacks_is_refused_before_anything_is_done(tmp_path):
    given = context({"epoch": 3}, conf={"epoch": 3})

    with pytest.raises(AirflowFailException, match=r"epoch, which.*latent_dim"):
        make(tmp_path).execute(context=given)


def test_a_follower_works_on_the_run_that_the_event_names(tmp_path, program, caplog):
    program()
    caplog.set_level(logging.INFO)
    events = [Event({"run_id": "2026-03-08-aa"}), Event({"run_id": "2026-03-09-bb"})]

    make(tmp_path, "classify", FollowOperator).execute(context=context(events=events))

    assert told(caplog, "argv")[-2:] == ["--run-id", "2026-03-09-bb"]


def test_an_event_that_was_made_by_hand_names_no_run(tmp_path, program, caplog):
    program()
    caplog.set_level(logging.INFO)
    events = [Event({"from_rest_api": True}), Event({"run_id": "2026-03-09-bb"})]

    make(tmp_path, "classify", FollowOperator).execute(context=context(events=events))

    assert told(caplog, "argv")[-2:] == ["--run-id", "2026-03-09-bb"]


def test_a_follower_without_an_event_leaves_the_choice_to_its_stage(
    tmp_path, program, caplog
):
    program()
    caplog.set_level(logging.INFO)

    make(tmp_path, "classify", FollowOperator).execute(context=context())

    assert "--run-id" not in told(caplog, "argv")
