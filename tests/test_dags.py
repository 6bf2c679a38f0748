"""Every DAG file as Airflow parses it: order, retries, pages, and what it imports."""

import ast
import datetime
import itertools
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import pytest

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-tests-"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")

DAGS = pathlib.Path(__file__).parents[1] / "dags"
FILES = sorted(DAGS.glob("*_dag.py"))
sys.path.insert(0, str(DAGS))  # as Airflow does
STAGES = ["ingest", "transform", "train", "evaluate", "encode", "publish", "report"]


def parse(datasets, monkeypatch):
    """Return the DAGs of the datasets in a folder, as Airflow finds them."""
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("LATENTLAKE_DATASETS", str(datasets))
    bag = DagBag(DAGS)
    assert bag.import_errors == {}
    return bag.dags


def write(folder, name, text='[source]\npath = "/images"\n'):
    (folder / f"{name}.toml").write_text(text)


@pytest.fixture
def birds(tmp_path, monkeypatch):
    """Return the DAGs of one sound dataset."""
    write(tmp_path, "birds")
    return parse(tmp_path, monkeypatch)


def test_a_dataset_has_a_night_and_a_classifier(birds):
    assert sorted(birds) == ["classify_birds", "nightly_birds"]


def test_the_bundled_datasets_parse(monkeypatch):
    found = parse(DAGS / "datasets", monkeypatch)

    assert "nightly_digits" in found
    assert not [name for name, dag in found.items() if "broken" in dag.tags]


def test_a_night_is_a_chain_of_the_stages_in_order(birds):
    night = birds["nightly_birds"]

    assert [task.task_id for task in night.topological_sort()] == STAGES
    for before, after in itertools.pairwise(STAGES):
        assert night.get_task(after).upstream_task_ids == {before}


def test_a_skipped_stage_stops_nobody(birds):
    rules = {task.task_id: task.trigger_rule for task in birds["nightly_birds"].tasks}

    assert {rules[stage] for stage in STAGES[:-1]} == {"none_failed"}


def test_the_report_is_made_in_any_case_and_hides_no_failure(birds):
    report = birds["nightly_birds"].get_task("report")

    assert report.is_teardown
    assert not report.on_failure_fail_dagrun


def test_accidents_are_tried_again_later_and_later_but_a_refusal_is_an_answer(birds):
    for dag in birds.values():
        for task in dag.tasks:
            assert task.retries == (0 if task.task_id == "evaluate" else 2)
            assert task.retry_exponential_backoff == 2
            assert task.retry_delay <= task.max_retry_delay


def test_no_stage_may_hang_for_ever(birds):
    for dag in birds.values():
        for task in dag.tasks:
            assert datetime.timedelta(0) < task.execution_timeout


def test_two_nights_of_a_dataset_never_run_at_once_and_none_is_caught_up(birds):
    for dag in birds.values():
        assert dag.max_active_runs == 1
        assert not dag.catchup


def test_every_dag_has_a_page_a_description_and_tags(birds):
    for dag in birds.values():
        assert "What wakes it" in dag.doc_md
        assert "red" in dag.doc_md.lower()
        assert dag.description
        assert {"latentlake", "birds"} <= set(dag.tags)


def test_the_page_of_a_night_tells_every_stage_that_can_be_red(birds):
    page = birds["nightly_birds"].doc_md.split("## Red")[1]

    assert [stage for stage in STAGES if f"**{stage}" not in page] == []


def test_publish_alone_tells_of_the_table_and_the_classifier_wakes_on_it(birds):
    night, classify = birds["nightly_birds"], birds["classify_birds"]
    outlets = {task.task_id: task.outlets for task in night.tasks if task.outlets}

    assert list(outlets) == ["publish"]
    (features,) = outlets["publish"]
    assert (features.name, features.uri) == (
        "birds_features",
        "latentlake://birds/features",
    )
    assert classify.timetable.asset_condition.objects == (features,)


def test_a_night_follows_the_calendar_of_its_dataset(tmp_path, monkeypatch):
    schedule = '[schedule]\ncron = "30 2 * * *"\ntimezone = "Asia/Tokyo"\n'
    write(tmp_path, "birds", f'[source]\npath = "/birds"\n{schedule}')
    write(tmp_path, "by_hand", '[source]\npath="/"\n[schedule]\ncron="none"\n')

    found = parse(tmp_path, monkeypatch)

    timetable = found["nightly_birds"].timetable
    assert (timetable.expression, str(timetable.timezone)) == (
        "30 2 * * *",
        "Asia/Tokyo",
    )
    assert type(found["nightly_by_hand"].timetable).__name__ == "NullTimetable"


def test_a_broken_file_disables_its_own_dag_alone_and_says_why(tmp_path, monkeypatch):
    write(tmp_path, "birds")
    write(tmp_path, "fish", "[source]\npath = \n")

    found = parse(tmp_path, monkeypatch)

    assert sorted(found) == ["classify_birds", "nightly_birds", "nightly_fish"]
    fish = found["nightly_fish"]
    assert "fish.toml" in fish.doc_md
    assert "line 2" in fish.doc_md
    assert "line 2" in fish.description
    assert "broken" in fish.dag_display_name
    assert [task.task_id for task in fish.tasks] == ["settings"]


def test_the_train_task_alone_moves_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("LATENTLAKE_TRAIN_QUEUE", "gpu")
    monkeypatch.setenv("LATENTLAKE_TRAIN_POOL", "gpus")
    write(tmp_path, "birds")

    tasks = parse(tmp_path, monkeypatch)["nightly_birds"].tasks

    assert [one.task_id for one in tasks if one.queue == "gpu"] == ["train"]
    assert [one.task_id for one in tasks if one.pool == "gpus"] == ["train"]


def test_settings_that_all_share_disable_every_dag_and_say_why(tmp_path, monkeypatch):
    monkeypatch.setenv("LATENTLAKE_TRAIN_POD", str(tmp_path / "pod.yaml"))
    write(tmp_path, "birds")
    write(tmp_path, "fish")

    found = parse(tmp_path, monkeypatch)

    assert sorted(found) == ["nightly_birds", "nightly_fish"]
    for dag in found.values():
        assert "LATENTLAKE_TRAIN_POD: " in dag.doc_md
        assert "pod.yaml: cannot be read" in dag.doc_md


@pytest.mark.parametrize(
    "file",
    sorted(file for file in DAGS.rglob("*.py") if file.name != "pod.py"),
    ids=lambda file: str(file.relative_to(DAGS)),
)
def test_a_dag_imports_the_standard_library_and_airflows_sdk_alone(file):
    tree = ast.parse(file.read_text())
    names = [
        name
        for node in ast.walk(tree)
        for name in (
            [one.name for one in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]

    ours = re.compile(r"(airflow\.sdk|latentlake_airflow)(\.|$)")
    other = [name for name in names if not ours.match(name)]
    assert set(other) <= set(sys.stdlib_module_names) | {"collections.abc"}


def test_dag_files_parse_in_a_moment_and_load_nothing_heavy():
    program = (
        "import sys, time, runpy\n"
        "from airflow.sdk import DAG, CronTriggerTimetable, Param, TriggerRule\n"
        f"sys.path.insert(0, {str(DAGS)!r})\n"
        "began = time.process_time()\n"
        f"for file in {[str(file) for file in FILES]}: runpy.run_path(file)\n"
        "print(time.process_time() - began)\n"
        "heavy = {'tensorflow', 'apache_beam', 'keras', 'numpy', 'pipelines',"
        " 'models', 'kubernetes'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    seconds, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    assert float(seconds) < 2


def test_a_hundred_datasets_parse_in_seconds(tmp_path, monkeypatch):
    for number in range(100):
        write(tmp_path, f"set_{number}")
    began = time.process_time()

    found = parse(tmp_path, monkeypatch)

    assert len(found) == 200
    assert time.process_time() - began < 15
